import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from agent.eventstore.backends.sqlite_connection import commit_failure, open_connection, translated
from agent.eventstore.errors import (
    AppendUnknown,
    StoreBusy,
    StoreDamaged,
    StoreError,
    StoreFull,
    StoreUnusable,
)

PAGE = 8192


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (sqlite3.SQLITE_BUSY, StoreBusy),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, StoreBusy),
        (sqlite3.SQLITE_LOCKED, StoreBusy),
        (sqlite3.SQLITE_FULL, StoreFull),
        (sqlite3.SQLITE_NOTADB, StoreUnusable),
        (sqlite3.SQLITE_CANTOPEN, StoreUnusable),
        (sqlite3.SQLITE_READONLY, StoreUnusable),
        (sqlite3.SQLITE_READONLY_DBMOVED, StoreUnusable),
        (sqlite3.SQLITE_CORRUPT, StoreDamaged),
        (sqlite3.SQLITE_PERM, StoreUnusable),
        (sqlite3.SQLITE_PROTOCOL, StoreBusy),
        (sqlite3.SQLITE_IOERR_READ, StoreUnusable),
        (sqlite3.SQLITE_IOERR_SHMSIZE, StoreFull),
        (sqlite3.SQLITE_CONSTRAINT_TRIGGER, StoreError),
    ],
)
def test_errors_are_translated(code: int, error: type[StoreError]):
    """Each of SQLite's errors becomes one of ours, with the file's name and the original cause."""
    cause = sqlite3.OperationalError("the words of SQLite")
    cause.sqlite_errorcode = code

    with pytest.raises(error, match=r"log\.db") as caught, translated("log.db"):
        raise cause

    assert error is type(caught.value)
    assert cause is caught.value.__cause__


@pytest.mark.parametrize("size", [10**9 + 1, 2**31])
def test_what_is_too_large_for_a_row(size: int):
    """What SQLite, or Python on the way to it, finds too large is an error that says the limit."""
    with (
        closing(sqlite3.connect(":memory:")) as connection,
        pytest.raises(StoreError, match=r"log\.db .* more than 1 GB; keep it elsewhere"),
        translated("log.db"),
    ):
        connection.execute("SELECT length(?)", (bytes(size),))


@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_SHMSIZE])
def test_failed_commit_is_unknown(code: int):
    """What a disk says while it commits tells nothing about what is on it."""
    cause = sqlite3.OperationalError("the words of SQLite")
    cause.sqlite_errorcode = code

    failure = commit_failure(cause, "log.db")

    assert isinstance(failure, AppendUnknown)
    assert "open the store again" in str(failure)
    assert failure.__cause__ is cause


def test_other_errors_pass():
    """What is not SQLite's is not touched."""
    with pytest.raises(ZeroDivisionError), translated("log.db"):
        raise ZeroDivisionError


def test_damaged_file_is_refused(tmp_path: Path):
    """A file whose pages are damaged is refused, with what to do."""
    path = str(tmp_path / "log.db")
    open_connection(path, synchronous="FULL", busy_timeout=1.0).close()
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[:100] + b"\xff" * (len(content) - 100))

    with pytest.raises(StoreDamaged, match="damaged"):
        open_connection(path, synchronous="FULL", busy_timeout=1.0)


def test_refused_file_is_closed(tmp_path: Path):
    """A file that was refused can be removed or replaced at once: nothing holds it open."""
    path = tmp_path / "log.db"
    with sqlite3.connect(path, isolation_level=None) as db:
        db.execute("CREATE TABLE notes (text)")
    db.close()

    with pytest.raises(StoreUnusable):
        open_connection(str(path), synchronous="FULL", busy_timeout=1.0)

    with sqlite3.connect(path, isolation_level=None) as db:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("INSERT INTO notes VALUES ('mine')")
    db.close()
