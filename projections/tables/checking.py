"""Whether tables say what their log says: held against others that are built of it anew."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import msgspec

from agent.eventstore.findings import MOST, Finding
from agent.projections.tables import schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_UNTOLD = {("texts", "id"), ("progress", "unclean")}
"""Columns of which the log says nothing: they count as they come, and steer the cleaning."""

_NAMES = {
    "origins": ("id",),
    "lineage": ("session", "origin"),
    "texts": ("position", "kind", "call_id"),
    "progress": (),
}
"""The columns by which a row is known; ``position`` in all other tables."""

_PLACE = """
SELECT key FROM (SELECT id, key FROM anew.origins UNION ALL SELECT id, key FROM main.origins)
WHERE id = ? LIMIT 1"""

_MADE = """
SELECT type, name, CASE type WHEN 'view' THEN substr(sql, instr(sql, ' AS ')) ELSE sql END
FROM {0}.sqlite_schema WHERE type IN ('view', 'trigger', 'index') AND sql IS NOT NULL"""


class Checked(msgspec.Struct, frozen=True):
    """How many rows there should be, and what is wrong with those that are there."""

    rows: int
    findings: list[Finding]


def damage(db: sqlite3.Connection) -> Iterator[Finding]:
    """What SQLite itself finds wrong with a file. The connection gives text as bytes."""
    for (words,) in db.execute("PRAGMA integrity_check"):
        if words != b"ok":
            yield lost(_text(words))


def differences(db: sqlite3.Connection) -> Checked:
    """Compare the tables of a connection with those attached to it as ``anew``."""
    findings = [*_other_makes(db)]
    rows = 0
    for table, columns in schema.COLUMNS.items():
        told = [column for column in columns if (table, column) not in _UNTOLD]
        rows += db.execute(f"SELECT count(*) FROM anew.{table}").fetchone()[0]
        findings += _other_rows(db, table, told)
    if not findings:
        findings += _other_index(db)
    return Checked(rows, findings[:MOST])


def lost(reason: object) -> Finding:
    """A finding of which only the reason is known."""
    return Finding("", 0, 0, f"tables: {reason}")


def _other_makes(db: sqlite3.Connection) -> Iterator[Finding]:
    query = f"SELECT type, name FROM ({_MADE.format('anew')} EXCEPT {_MADE.format('main')})"
    for type_, name in db.execute(query):
        yield lost(f"the {_text(type_)} {_text(name)} is missing, or is not the one that was made")


def _other_index(db: sqlite3.Connection) -> Iterator[Finding]:
    try:
        db.execute("INSERT INTO main.search (search, rank) VALUES ('integrity-check', 1)")
    except sqlite3.DatabaseError as error:
        yield lost(f"the full-text index does not fit the texts: {error}")


def _other_rows(db: sqlite3.Connection, table: str, columns: Sequence[str]) -> Iterator[Finding]:
    wanted = _only_in(db, "anew", "main", table, columns)
    there = _only_in(db, "main", "anew", table, columns)
    names = _NAMES.get(table, ("position",))
    known = {tuple(row[name] for name in names): row for row in there}
    for row in wanted:
        other = known.pop(tuple(row[name] for name in names), None)
        place = _place(db, table, row)
        if other is None:
            yield Finding(*place, f"tables: a row of {table} is missing")
            continue
        differing = [column for column in columns if row[column] != other[column]]
        for column in differing or ["count"]:
            reason = f"tables: {table}.{column} is not what the log says"
            yield Finding(*place, reason, _text(row.get(column)), _text(other.get(column)))
    for row in known.values():
        reason = f"tables: the log knows nothing of a row of {table}"
        yield Finding(*_place(db, table, row), reason)


def _only_in(
    db: sqlite3.Connection, here: str, there: str, table: str, columns: Sequence[str]
) -> list[dict[str, Any]]:
    """The rows that are in one table and not, or not as often, in the other."""
    names = ", ".join(columns)
    query = " EXCEPT ".join(
        f"SELECT {names}, count(*) FROM {base}.{table} GROUP BY {names}" for base in (here, there)
    )
    rows = db.execute(f"{query} LIMIT {MOST}").fetchall()
    return [dict(zip([*columns, "count"], row, strict=True)) for row in rows]


def _place(db: sqlite3.Connection, table: str, row: dict[str, Any]) -> tuple[str, int, int]:
    session = row["id"] if table == "origins" else row.get("session")
    found = db.execute(_PLACE, (session,)).fetchone()
    key = found[0] if found else ""
    return _text(key), row.get("version") or row.get("after") or 0, row.get("position") or 0


def _text(value: object) -> str:
    if value is None:
        return ""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
