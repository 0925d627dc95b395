"""Connections to a log file: opening, sharing between threads, and what SQLite's errors mean."""

from __future__ import annotations

import sqlite3
import threading
import time
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from agent.eventstore.backends.sqlite_file import (
    MEMORY,
    LogFile,
    archive_uri,
    is_archive,
    obstacle,
)
from agent.eventstore.errors import (
    AppendUnknown,
    CorruptLog,
    StoreBusy,
    StoreDamaged,
    StoreError,
    StoreFull,
    StoreUnusable,
)
from agent.eventstore.processes import awaited_by_forks, leave_to_parent

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

APPLICATION_ID = 0x41475345
SCHEMA_VERSION = 1
PAGE_SIZE = 8192

_RAISED = (sqlite3.Error, UnicodeDecodeError, OverflowError)
"""What SQLite raises, and Python in its place: text that is none, more bytes than it counts."""


def open_connection(
    path: str, *, synchronous: str, busy_timeout: float, archive: bool = False
) -> sqlite3.Connection:
    """Open a log file, make or migrate its tables; ``archive`` takes it as nobody changes it.

    Raises :class:`StoreUnusable`, :class:`StoreBusy`, :class:`StoreFull`.
    """
    with translated(path):
        connection = sqlite3.connect(
            archive_uri(path) if archive else path,
            uri=archive,
            timeout=busy_timeout,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
            _wait(busy_timeout, lambda: _refuse_foreign(connection, path))
            _wait(busy_timeout, lambda: connection.execute("PRAGMA journal_mode = WAL"))
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("PRAGMA secure_delete = ON")
            if not _is_current(connection, path):
                _migrate(connection, path)
        except BaseException:
            connection.close()
            raise
    connection.text_factory = bytes
    return connection


def _wait(busy_timeout: float, step: Callable[[], object]) -> None:
    # SQLite's own busy handler does not wait here when two processes open a new file at once.
    deadline = time.monotonic() + busy_timeout
    while True:
        try:
            step()
            return
        except sqlite3.OperationalError as error:
            if primary_code(error) != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _is_current(connection: sqlite3.Connection, path: str) -> bool:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    if application == APPLICATION_ID and schema > SCHEMA_VERSION:
        raise StoreUnusable(
            f"{path} has schema {schema}, this release knows {SCHEMA_VERSION}; "
            "open it with the release that wrote it, or a later one"
        )
    return application == APPLICATION_ID and schema == SCHEMA_VERSION


def _migrate(connection: sqlite3.Connection, path: str) -> None:
    from agent.eventstore.backends.sqlite_schema import migrate  # noqa: PLC0415 - slow to import

    connection.execute("BEGIN IMMEDIATE")
    try:
        if not _is_current(connection, path):
            _refuse_foreign(connection, path)
            migrate(connection)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _refuse_foreign(connection: sqlite3.Connection, path: str) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables and application != APPLICATION_ID:
        raise StoreUnusable(f"{path} is a database of something else; name another file")


@contextmanager
def translated(path: str, *, place: tuple[str, int] | None = None) -> Generator[None]:
    """Turn SQLite's errors into ours, with what to do next.

    ``place`` is the stream that is read, and the version from which on.
    """
    try:
        yield
    except _RAISED as error:
        if place and primary_code(error) == sqlite3.SQLITE_CORRUPT:
            reason = f"{path} is damaged here or further on ({error})"
            raise CorruptLog(reason, stream=place[0], version=place[1]) from error
        raise _translate(error, path) from error


def primary_code(error: Exception) -> int:
    """SQLite's code for a kind of error, without its finer distinctions; 0 for Python's own."""
    if isinstance(error, UnicodeDecodeError):  # a name, or SQLite's own words about a damaged one
        return sqlite3.SQLITE_CORRUPT
    if isinstance(error, OverflowError):
        return sqlite3.SQLITE_TOOBIG
    code = getattr(error, "sqlite_errorcode", 0)
    return sqlite3.SQLITE_FULL if code == sqlite3.SQLITE_IOERR_SHMSIZE else code & 0xFF


def _translate(error: Exception, path: str) -> StoreError:
    match primary_code(error):
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED | sqlite3.SQLITE_PROTOCOL:
            return StoreBusy(f"{path} is locked by another writer; try again: {error}")
        case sqlite3.SQLITE_FULL:
            return StoreFull(f"no room to write {path}; free some space and try again: {error}")
        case sqlite3.SQLITE_TOOBIG:
            return StoreError(
                f"{path} holds no event and no attachment of more than 1 GB; "
                f"keep it elsewhere, and give the session a link to it: {error}"
            )
        case sqlite3.SQLITE_NOTADB:
            return StoreUnusable(f"{path} is not a SQLite database; name another file")
        case sqlite3.SQLITE_CANTOPEN:
            return StoreUnusable(f"cannot open {path}: {obstacle(path)}")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return StoreUnusable(
                f"{path} can be read, but not written: change its permissions, "
                f"or copy it to where it can be: {error}"
            )
        case sqlite3.SQLITE_ERROR if "no such" not in str(error):
            return StoreError(f"{path}: {error}")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_ERROR:
            return StoreDamaged(f"{path} is damaged; restore a backup of it: {error}")
        case sqlite3.SQLITE_IOERR:
            return StoreUnusable(f"the disk failed while reading {path}; check it: {error}")
        case _:
            return StoreError(f"{path}: {error}")


def commit_failure(error: Exception, path: str) -> Exception:
    """What a commit that raised this has come to."""
    if not isinstance(error, _RAISED):
        return error
    failure = _translate(error, path)
    if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_IOERR:
        failure = AppendUnknown(
            f"the disk failed while writing {path}, so what was being written may or may not "
            f"be there; open the store again to see: {error}"
        )
    failure.__cause__ = error
    return failure


class Shared:
    """One connection for all threads of this process, one at a time.

    It is closed by :meth:`close`, or with the object, or when the interpreter exits. ``connect``
    is told by ``archive=`` whether the file is one, which stays open no longer than it is read.
    """

    def __init__(self, file: LogFile, connect: Callable[..., sqlite3.Connection]) -> None:
        self.file = file
        self.path = file.path
        self._connect = connect
        self._connection: sqlite3.Connection | None = None
        self._closing: weakref.finalize[..., Any] | None = None
        # SQLite has locks of its own: no thread may be inside of it at a fork.
        self._lock = awaited_by_forks(threading.RLock())
        self._busy = False
        self._ended = ""

    @contextmanager
    def exclusive(self, *, place: tuple[str, int] | None = None) -> Generator[sqlite3.Connection]:
        """The connection, for this thread alone; errors are :func:`translated`."""
        with self.alone(), self.connected() as connection, translated(self.path, place=place):
            yield connection

    @contextmanager
    def connected(self) -> Generator[sqlite3.Connection]:
        """The connection, for whoever is :meth:`alone`."""
        archive = is_archive(self.path) if self._connection is None else False
        try:
            yield self._open(archive=archive)
        finally:
            if archive:
                self._drop()

    @contextmanager
    def alone(self) -> Generator[None]:
        """Nobody else may use the connection meanwhile."""
        # A generator finalized by the garbage collector may call in while this very thread
        # holds the lock: a plain lock would wait for itself for ever.
        with self._lock:
            if self._busy:
                raise StoreBusy(
                    f"{self.path} was called from inside one of its own operations, as by a signal "
                    "handler; call it again when that is over"
                )
            self._busy = True
            try:
                yield
            finally:
                self._busy = False

    def _open(self, *, archive: bool) -> sqlite3.Connection:
        if self._ended:
            raise StoreUnusable(f"{self.path} {self._ended}; open it again")
        if self._closing is not None and not self._closing.alive:
            # The interpreter is ending, and has closed it before a handler that wants it.
            self._drop()
            self.file.forget()
        if self._connection is None:
            self.file.check()
            self._connection = self._connect(archive=archive)
            self._closing = weakref.finalize(self, self._connection.close)
            self._closing.atexit = self.path != MEMORY  # where closing saves nothing, and loses all
            if not archive:
                self.file.opened()
        return self._connection

    def _drop(self) -> None:
        self._connection = None
        if self._closing is not None:
            self._closing()
            self._closing = None

    def close(self) -> None:
        """Close it for good."""
        with self.alone():
            self.end("was closed")

    def end(self, reason: str) -> None:
        """Close it for good and say why, for whoever holds it exclusively."""
        self._ended = reason
        self._drop()
        self.file.forget()

    def forget(self) -> None:
        """In a forked child: leave the parent's connection alone and start anew."""
        if self._connection is not None:
            leave_to_parent(self._connection)
        if self._closing is not None:
            self._closing.detach()
        self._connection = self._closing = None
        self.file.forget()
        self._lock = awaited_by_forks(threading.RLock())
        self._busy = False
