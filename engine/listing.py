"""What there is in a log, without loading it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from agent.eventstore.core import IDENTITY_TYPES
from agent.eventstore.errors import CorruptLog, UnknownEvent
from agent.eventstore.events import MetadataChanged, SessionForked, SessionStarted
from agent.eventstore.export import session_id_of
from agent.eventstore.log import Surveyed
from agent.projections.conversation import metadata_of

if TYPE_CHECKING:
    from agent.eventstore.log import EventLog, StreamInfo
    from agent.eventstore.record import Recorded


class SessionInfo(msgspec.Struct, frozen=True):
    """A session as a listing shows it. ``title`` is ``metadata["title"]``, if there is one.

    A fork names its ``parent``, and in ``forked_at`` how many events it shares with it.
    ``error`` says why the rest could not be read whole: the session is damaged, or of a later
    release. Opening it raises the same.
    """

    key: str
    session_id: str
    version: int
    created: datetime
    updated: datetime
    title: str | None
    metadata: dict[str, object]
    error: CorruptLog | UnknownEvent | None = None
    parent: str | None = None
    forked_at: int | None = None


def listed(log: EventLog) -> Iterator[SessionInfo]:
    """Every session of a log, by its key."""
    known = log.identities() if isinstance(log, Surveyed) else {}
    for info in log.streams():
        found = _info(log, info, known.get(info.stream))
        if found is not None:
            yield found


def _info(
    log: EventLog, info: StreamInfo, identity: Sequence[Recorded] | None
) -> SessionInfo | None:
    """What a listing shows of a session; None if it was deleted meanwhile."""
    session_id, metadata, error = info.stream, dict[str, object](), None
    parent: str | None = None
    forked_at: int | None = None
    try:
        if identity is None:
            identity = list(log.read(info.stream, types=IDENTITY_TYPES))
        if not identity and log.head(info.stream) is None:
            return None
        session_id = session_id_of(identity)
        metadata = _metadata_of(identity)
        parent, forked_at = _origin_of(identity)
    except (CorruptLog, UnknownEvent) as damage:
        error = damage
    title = metadata.get("title")
    return SessionInfo(
        info.stream,
        session_id,
        info.head.version if info.head else 0,
        _time(info.created_at),
        _time(info.updated_at),
        title if isinstance(title, str) else None,
        metadata,
        error,
        parent,
        forked_at,
    )


def _metadata_of(identity: Sequence[Recorded]) -> dict[str, object]:
    metadata: dict[str, object] = {}
    for fact in identity:
        match fact.event:
            case SessionStarted() | MetadataChanged() as event:
                metadata = metadata_of(event, fact)
            case _:
                pass
    return metadata


def _origin_of(identity: Sequence[Recorded]) -> tuple[str | None, int | None]:
    for fact in reversed(identity):
        if isinstance(fact.event, SessionForked):
            return fact.event.parent, fact.event.at
    return None, None


def _time(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC)
