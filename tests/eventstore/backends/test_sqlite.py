import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Literal

import pytest

from agent.eventstore import core
from agent.eventstore.backends.sqlite import SQLiteLog
from agent.eventstore.conformance.facts import deleted, forked, places, said, started
from agent.eventstore.errors import CorruptLog, StoreUnusable
from agent.eventstore.export import export_events
from agent.eventstore.log import Durability
from agent.eventstore.record import Head
from tests.eventstore.backends.access import plain, reader, writer
from tests.eventstore.backends.processes import output, start

# The file


def test_file_is_made_at_first_use(path: Path):
    """Neither making nor closing a log makes a file; the first call does."""
    log = SQLiteLog(path)
    assert not path.exists()
    log.close()
    assert not path.exists()

    with closing(SQLiteLog(path)) as log:
        assert log.head("a") is None
        assert path.exists()


def test_closed_log_is_one_file(log: SQLiteLog, head: Head, path: Path):
    """Closing leaves everything in the one file."""
    log.close()

    assert [path] == list(path.parent.iterdir())


@pytest.mark.parametrize(("durability", "synchronous"), [("fsync", 2), ("os", 1)])
def test_durability_is_set(path: Path, durability: Literal["fsync", "os"], synchronous: int):
    """The file is in WAL mode; every commit is flushed unless durability is given up."""
    with closing(SQLiteLog(path, durability=durability)) as log:
        log.append("a", [started("a")], expected=None)

        assert Durability(durability) is log.durability
        for connection in (writer(log), reader(log)):
            with connection as db:
                assert (synchronous,) == db.execute("PRAGMA synchronous").fetchone()
                assert db.execute("PRAGMA foreign_keys").fetchone() == (1,)
        with plain(path) as db:
            assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_memory_says_so():
    """A log in memory does not claim to outlive the process."""
    with closing(SQLiteLog(":memory:")) as log:
        assert log.durability is Durability.MEMORY


def test_file_stays_where_it_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A relative name means the directory of the moment when the log was made."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with closing(SQLiteLog("log.db")) as log:
        head = log.append("a", [started("a")], expected=None)
        monkeypatch.chdir(tmp_path / "elsewhere")

        assert head == log.head("a")
        assert list((tmp_path / "elsewhere").iterdir()) == []


def test_log_needs_a_name():
    """An empty name is refused: SQLite would make a file that vanishes."""
    with pytest.raises(StoreUnusable):
        SQLiteLog("")


def test_payload_is_readable_sql(log: SQLiteLog, head: Head, path: Path):
    """Payloads are JSON text, which SQL and any SQLite tool can read."""
    query = "SELECT version, payload ->> '$.message.parts[0].text' FROM events WHERE version > 1"

    with plain(path) as db:
        assert db.execute(query).fetchall() == [(2, "Here:"), (3, "end")]
        assert db.execute("SELECT DISTINCT typeof(payload) FROM events").fetchall() == [("text",)]


def test_reopening_needs_no_migration(log: SQLiteLog, head: Head, path: Path):
    """An up-to-date file is opened without loading sqlite-utils, which takes long."""
    program = "print(log.head('a').version, 'sqlite_utils' in sys.modules); log.close()"

    assert output(start(program, path)) == ["3", "False"]


# Files that are no log


def test_foreign_database_is_refused(path: Path):
    """The database of another program is refused, and left as it was to the byte."""
    with plain(path) as db:
        db.execute("CREATE TABLE notes (text)")
    before = path.read_bytes()

    with closing(SQLiteLog(path)) as log, pytest.raises(StoreUnusable, match="something else"):
        log.append("a", [started("a")], expected=None)

    assert before == path.read_bytes()
    assert [path] == list(path.parent.iterdir())


def test_newer_schema_is_refused(log: SQLiteLog, head: Head, path: Path):
    """A file that a later release migrated is refused, with the way out."""
    log.close()
    with plain(path) as db:
        db.execute("PRAGMA user_version = 2")

    with closing(SQLiteLog(path)) as again, pytest.raises(StoreUnusable, match="schema 2"):
        again.head("a")


@pytest.mark.parametrize(
    "content",
    [b"no database, but long enough " * 100, b"{}", random.Random(1).randbytes(2**20)],
    ids=["text", "short", "random"],
)
def test_other_file_is_refused(path: Path, content: bytes):
    """A file that is no database is refused, and left as it was."""
    path.write_bytes(content)

    with closing(SQLiteLog(path)) as log, pytest.raises(StoreUnusable, match="not a SQLite"):
        log.append("a", [started("a")], expected=None)

    assert content == path.read_bytes()


def test_folder_is_refused(tmp_path: Path):
    """A folder is no log, and a missing folder holds none."""
    for path in (tmp_path, tmp_path / "missing" / "log.db"):
        with closing(SQLiteLog(path)) as log, pytest.raises(StoreUnusable, match="folder"):
            log.head("a")


def test_empty_file_becomes_a_log(path: Path):
    """An empty file is as good as none."""
    path.touch()

    with closing(SQLiteLog(path)) as log:
        assert log.append("a", [started("a")], expected=None).version == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda log: log.append("b", [started("b")], expected=None),
        lambda log: log.head("a"),
        lambda log: list(log.read("a")),
        lambda log: list(log.read_all()),
        lambda log: list(log.streams()),
        lambda log: log.delete("a", deleted()),
        lambda log: log.put_blob(b"y"),
        lambda log: log.get_blob("0" * 64),
    ],
    ids=["append", "head", "read", "read_all", "streams", "delete", "put_blob", "get_blob"],
)
def test_closed_log_says_so(log: SQLiteLog, head: Head, call: Callable[[SQLiteLog], object]):
    """Whatever is asked of a closed log, it says that it was closed."""
    log.close()

    with pytest.raises(StoreUnusable, match="was closed"):
        call(log)


# Facts stay


@pytest.mark.parametrize(
    "change",
    [
        "position = position + 100",
        "stream = stream + 1",
        "version = version + 100",
        "type = 'session.painted'",
        "schema = 2",
        "recorded_at = 1",
        "codec = 2",
        "hash = zeroblob(32)",
        "salt = zeroblob(16)",
        "payload = '{}'",
        "payload = payload || ' '",
        "payload = NULL",
        "salt = NULL",
        "digest = zeroblob(32)",
        "payload = NULL, salt = NULL",
        "payload = NULL, salt = NULL, digest = zeroblob(32), recorded_at = 1",
    ],
)
def test_events_are_never_changed(log: SQLiteLog, head: Head, path: Path, change: str):
    """No other program changes an event by accident."""
    before = list(log.read_all())

    with plain(path) as db, pytest.raises(sqlite3.IntegrityError):
        db.execute(f"UPDATE events SET {change} WHERE version = 2")

    assert before == list(log.read_all())


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE events SET type = CAST(x'd7' AS TEXT) WHERE version = 2",
        "UPDATE events SET payload = CAST(x'7bd7' AS TEXT) WHERE version = 2",
        "UPDATE streams SET name = CAST(x'61d7' AS TEXT)",
    ],
)
def test_text_that_is_none_is_read_as_damage(log: SQLiteLog, head: Head, path: Path, damage: str):
    """Bytes that are no text do not keep the log from being read: the chain tells what is wrong."""
    with plain(path) as db:
        db.execute("DROP TRIGGER events_are_never_changed")
        db.execute(damage)

    (info,) = log.streams()
    recorded = list(log.read_all())
    assert len(recorded) == 3
    if "events" in damage:
        with pytest.raises(CorruptLog, match="does not match its hash"):
            list(core.verified(log.read(info.stream), stream=info.stream))
    if "payload" in damage:
        with pytest.raises(CorruptLog, match=r"version 2: .* is no text"):
            export_events(recorded, log)


def test_events_are_never_removed(log: SQLiteLog, head: Head, path: Path):
    """No other program removes events, be they all or one."""
    with plain(path) as db:
        for where in ("1", "version = 3", "type = 'message.added'"):
            with pytest.raises(sqlite3.IntegrityError, match="never removed"):
                db.execute(f"DELETE FROM events WHERE {where}")

    assert len(list(log.read_all())) == 3


def test_what_tells_of_a_deletion_is_never_removed(log: SQLiteLog, head: Head, path: Path):
    """Neither a stream nor the event of its deletion goes: their numbers are never used again."""
    log.delete("a", deleted())

    with plain(path) as db:
        for table in ("streams", "events"):
            with pytest.raises(sqlite3.IntegrityError, match="never removed"):
                db.execute(f"DELETE FROM {table}")

    log.append("b", [started("b")], expected=None)
    assert [(fact.stream, fact.position) for fact in log.read_all()] == [("a", 4), ("b", 5)]


@pytest.mark.parametrize("place", ["2, 9, 9", "9, 1, 2"], ids=["position", "version"])
def test_events_are_never_replaced(log: SQLiteLog, head: Head, path: Path, place: str):
    """No other program puts an event in the place of one, which SQLite does not call a removal."""
    before = list(log.read_all())

    with plain(path) as db, pytest.raises(sqlite3.IntegrityError, match="never replaced"):
        db.execute(
            "INSERT OR REPLACE INTO events "
            "(position, stream, version, type, schema, recorded_at, codec, hash, salt, payload) "
            f"VALUES ({place}, 'x', 1, 0, 1, zeroblob(32), zeroblob(16), '{{}}')"
        )

    assert before == list(log.read_all())


def test_shared_events_are_never_removed(log: SQLiteLog, head: Head, path: Path):
    """Events of a deleted stream cannot be removed while a fork needs them."""
    point = next(log.read("a", after=1, until=2)).head
    log.fork("a", "b", at=2, prepared=forked("b", "a", point))
    log.delete("a", deleted())

    with plain(path) as db, pytest.raises(sqlite3.IntegrityError, match="never removed"):
        db.execute("DELETE FROM events WHERE stream = 1 AND version = 2")

    assert places(log.read("b")) == [("a", 1), ("a", 2), ("b", 3)]


def test_payload_can_be_erased(log: SQLiteLog, head: Head, path: Path):
    """The one change there is, once: a residue in the place of the payload, no salt, a digest."""
    fact = next(log.read("a", after=1, until=2))
    change = "UPDATE events SET payload = '{}', salt = NULL, digest = ? WHERE version = 2"

    with plain(path) as db:
        db.execute(change, (fact.digest,))

    chain = list(core.verified(log.read("a"), stream="a"))
    assert (b"{}", None, fact.digest) == (chain[1].payload, chain[1].salt, chain[1].erased_digest)
    assert head == chain[-1].head
    with plain(path) as db, pytest.raises(sqlite3.IntegrityError, match="never changed"):
        db.execute(change, (fact.digest,))


# Costs


def test_identity_is_read_by_index(log: SQLiteLog, head: Head):
    """What a listing reads of each stream is found by its own index, not by reading it all."""
    statements: list[str] = []
    with reader(log) as db:
        db.set_trace_callback(statements.append)
    assert [fact.version for fact in log.read("a", types=core.IDENTITY_TYPES)] == [1]

    (query,) = [sql for sql in statements if " type IN " in sql]
    with reader(log) as db:
        db.set_trace_callback(None)
        plan = db.execute(f"EXPLAIN QUERY PLAN {query}").fetchall()

    assert [detail for *_, detail in plan] == [
        b"SEARCH events USING INDEX events_identity (stream=? AND version>? AND version<?)"
    ]


def test_fork_costs_less_than_a_kilobyte(path: Path):
    """A thousand forks of a long stream make the file grow by less than 1 kB each."""
    with closing(SQLiteLog(path, durability="os")) as log:
        facts = [started("a"), *(said("x" * 500) for _ in range(499))]
        point = log.append("a", facts, expected=None)
        before = checkpointed(path)

        for number in range(1000):
            child = f"child-{number}"
            log.fork("a", child, at=500, prepared=forked(child, "a", point))

        assert (checkpointed(path) - before) / 1000 < 1000


def checkpointed(path: Path) -> int:
    """The size of the file after everything was moved into it."""
    with plain(path) as db:
        (busy, _, _) = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert busy == 0
    return path.stat().st_size
