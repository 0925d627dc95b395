"""Tables that do not say what their log says."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest

from agent.eventstore.backends.sqlite import SQLiteLog
from agent.eventstore.findings import Finding
from agent.projections.tables import schema
from agent.stores import SQLiteStore
from agent.tables import Tables
from tests.projections.given import STARTED, added, asked, begun, called, requested, returned, turn
from tests.projections.tables.given import NAMES, delete, fork, grow, log_of


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SQLiteLog]:
    """A log with rows in every table."""
    calls = (begun("Go"), requested(), asked("c"), called("c"), returned("c", "Sunny."))
    opened = log_of(tmp_path, STARTED, *turn("Where is the tea?", "In the pot."), *calls)
    fork(opened, "child", 4)
    fork(opened, "gone", 5)
    delete(opened, "gone")
    yield opened
    opened.close()


@pytest.fixture
def tables(log: SQLiteLog, tmp_path: Path) -> Tables:
    """Tables of the log."""
    built = Tables(log, tmp_path / "tables.db")
    built.catch_up()
    return built


def change(tables: Tables, *statements: str) -> None:
    """Write into the tables behind their back."""
    with closing(sqlite3.connect(tables.path, isolation_level=None)) as db:
        db.execute("DROP TRIGGER IF EXISTS texts_added")
        for statement in statements:
            db.execute(statement)


def flipped(value: Any, kind: type, random: Random) -> Any:
    """Another value of this type, one bit away."""
    if value in (None, "", b""):
        return {int: 1, float: 1.0, str: "x", bytes: b"x"}[kind]
    if kind is int:
        return value ^ (1 << random.randrange(62))
    if kind is float:
        return value + 1.0
    data = bytearray(value.encode() if isinstance(value, str) else value)
    data[random.randrange(len(data))] ^= 1 << random.randrange(7)
    return bytes(data) if kind is bytes else data.decode()


def cells() -> list[tuple[str, str]]:
    """Every column of every table of which the log says something."""
    untold = {("texts", "id"), ("progress", "unclean")}
    pairs = [(table, column) for table in schema.COLUMNS for column in schema.COLUMNS[table]]
    return [pair for pair in pairs if pair not in untold]


def test_whole_tables(log: SQLiteLog, tables: Tables):
    """All rows are counted, also of what has not been caught up with."""
    rows = sum(tables.sql(f"SELECT count(*) AS n FROM {name}")[0]["n"] for name in NAMES)
    assert (tables.verify().rows, tables.verify().findings) == (rows + 1, [])
    grow(log, added("More"))

    assert (tables.verify().rows, tables.verify().findings) == (rows + 2, [])


@pytest.mark.parametrize(("table", "column"), cells())
def test_a_changed_cell_is_found(table: str, column: str, tables: Tables, tmp_path: Path):
    """Whichever row it stands in, and the place is named."""
    whole = tmp_path / "whole.db"
    with tables._writing() as db:
        db.execute("PRAGMA journal_mode = DELETE")
    shutil.copy(tables.path, whole)
    random = Random(column)
    with closing(sqlite3.connect(whole)) as db:
        rows = db.execute(f"SELECT rowid, {column} FROM {table}").fetchall()
    for rowid, value in rows:
        shutil.copy(whole, tables.path)
        with closing(sqlite3.connect(tables.path, isolation_level=None)) as db:
            db.execute("PRAGMA ignore_check_constraints = ON")
            db.execute("DROP TRIGGER texts_removed")
            other = flipped(value, schema.COLUMNS[table][column], random)
            try:
                db.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (other, rowid))
            except sqlite3.IntegrityError:
                continue
        findings = [one for one in tables.verify().findings if "trigger" not in one.reason]
        assert findings, (table, column, rowid, value, other)
        assert table == "progress" or any(table in one.reason for one in findings), findings


def test_the_place_of_a_changed_cell(tables: Tables):
    """Session, version and position, and what is there instead of what."""
    change(tables, "UPDATE answers SET finish_reason = 'length' WHERE position = 4")
    findings = tables.verify().findings

    reason = "tables: answers.finish_reason is not what the log says"
    assert Finding("s", 4, 4, reason, "stop", "length") in findings


def test_rows_that_are_missing_or_too_many(tables: Tables):
    """A row that was removed, one that was added, and one that is there twice."""
    change(
        tables,
        "DELETE FROM starts WHERE position = 2",
        "INSERT INTO starts (position, session, version) VALUES (99, 1, 99)",
        "INSERT INTO texts (position, session, version, kind) "
        "SELECT position, session, version, kind FROM texts WHERE position = 2",
    )
    found = {(one.stream, one.version, one.reason) for one in tables.verify().findings}

    assert found >= {
        ("s", 2, "tables: a row of starts is missing"),
        ("s", 99, "tables: the log knows nothing of a row of starts"),
        ("s", 2, "tables: the log knows nothing of a row of texts"),
    }


def test_a_view_that_says_something_else(tables: Tables):
    """What is asked are the views."""
    change(tables, "DROP VIEW usage", "CREATE VIEW usage AS SELECT 1 AS calls")

    reasons = [one.reason for one in tables.verify().findings]
    assert "tables: the view usage is missing, or is not the one that was made" in reasons


def test_an_index_that_does_not_fit_the_texts(tables: Tables):
    """A search would find what nobody said."""
    with closing(sqlite3.connect(tables.path, isolation_level=None)) as db:
        db.execute("INSERT INTO search (rowid, text) VALUES (1, 'coffee')")

    (found,) = tables.verify().findings
    assert found.reason.startswith("tables: the full-text index does not fit the texts: ")


def test_a_damaged_file(tables: Tables):
    """What is no database is told, and raises nothing."""
    with tables._writing() as db:
        db.execute("PRAGMA journal_mode = DELETE")
    Path(tables.path).write_bytes(b"nothing " * 10000)

    assert len(tables.verify().findings) == 1


def test_no_tables(log: SQLiteLog, tables: Tables, tmp_path: Path):
    """Nothing is wrong with what was not made, or dropped."""
    assert Tables(log, tmp_path / "none.db").verify().findings == []
    assert not (tmp_path / "none.db").exists()
    tables.drop()

    assert tables.verify().findings == []


def test_verifying_changes_nothing(log: SQLiteLog, tables: Tables):
    """Tables that are behind stay behind."""
    grow(log, added("More"))
    tables.verify()

    assert tables.search("More") == []


def test_a_store_verifies_its_tables(tmp_path: Path):
    """At the highest level, if they are there."""
    log_of(tmp_path, STARTED, *turn("Where is the tea?", "In the pot.")).close()
    with SQLiteStore(tmp_path / "log.db") as store:
        assert store.verify(level="full").rows == 0
        store.tables().catch_up()
        assert (store.verify(level="full").rows > 0, store.verify(level="full").ok) == (True, True)
        change(store.tables(), "UPDATE texts SET text = 'coffee' WHERE position = 2")

        assert store.verify().ok
        found = store.verify(level="full").findings
    assert ("s", 2) in {(one.stream, one.version) for one in found}
