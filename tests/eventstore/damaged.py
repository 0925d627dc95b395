"""A log file with forks, deletions, erasures and attachments, and ways to damage it."""

import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from agent.eventstore import erasing
from agent.eventstore.backends.sqlite import SQLiteLog
from agent.eventstore.conformance.facts import bringing, deleted, fixed, forked, said, started
from agent.eventstore.findings import Finding
from agent.eventstore.log import EventLog

COLUMNS = {
    "events": (
        "position",
        "stream",
        "version",
        "type",
        "schema",
        "recorded_at",
        "codec",
        "hash",
        "digest",
        "salt",
        "payload",
    ),
    "streams": ("id", "name", "parent", "forked_at", "deleted"),
    "attachments": ("digest", "position"),
    "blobs": ("digest", "data"),
}
KEYS = {
    "events": ("position",),
    "streams": ("id",),
    "attachments": ("digest", "position"),
    "blobs": ("digest",),
}
WAYS = ("flip", "flip", "flip", "remove", "swap", "add", "move")
Row = dict[str, Any]


def fill(log: EventLog) -> None:
    """Three roots, a fork of a fork, an attachment."""
    for stream in "abc":
        log.append(stream, [started(stream)], expected=None)
    for number in range(4):
        for stream in "abc":
            log.append(stream, [said(f"{stream} {number}")], expected=log.head(stream))
    log.append("a", [bringing(b"x")], expected=log.head("a"))
    fork(log, "a", "d", 3)
    fork(log, "d", "e", 4)
    log.append("e", [said("last")], expected=log.head("e"))


def erase_some(log: EventLog) -> None:
    """Erase what a fork shares with its parent, and what is a stream's own."""
    for stream, versions in (("d", (2,)), ("c", (3, 5))):
        erasing.erase(log, erasing.plan(log, stream, versions), "asked", fixed)


def delete_some(log: EventLog) -> None:
    """Delete a root, a fork, a parent that its fork still needs, and one whose name is reused."""
    for stream in "fgh":
        texts = [said(f"{stream} {number}") for number in range(3)]
        log.append(stream, [started(stream), bringing(stream.encode()), *texts], expected=None)
    fork(log, "g", "i", 3)
    fork(log, "h", "j", 2)
    log.append("i", [said("more")], expected=log.head("i"))
    for stream in "figh":
        delete(log, stream)
    log.append("f", [started("f"), bringing(b"again")], expected=None)
    log.put_blob(b"of no event")


def fork(log: EventLog, parent: str, child: str, at: int) -> None:
    """Fork a stream."""
    point = next(iter(log.read(parent, after=at - 1, until=at))).head
    log.fork(parent, child, at=at, prepared=forked(child, parent, point))


def delete(log: EventLog, stream: str) -> None:
    """Delete a stream."""
    log.delete(stream, deleted())


@dataclass(frozen=True)
class Damage:
    """What was done to which row, where a finding may name it, and whether it takes a note."""

    way: str
    table: str
    column: str
    row: tuple[Any, ...]
    streams: frozenset[str]
    positions: frozenset[int]
    words: frozenset[str] = frozenset()
    signed: bool = False

    def named_by(self, findings: Iterable[Finding]) -> bool:
        """Whether any finding is about it."""
        return any(
            one.stream in self.streams
            or one.position in self.positions
            or self.words & {one.expected, one.actual}
            for one in findings
        )


def opened(path: Path) -> sqlite3.Connection:
    """A raw connection past all guards."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA ignore_check_constraints = ON")
    for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        db.execute(f"DROP TRIGGER {name}")
    return db


def damage(path: Path, random: Random, *, signed: bool = False) -> Damage:
    """Damage one row of a closed log; ``signed`` draws what only a signed head can show."""
    db = opened(path)
    try:
        while True:
            db.execute("BEGIN")
            try:
                done = _damage(db, random)
            except (sqlite3.IntegrityError, OverflowError):
                done = None  # the tables refuse it: draw again
            if done and done.signed == signed:
                db.execute("COMMIT")
                return done
            db.execute("ROLLBACK")
    finally:
        db.close()


def _damage(db: sqlite3.Connection, random: Random) -> Damage | None:
    table = random.choices([*COLUMNS], [6, 3, 2, 2])[0]
    rows = _rows(db, table)
    here, there = random.sample(rows, 2)
    way = random.choice(WAYS)
    if way == "flip":
        return _flip(db, table, here, random)
    if way == "move" and table != "events":
        return None
    draw: dict[str, Callable[..., Damage | None]]
    draw = {"remove": _remove, "swap": _swap, "add": _add, "move": _move}
    return draw[way](db, table, here, there)


def _rows(db: sqlite3.Connection, table: str) -> list[Row]:
    """The rows of a table, text as bytes."""
    db.text_factory = bytes
    names = COLUMNS[table]
    found = db.execute(f"SELECT {', '.join(names)} FROM {table}").fetchall()
    return [dict(zip(names, row, strict=True)) for row in found]


def _where(table: str, row: Row) -> tuple[str, list[Any]]:
    """How a row is known."""
    keys = KEYS[table]
    values = [_sql(row[key]) for key in keys]
    return " AND ".join(f"{key} = {mark}" for key, (mark, _) in zip(keys, values, strict=True)), [
        value for _, value in values
    ]


def _sql(value: Any, text: bool | None = None) -> tuple[str, Any]:
    """A value as a parameter; digests and names are text, which may not be any."""
    is_text = isinstance(value, bytes) if text is None else text
    return ("CAST(? AS TEXT)" if is_text else "?"), value


TEXTS = {("events", "type"), ("events", "payload"), ("streams", "name")}
DIGESTS = {("attachments", "digest"), ("blobs", "digest")}


def _flip(db: sqlite3.Connection, table: str, row: Row, random: Random) -> Damage | None:
    """Flip one bit of a field; None for one that holds nothing."""
    column = random.choice(COLUMNS[table])
    value = row[column]
    if value is None or value == b"":
        return None
    changed: Any
    if isinstance(value, int):
        changed = value ^ (1 << random.randrange(62))
    else:
        raw = bytearray(value)
        raw[random.randrange(len(raw))] ^= 1 << random.randrange(8)
        changed = bytes(raw)
    places = _places(db, table, row)
    mark, parameter = _sql(changed, (table, column) in TEXTS | DIGESTS)
    db.execute("PRAGMA foreign_keys = OFF")
    where, key = _where(table, row)
    db.execute(f"UPDATE {table} SET {column} = {mark} WHERE {where}", [parameter, *key])
    more = _places(db, table, {**row, column: changed})
    signed = (table, column) in {("streams", "name"), ("events", "position")}
    return _told("flip", table, column, row, [places, more], signed=signed)


def _remove(db: sqlite3.Connection, table: str, row: Row, _: Row) -> Damage | None:
    places = _places(db, table, row)
    where, key = _where(table, row)
    if table == "blobs" and not _attached(db, row):
        return None  # nothing has it
    last = table == "events" and _is_last(db, row)
    db.execute(f"DELETE FROM {table} WHERE {where}", key)
    return _told("remove", table, "", row, [places], signed=last)


def _swap(db: sqlite3.Connection, table: str, here: Row, there: Row) -> Damage | None:
    """Exchange what stands in two rows, and leave their keys where they are."""
    columns = {
        "events": ("stream", "version"),
        "streams": ("name",),
        "attachments": ("position",),
        "blobs": ("data",),
    }[table]
    places = [_places(db, table, row) for row in (here, there)]
    if all(here[column] == there[column] for column in columns):
        return None
    free = {"stream": 99, "version": 1, "name": b"\x01", "position": 10**9, "data": b""}
    first, second = _where(table, here), _where(table, there)
    _set(db, table, first, {column: free[column] for column in columns})
    _set(db, table, second, {column: here[column] for column in columns})
    if table == "attachments":
        first = _where(table, {**here, "position": free["position"]})
    _set(db, table, first, {column: there[column] for column in columns})
    ends = table == "events" and here["type"] == there["type"] == b"session.deleted"
    return _told("swap", table, "", here, places, signed=table == "streams" or ends)


def _set(db: sqlite3.Connection, table: str, where: tuple[str, list[Any]], values: Row) -> None:
    marks = [_sql(value, (table, column) in TEXTS | DIGESTS) for column, value in values.items()]
    text = ", ".join(f"{column} = {mark}" for column, (mark, _) in zip(values, marks, strict=True))
    parameters = [value for _, value in marks]
    db.execute(f"UPDATE {table} SET {text} WHERE {where[0]}", [*parameters, *where[1]])


def _add(db: sqlite3.Connection, table: str, here: Row, there: Row) -> Damage | None:
    places = [_places(db, table, here)]
    if table == "events":
        rest = ", ".join(COLUMNS["events"][3:])
        db.execute(
            f"INSERT INTO events (stream, version, {rest}) SELECT stream, (SELECT "
            f"max(version) + 1 FROM events WHERE stream = e.stream), {rest} FROM events e "
            "WHERE position = ?",
            (here["position"],),
        )
        (end,) = db.execute("SELECT max(position) FROM events").fetchone()
        places.append((set(), {end}, set()))
    elif table == "streams":
        name = b"added"
        db.execute(
            "INSERT INTO streams (name, deleted) VALUES (CAST(? AS TEXT), ?)",
            (name, here["deleted"]),
        )
        places.append(({"added"}, set(), set()))
    elif table == "attachments":
        digest = _sql(here["digest"], text=True)
        db.execute(
            f"INSERT INTO attachments VALUES ({digest[0]}, ?)", (digest[1], there["position"])
        )
        places.append(_places(db, table, there))
    else:
        db.execute("INSERT INTO blobs VALUES (?, ?)", ("0" * 64, here["data"]))
        places.append((set(), set(), {"0" * 64}))
    return _told("add", table, "", here, places)


def _move(db: sqlite3.Connection, table: str, here: Row, there: Row) -> Damage | None:
    """Move an event to the end of another stream."""
    if here["stream"] == there["stream"]:
        return None
    places = [_places(db, table, row) for row in (here, there)]
    db.execute(
        "UPDATE events SET stream = ?, version = (SELECT max(version) + 1 FROM events "
        "WHERE stream = ?) WHERE position = ?",
        (there["stream"], there["stream"], here["position"]),
    )
    return _told("move", table, "", here, places)


Places = tuple[set[str], set[int], set[str]]


def _places(db: sqlite3.Connection, table: str, row: Row) -> Places:
    """Names of streams, positions, and words by which a finding can name a row."""
    if table == "events":
        query = "SELECT name FROM streams WHERE id = ?"
        return _names(db, query, row["stream"]), {row["position"]}, set()
    if table == "streams":
        names = _names(db, "SELECT name FROM streams WHERE parent = ?", row["id"])
        query = "SELECT position FROM events WHERE stream = ?"
        positions = {position for (position,) in db.execute(query, (row["id"],))}
        return names | {row["name"].decode(errors="replace")}, positions, set()
    word = row["digest"].decode(errors="replace")
    positions = {row["position"]} if table == "attachments" else _attached(db, row)
    streams: set[str] = set()
    for position in positions:
        query = "SELECT name FROM streams JOIN events ON stream = id WHERE position = ?"
        streams |= _names(db, query, position)
    return streams, positions, {word}


def _attached(db: sqlite3.Connection, row: Row) -> set[int]:
    query = "SELECT position FROM attachments WHERE digest = CAST(? AS TEXT)"
    return {position for (position,) in db.execute(query, (row["digest"],))}


def _names(db: sqlite3.Connection, query: str, key: int) -> set[str]:
    return {name.decode(errors="replace") for (name,) in db.execute(query, (key,))}


def _is_last(db: sqlite3.Connection, row: Row) -> bool:
    """Whether nothing that follows would miss an event: it is a head, and no deletion."""
    query = (
        "SELECT NOT EXISTS (SELECT 1 FROM events WHERE stream = ?1 AND version > ?2) AND NOT "
        "EXISTS (SELECT 1 FROM streams WHERE parent = ?1 AND forked_at >= ?2)"
    )
    (last,) = db.execute(query, (row["stream"], row["version"])).fetchone()
    return bool(last) and row["type"] != b"session.deleted"


def _told(
    way: str, table: str, column: str, row: Row, places: list[Places], *, signed: bool = False
) -> Damage:
    streams, positions, words = (frozenset().union(*parts) for parts in zip(*places, strict=True))
    key = tuple(row[name] for name in KEYS[table])
    return Damage(way, table, column, key, streams, positions, words, signed)


def cut(path: Path, random: Random) -> Damage:
    """Cut the newest events of a closed log."""
    db = opened(path)
    try:
        positions = [row[0] for row in db.execute("SELECT position FROM events ORDER BY position")]
        last = random.choice(positions[1:])
        query = "SELECT DISTINCT name FROM streams JOIN events ON stream = id WHERE position >= ?"
        streams = frozenset(name for (name,) in db.execute(query, (last,)))
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute("DELETE FROM events WHERE position >= ?", (last,))
        db.execute("DELETE FROM attachments WHERE position >= ?", (last,))
        db.execute("DELETE FROM streams WHERE id NOT IN (SELECT stream FROM events)")
        return Damage("cut", "events", "", (last,), streams, frozenset(), signed=True)
    finally:
        db.close()


def made(path: Path) -> None:
    """A filled log in a file."""
    log = SQLiteLog(path, durability="os")
    fill(log)
    erase_some(log)
    delete_some(log)
    log.close()
