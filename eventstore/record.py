"""Events as they are stored: prepared once, then recorded at a version of a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agent.eventstore import chain
from agent.eventstore.codec import CODEC
from agent.eventstore.errors import CorruptLog, UnknownEvent
from agent.eventstore.lazy import cached_property

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.eventstore.events import Event


class Head(msgspec.Struct, frozen=True):
    """Where a stream ends: how many events it has, and the hash of the last."""

    version: int
    hash: bytes


class Prepared(msgspec.Struct, frozen=True, dict=True):
    """An event whose bytes, salt and time are fixed. A retry passes the same prepared events.

    ``recorded_at`` is in nanoseconds since 1970, UTC; it never orders anything. Once an event is
    erased its ``payload`` is what is left of it, ``salt`` is None, and ``erased_digest`` stands for
    what both were.
    """

    type: str
    schema: int
    recorded_at: int
    codec: int
    salt: bytes | None
    payload: bytes
    erased_digest: bytes | None = None

    @property
    def erased(self) -> bool:
        """Whether its texts are gone."""
        return self.erased_digest is not None

    @property
    def digest(self) -> bytes:
        """The digest of the payload, recomputed from the stored bytes."""
        if self.erased_digest is not None:
            return self.erased_digest
        return chain.payload_digest(self.salt or b"", self.payload)

    @cached_property
    def event(self) -> Event:
        """The event itself, decoded and brought forward to today's schema."""
        return CODEC.decode(self.type, self.schema, self.payload)

    def hash_after(self, previous: bytes, version: int) -> bytes:
        """The hash of this event at ``version`` of a stream, after ``previous``."""
        digest = self.erased_digest
        if digest is None:
            digest = chain.payload_digest(self.salt or b"", self.payload)
        return chain.event_hash(
            previous,
            version=version,
            type=self.type,
            schema=self.schema,
            recorded_at=self.recorded_at,
            codec=self.codec,
            digest=digest,
        )


class Recorded(Prepared, frozen=True, kw_only=True, dict=True):
    """An event at its place.

    ``version`` counts from 1 within the stream, the inherited prefix included. ``position`` is the
    place in the whole log, None as long as the log has not told it. ``hash`` is its identity.
    """

    stream: str
    version: int
    hash: bytes
    position: int | None = None

    @cached_property
    def event(self) -> Event:
        """The event itself.

        Raises :class:`UnknownEvent` for one that a later release wrote, and
        :class:`CorruptLog` for bytes that do not decode; both name the version.
        """
        try:
            return CODEC.decode(self.type, self.schema, self.payload)
        except UnknownEvent as error:
            raise UnknownEvent(
                type=error.type, schema=error.schema, known=error.known, version=self.version
            ) from None
        except (msgspec.MsgspecError, UnicodeError, RecursionError, TypeError) as error:
            reason = f"{self.type} does not decode: {error}"
            raise CorruptLog(reason, stream=self.stream, version=self.version) from error

    def at_position(self, position: int) -> Recorded:
        """The same event with its place in the log."""
        placed = msgspec.structs.replace(self, position=position)
        vars(placed).update(vars(self))
        return placed

    def as_erased(self, residue: bytes) -> Recorded:
        """The same event without its texts: only ``residue`` is left of its payload."""
        return msgspec.structs.replace(self, salt=None, payload=residue, erased_digest=self.digest)

    @property
    def head(self) -> Head:
        """The head of a stream that ends here."""
        return Head(self.version, self.hash)


def prepare(event: Event, *, recorded_at: int, salt: bytes) -> Prepared:
    """Fix an event's bytes, time and salt. Raises :class:`InvalidEvent`."""
    prepared = Prepared(
        event.type, event.schema, recorded_at, chain.JSON_CODEC, salt, CODEC.encode(event)
    )
    vars(prepared)["event"] = event
    return prepared


def record(prepared: Sequence[Prepared], *, stream: str, after: Head | None) -> list[Recorded]:
    """Chain prepared events onto a head: the places and hashes that they will have."""
    version, previous = (after.version, after.hash) if after else (0, chain.GENESIS)
    recorded: list[Recorded] = []
    for item in prepared:
        version += 1
        previous = item.hash_after(previous, version)
        if isinstance(item, Recorded) and _stands(item, stream, version, previous):
            recorded.append(item)
            continue
        fact = Recorded(
            item.type,
            item.schema,
            item.recorded_at,
            item.codec,
            item.salt,
            item.payload,
            item.erased_digest,
            stream=stream,
            version=version,
            hash=previous,
        )
        if "event" in vars(item):
            vars(fact)["event"] = item.event
        recorded.append(fact)
    return recorded


def _stands(fact: Recorded, stream: str, version: int, digest: bytes) -> bool:
    """Whether an event was recorded for just this place."""
    return fact.hash == digest and fact.version == version and fact.stream == stream
