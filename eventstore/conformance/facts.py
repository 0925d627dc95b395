"""Prepared events for the tests of the contract; equal arguments give equal events."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from agent.eventstore.codec import CODEC
from agent.eventstore.events import (
    MessageAdded,
    PayloadErased,
    SessionDeleted,
    SessionForked,
    SessionStarted,
)
from agent.eventstore.messages import Blob, FilePart, Message, TextPart, ToolResultPart
from agent.eventstore.record import Head, Prepared, prepare
from agent.eventstore.residue import residue_of
from agent.eventstore.values import Erasure

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.eventstore.events import Event
    from agent.eventstore.record import Recorded


def fixed(event: Event, *, recorded_at: int = 0) -> Prepared:
    """An event with a time, and a salt that follows from its content."""
    salt = hashlib.sha256(CODEC.encode(event)).digest()[:16]
    return prepare(event, recorded_at=recorded_at, salt=salt)


def started(session_id: str, *, recorded_at: int = 0) -> Prepared:
    """The first event of a root stream."""
    return fixed(SessionStarted(session_id=session_id, library="0"), recorded_at=recorded_at)


def said(text: str, *, recorded_at: int = 0) -> Prepared:
    """A message."""
    return fixed(MessageAdded(message=Message.user(text)), recorded_at=recorded_at)


def attached(*contents: bytes) -> Prepared:
    """A message that names these attachments."""
    return _handing(*(_named(content) for content in contents))


def bringing(*contents: bytes) -> Prepared:
    """The same message, which brings their bytes along."""
    return _handing(*map(Blob.of, contents))


def attached_as(digest: str, size: int) -> Prepared:
    """A message that names an attachment, of whatever bytes."""
    return _handing(Blob(digest, size))


def _named(content: bytes) -> Blob:
    return Blob(hashlib.sha256(content).hexdigest(), len(content))


def _handing(*blobs: Blob) -> Prepared:
    files = [FilePart(blob, "text/plain") for blob in blobs]
    return fixed(MessageAdded(message=Message.user("Here:", *files)))


def attached_to_result(content: bytes) -> Prepared:
    """A message with an attachment inside a tool's result."""
    file = FilePart(_named(content), "text/plain")
    result = ToolResultPart("call-1", (TextPart("Here:"), file))
    return fixed(MessageAdded(message=Message.tool(result)))


def forked(child: str, parent: str, point: Head, *, recorded_at: int = 0) -> Prepared:
    """The first own event of a child that shares ``parent`` up to ``point``."""
    event = SessionForked(
        session_id=child, parent=parent, at=point.version, parent_hash=point.hash.hex()
    )
    return fixed(event, recorded_at=recorded_at)


def deleted(reason: str = "") -> Prepared:
    """The last event of a stream."""
    return fixed(SessionDeleted(reason=reason))


def erasing(fact: Recorded) -> tuple[Prepared, dict[str, bytes]]:
    """The event that says that another is erased, and what is left of that, by its hash."""
    residue = CODEC.encode(residue_of(fact.event))
    key, digest = fact.hash.hex(), hashlib.sha256(residue).hexdigest()
    event = PayloadErased(erased=(Erasure(fact.version, key, digest),), reason="on request")
    return fixed(event), {key: residue}


def places(recorded: Iterable[Recorded]) -> list[tuple[str, int]]:
    """Stream and version of each event."""
    return [(fact.stream, fact.version) for fact in recorded]


def positions(recorded: Iterable[Recorded]) -> list[int]:
    """The position of each event, 0 where the log does not tell it."""
    return [fact.position or 0 for fact in recorded]
