"""The event log: the one interface behind which every backend lies.

What each verb promises is spelled out as numbered tests in ``conformance``.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from agent.eventstore.core import ToErase
    from agent.eventstore.record import Head, Prepared, Recorded


class Durability(enum.Enum):
    """What an acknowledged event survives."""

    MEMORY = "memory"
    """Nothing: it ends with the process."""

    OS = "os"
    """The death of the process, but not of the machine."""

    FSYNC = "fsync"
    """The death of the process, and power loss where the disk honours a flush."""


class StreamInfo(msgspec.Struct, frozen=True):
    """A stream as a listing shows it. Times are nanoseconds since 1970, UTC.

    ``head`` is None, and the times 0, where the stream is too damaged to tell.
    """

    stream: str
    head: Head | None
    created_at: int
    updated_at: int


class EventLog(Protocol):
    """An append-only log of events in named streams. Safe to share between threads."""

    @property
    def durability(self) -> Durability:
        """What an acknowledged event survives."""
        ...

    def append(self, stream: str, prepared: Sequence[Prepared], *, expected: Head | None) -> Head:
        """Append all events or none; ``expected=None`` means that the stream must not exist.

        Attachments whose bytes came along with their events are stored with them; of all others
        the log must hold the bytes already, else it raises :class:`AttachmentMissing`.

        A retry (the stream already holds exactly these events after ``expected``) is answered
        with its original head. Raises :class:`ConflictError` otherwise, and
        :class:`AppendUnknown` when the outcome is not known.
        """
        ...

    def fork(self, parent: str, child: str, *, at: int, prepared: Prepared) -> Head:
        """Make ``child`` share the first ``at`` events of ``parent``, and append its own first one.

        Costs the same at any length. ``prepared`` is the ``session.forked`` event. Raises
        :class:`UnknownStream`, :class:`ConflictError` when the child exists.
        """
        ...

    def head(self, stream: str) -> Head | None:
        """The stream's head, None if there is no such stream."""
        ...

    def read(
        self,
        stream: str,
        *,
        after: int = 0,
        until: int | None = None,
        types: Collection[str] | None = None,
    ) -> Iterator[Recorded]:
        """The events of versions ``after < version <= until``, the inherited ones included.

        ``types`` keeps only events of these types. A stream that does not exist has none.
        """
        ...

    def read_all(self, *, after: int = 0) -> Iterator[Recorded]:
        """The feed: every event of the log once, by position, inherited ones in their origin."""
        ...

    def streams(self) -> Iterator[StreamInfo]:
        """Every stream by name, without reading payloads."""
        ...

    def delete(self, stream: str, prepared: Prepared) -> bool:
        """Append ``session.deleted``, free the name, purge what no living fork needs.

        Returns False when there is no such stream.
        """
        ...

    def erase(self, streams: Sequence[ToErase], residues: Mapping[str, bytes]) -> None:
        """Replace payloads by what is left of them, and append the events that say so.

        All or nothing. ``streams`` are all that hold the events, forks included, each with its
        ``payload.erased``; ``residues`` are the bytes that are left, by the hash (hex) of their
        event. Salts are gone, and attachments that no other event names. What was appended already
        is a retry. Raises :class:`ConflictError` when a stream has moved on or one is not told.
        """
        ...

    def put_blob(self, data: bytes) -> str:
        """Store an attachment before its event; returns its digest (SHA-256, hex)."""
        ...

    def get_blob(self, digest: str) -> bytes:
        """An attachment's bytes. Raises :class:`AttachmentMissing`."""
        ...

    def close(self) -> None:
        """Release what the log holds. Closing twice is fine."""
        ...


class Survey(msgspec.Struct, frozen=True):
    """How many events there are of each type, and how many of all were erased."""

    types: dict[str, int]
    erased: int


@runtime_checkable
class Surveyed(Protocol):
    """A log that can say at once what else takes a reading of each stream, or of each event."""

    def identities(self) -> dict[str, list[Recorded]]:
        """Of each stream what ``read`` gives for ``core.IDENTITY_TYPES``.

        Streams that are damaged, or may be, are left out.
        """
        ...

    def survey(self, stream: str, *, until: int) -> Survey:
        """What a stream holds up to a version, the inherited events included.

        That is nothing if it does not exist.
        """
        ...
