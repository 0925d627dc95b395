"""What the parts of the contract share: the log under test, and how to fill it."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from agent.eventstore.conformance.facts import deleted, forked, said, started

if TYPE_CHECKING:
    from agent.eventstore.log import EventLog
    from agent.eventstore.record import Head, Recorded


class Contract(ABC):
    """A log under test: opened by the first use in a test, closed after it."""

    _log: EventLog | None = None
    _opening = threading.Lock()

    @abstractmethod
    def open_log(self) -> EventLog:
        """Open a fresh log that holds nothing."""

    def reopen(self, log: EventLog) -> EventLog | None:  # noqa: ARG002 - a hook
        """Close the log and open it anew; None if it ends with the process."""
        return None

    @property
    def log(self) -> EventLog:
        """The log of this test, one also for threads that all use it first."""
        with self._opening:
            if self._log is None:
                self._log = self.open_log()
            return self._log

    def teardown_method(self) -> None:
        """Close the log; pytest calls this after each test."""
        if self._log is not None:
            self._log.close()
            self._log = None

    def grow(self, stream: str, *, to: int) -> Head:
        """Append one event at a time until the stream is at version ``to``."""
        head = self.log.head(stream)
        for version in range(head.version + 1 if head else 1, to + 1):
            fact = started(stream) if head is None else said(f"{stream} {version}")
            head = self.log.append(stream, [fact], expected=head)
        return self.known(stream)

    def fork(self, parent: str, child: str, *, at: int) -> Head:
        """Fork a stream at a version."""
        point = self.event(parent, at).head
        return self.log.fork(parent, child, at=at, prepared=forked(child, parent, point))

    def delete(self, stream: str) -> bool:
        """Delete a stream."""
        return self.log.delete(stream, deleted())

    def known(self, stream: str) -> Head:
        """The head of a stream that exists."""
        head = self.log.head(stream)
        if head is None:
            raise LookupError(stream)
        return head

    def events(self, stream: str) -> list[Recorded]:
        """Every event of a stream."""
        return list(self.log.read(stream))

    def event(self, stream: str, version: int) -> Recorded:
        """One event of a stream."""
        (fact,) = self.log.read(stream, after=version - 1, until=version)
        return fact

    def feed(self) -> list[Recorded]:
        """Every event of the log."""
        return list(self.log.read_all())

    def names(self) -> list[str]:
        """The streams that the log lists."""
        return [info.stream for info in self.log.streams()]
