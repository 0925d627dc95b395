"""A log that fails on purpose, for tests of what comes after."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Literal, NoReturn

from agent.eventstore.errors import AppendUnknown
from agent.eventstore.processes import renewed_in_children

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from agent.eventstore.core import ToErase
    from agent.eventstore.log import Durability, EventLog, StreamInfo
    from agent.eventstore.record import Head, Prepared, Recorded


class FailingLog:
    """Another log whose append number ``fail_at`` fails, counted from 1; all else passes through.

    It fails ``before`` or ``after`` the events have landed. With ``how="error"`` it raises
    :class:`AppendUnknown`, as a disk or a network does that gave no answer, and works again from
    then on; with ``how="kill"`` the process dies by SIGKILL. With ``fail_at=None`` it only counts
    its ``appends``. Forking and deleting are not counted. Raises ``ValueError`` for other values.

    >>> from agent.stores import LogStore, MemoryStore
    >>> store = LogStore(FailingLog(MemoryStore().log, fail_at=3, when="after"))
    """

    def __init__(
        self,
        log: EventLog,
        *,
        fail_at: int | None = None,
        when: Literal["before", "after"] = "before",
        how: Literal["error", "kill"] = "error",
    ) -> None:
        if fail_at is not None and (type(fail_at) is not int or fail_at < 1):
            raise ValueError(f"fail_at= is the number of an append from 1, or None: {fail_at!r}")
        if when not in ("before", "after"):
            raise ValueError(f'when= is "before" or "after", not {when!r}')
        if how not in ("error", "kill"):
            raise ValueError(f'how= is "error" or "kill", not {how!r}')
        self._log = log
        self._fail_at = fail_at
        self._when = when
        self._how = how
        self.appends = 0
        self.after_fork()
        renewed_in_children(self)

    def after_fork(self) -> None:
        """Begin anew in a child process: a thread of its parent's may have been counting."""
        self._counting = threading.Lock()

    @property
    def durability(self) -> Durability:
        """What the log promises."""
        return self._log.durability

    def append(self, stream: str, prepared: Sequence[Prepared], *, expected: Head | None) -> Head:
        """Append, or fail."""
        with self._counting:
            self.appends += 1
            number = self.appends
        if number == self._fail_at and self._when == "before":
            self._fail()
        head = self._log.append(stream, prepared, expected=expected)
        if number == self._fail_at:
            self._fail()
        return head

    def _fail(self) -> NoReturn:
        if self._how == "kill":
            die()
        raise AppendUnknown(
            f"append {self._fail_at} fails on purpose: it may or may not have landed; "
            "open the session again and look"
        )

    def fork(self, parent: str, child: str, *, at: int, prepared: Prepared) -> Head:
        """Fork."""
        return self._log.fork(parent, child, at=at, prepared=prepared)

    def head(self, stream: str) -> Head | None:
        """The stream's head."""
        return self._log.head(stream)

    def read(
        self,
        stream: str,
        *,
        after: int = 0,
        until: int | None = None,
        types: Collection[str] | None = None,
    ) -> Iterator[Recorded]:
        """The events of a stream."""
        return self._log.read(stream, after=after, until=until, types=types)

    def read_all(self, *, after: int = 0) -> Iterator[Recorded]:
        """The feed."""
        return self._log.read_all(after=after)

    def streams(self) -> Iterator[StreamInfo]:
        """Every stream."""
        return self._log.streams()

    def delete(self, stream: str, prepared: Prepared) -> bool:
        """Delete."""
        return self._log.delete(stream, prepared)

    def erase(self, streams: Sequence[ToErase], residues: Mapping[str, bytes]) -> None:
        """Erase."""
        self._log.erase(streams, residues)

    def put_blob(self, data: bytes) -> str:
        """Store an attachment."""
        return self._log.put_blob(data)

    def get_blob(self, digest: str) -> bytes:
        """An attachment's bytes."""
        return self._log.get_blob(digest)

    def close(self) -> None:
        """Release what the log holds."""
        self._log.close()


def die() -> NoReturn:
    """End this process here, as SIGKILL does: nothing is flushed, closed or told."""
    while True:  # some systems deliver it a little later
        os.kill(os.getpid(), signal.SIGKILL)
