"""The one writer of a log file: what several threads write at once is committed at once."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from agent.eventstore.backends.sqlite_connection import commit_failure
from agent.eventstore.errors import AgentError, AppendUnknown, StoreBusy

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable

    from agent.eventstore.backends.sqlite_connection import Shared

T = TypeVar("T")

_PATIENCE = 1.0
"""Seconds that a write sleeps before it looks for itself whether it has been forgotten."""


class _Ticket(Generic[T]):
    """A write that waits for its commit."""

    def __init__(self, job: Callable[[sqlite3.Connection], T]) -> None:
        self.job = job
        self.done = False
        self.value: T | None = None
        self.error: BaseException | None = None
        self._calls: SimpleQueue[None] = SimpleQueue()

    def run(self, connection: sqlite3.Connection) -> None:
        """Do the write inside the open transaction; a refusal concerns this write only."""
        self.value, self.error = None, None
        try:
            self.value = self.job(connection)
        except AgentError as error:
            self.error = error

    def called(self) -> bool:
        """Sleep until called; False if that took suspiciously long."""
        try:
            self._calls.get(timeout=_PATIENCE)
        except Empty:
            return False
        return True

    def call(self) -> None:
        """Wake whoever sleeps here: the write is done, or the first in the queue."""
        self._calls.put(None)


class Writer:
    """The process's one writer. Whoever holds it commits what all threads have queued.

    The first in the queue waits for the connection and then writes for all who came after it; they
    sleep until they are called. A job decides first and writes last: it raises an
    :class:`AgentError` only before its first write, so a refused job leaves nothing behind in a
    shared transaction.
    """

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self._queue: deque[_Ticket[Any]] = deque()

    def run(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run a job in a transaction and commit it; several threads' jobs share one commit."""
        ticket = _Ticket(job)
        self._queue.append(ticket)
        try:
            while not ticket.done:
                # A call is lost when Ctrl-C comes between a commit and its calls.
                if self._first() is ticket or not ticket.called():
                    self._write(ticket)
        except BaseException:
            with suppress(ValueError):
                self._queue.remove(ticket)
            first = self._first()
            if first is not None:
                first.call()
            raise
        if ticket.error is not None:
            raise ticket.error
        return ticket.value  # pyright: ignore[reportReturnType] - set by run()

    def _first(self) -> _Ticket[Any] | None:
        try:
            return self._queue[0]
        except IndexError:
            return None

    def _write(self, ticket: _Ticket[Any]) -> None:
        """Commit whatever is queued by the time that the connection is free."""
        batch: list[_Ticket[Any]] = []
        try:
            with self.shared.alone():
                if not ticket.done:
                    with self.shared.connected() as connection:
                        batch = self._drain()
                        self._commit(connection, batch if ticket in batch else [*batch, ticket])
        finally:
            for other in reversed(batch):
                if not other.done:
                    self._queue.appendleft(other)
                if other is not ticket:
                    other.call()

    def _drain(self) -> list[_Ticket[Any]]:
        batch: list[_Ticket[Any]] = []
        while self._queue:
            batch.append(self._queue.popleft())
        return batch

    def _commit(self, connection: sqlite3.Connection, batch: list[_Ticket[object]]) -> None:
        try:
            self._transact(connection, batch)
        except Exception as error:  # noqa: BLE001 - run() raises it in the thread that it concerns
            failure = commit_failure(error, self.shared.path)
            concerns_all = isinstance(failure, StoreBusy | AppendUnknown)
            if len(batch) > 1 and not concerns_all:
                for ticket in batch:
                    self._commit(connection, [ticket])
                return
            for ticket in batch:
                ticket.error = failure
            # After a failed flush a later one may succeed without having written everything.
            if isinstance(failure, AppendUnknown):
                self.shared.end("takes no more since its disk failed")
        for ticket in batch:
            ticket.done = True

    def _transact(self, connection: sqlite3.Connection, batch: list[_Ticket[object]]) -> None:
        try:
            connection.execute("BEGIN IMMEDIATE")
            for ticket in batch:
                ticket.run(connection)
            self.shared.file.check()
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def forget(self) -> None:
        """In a forked child: what other threads had queued is the parent's."""
        self._queue.clear()
        self.shared.forget()
