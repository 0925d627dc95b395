"""Connections to a log file: opening, sharing between threads, and group commit."""

from __future__ import annotations

import sqlite3
import threading
import time
import weakref
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from agent.eventstore.errors import (
    AgentError,
    AppendUnknown,
    StoreBusy,
    StoreError,
    StoreFull,
    StoreUnusable,
)
from agent.eventstore.processes import awaited_by_forks

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

T = TypeVar("T")

APPLICATION_ID = 0x41475345
SCHEMA_VERSION = 1
PAGE_SIZE = 8192


def open_connection(path: str, *, synchronous: str, busy_timeout: float) -> sqlite3.Connection:
    """Open a log file, make or migrate its tables. Raises :class:`StoreUnusable`, `StoreBusy`."""
    with translated(path):
        connection = _connect(path, busy_timeout)
        try:
            _wait(busy_timeout, lambda: _refuse_foreign(connection, path))
            _wait(busy_timeout, lambda: connection.execute("PRAGMA journal_mode = WAL"))
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            connection.execute("PRAGMA foreign_keys = ON")
            if not _is_current(connection, path):
                _migrate(connection, path)
        except BaseException:
            connection.close()
            raise
    connection.text_factory = bytes
    return connection


def _connect(path: str, busy_timeout: float) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, timeout=busy_timeout, isolation_level=None, check_same_thread=False
    )
    connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
    return connection


def _wait(busy_timeout: float, step: Callable[[], object]) -> None:
    # SQLite's own busy handler does not wait here when two processes open a new file at once.
    deadline = time.monotonic() + busy_timeout
    while True:
        try:
            step()
            return
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > deadline:
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
def translated(path: str) -> Generator[None]:
    """Turn SQLite's errors into ours, with what to do next."""
    try:
        yield
    except sqlite3.Error as error:
        raise _translate(error, path) from error


def _translate(error: sqlite3.Error, path: str) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    match code:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StoreBusy(f"{path} is locked by another writer; try again: {error}")
        case sqlite3.SQLITE_FULL:
            return StoreFull(f"no room to write {path}; free some space and try again: {error}")
        case sqlite3.SQLITE_NOTADB:
            return StoreUnusable(f"{path} is not a SQLite database; name another file")
        case sqlite3.SQLITE_CANTOPEN:
            return StoreUnusable(f"cannot open {path}; does its folder exist? {error}")
        case sqlite3.SQLITE_READONLY:
            return StoreUnusable(f"{path} cannot be written; check its permissions: {error}")
        case sqlite3.SQLITE_CORRUPT:
            return StoreUnusable(f"{path} is damaged; restore a backup of it: {error}")
        case sqlite3.SQLITE_IOERR:
            return AppendUnknown(f"the disk failed while writing {path}: {error}")
        case _:
            return StoreError(f"{path}: {error}")


class Shared:
    """One connection for all threads of this process, one at a time.

    It is closed by :meth:`close`, or with the object, or when the interpreter exits.
    """

    def __init__(self, path: str, connect: Callable[[], sqlite3.Connection]) -> None:
        self.path = path
        self._connect = connect
        self._connection: sqlite3.Connection | None = None
        self._closing: weakref.finalize[..., Any] | None = None
        # SQLite has locks of its own: no thread may be inside of it at a fork.
        self._lock = awaited_by_forks(threading.RLock())
        self._busy = False
        self._closed = False

    @contextmanager
    def exclusive(self) -> Generator[sqlite3.Connection]:
        """The connection, for this thread alone."""
        with self._alone():
            yield self._open()

    @contextmanager
    def _alone(self) -> Generator[None]:
        # A generator finalized by the garbage collector may call in while this very thread
        # holds the lock: a plain lock would wait for itself for ever.
        with self._lock:
            if self._busy:
                raise StoreBusy(f"{self.path} was called from inside one of its own operations")
            self._busy = True
            try:
                yield
            finally:
                self._busy = False

    def _open(self) -> sqlite3.Connection:
        if self._closed:
            raise StoreUnusable(f"{self.path} was closed; open it again")
        if self._connection is None:
            self._connection = self._connect()
            self._closing = weakref.finalize(self, self._connection.close)
        return self._connection

    def close(self) -> None:
        """Close it for good."""
        with self._alone():
            self._closed = True
            self._connection = None
            if self._closing is not None:
                self._closing()

    def forget(self) -> None:
        """In a forked child: leave the parent's connection alone and start anew.

        The object is kept alive on purpose: closing it here would meddle with the parent's file.
        """
        if self._connection is not None:
            _inherited.append(self._connection)
        if self._closing is not None:
            self._closing.detach()
        self._connection = self._closing = None
        self._lock = awaited_by_forks(threading.RLock())
        self._busy = False


_inherited: list[sqlite3.Connection] = []


class _Ticket(Generic[T]):
    """A write that waits for its commit."""

    def __init__(self, job: Callable[[sqlite3.Connection], T]) -> None:
        self.job = job
        self.done = False
        self.value: T | None = None
        self.error: BaseException | None = None

    def run(self, connection: sqlite3.Connection) -> None:
        """Do the write inside the open transaction; a refusal concerns this write only."""
        self.value, self.error = None, None
        try:
            self.value = self.job(connection)
        except AgentError as error:
            self.error = error


class Writer:
    """The process's one writer. Whoever holds it commits what all threads have queued.

    A job decides first and writes last: it raises an :class:`AgentError` only before its first
    write, so a refused job leaves nothing behind in a shared transaction.
    """

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self._queue: deque[_Ticket[object]] = deque()

    def run(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run a job in a transaction and commit it; several threads' jobs share one commit."""
        ticket = _Ticket(job)
        self._queue.append(ticket)  # pyright: ignore[reportArgumentType] - invariant, but only read
        try:
            with self.shared.exclusive() as connection:
                if not ticket.done:
                    batch = self._drain()
                    self._commit(connection, batch if ticket in batch else [*batch, ticket])  # pyright: ignore[reportArgumentType]
        except BaseException:
            with suppress(ValueError):
                self._queue.remove(ticket)  # pyright: ignore[reportArgumentType]
            raise
        if ticket.error is not None:
            raise ticket.error
        return ticket.value  # pyright: ignore[reportReturnType] - set by run()

    def _drain(self) -> list[_Ticket[object]]:
        batch: list[_Ticket[object]] = []
        while self._queue:
            batch.append(self._queue.popleft())
        return batch

    def _commit(self, connection: sqlite3.Connection, batch: list[_Ticket[object]]) -> None:
        try:
            with translated(self.shared.path):
                _transact(connection, batch)
        except StoreBusy as error:
            for ticket in batch:
                ticket.error = error
        except Exception as error:  # noqa: BLE001 - run() raises it in the thread that it concerns
            if len(batch) > 1:
                for ticket in batch:
                    self._commit(connection, [ticket])
                return
            batch[0].error = error
        for ticket in batch:
            ticket.done = True

    def forget(self) -> None:
        """In a forked child: what other threads had queued is the parent's."""
        self._queue.clear()
        self.shared.forget()


def _transact(connection: sqlite3.Connection, batch: list[_Ticket[object]]) -> None:
    try:
        connection.execute("BEGIN IMMEDIATE")
        for ticket in batch:
            ticket.run(connection)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
