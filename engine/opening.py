"""What a caller of ``agent.session()`` wants a session to be, and the events that make it so."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from agent.engine.errors import HistoryExists
from agent.eventstore.events import (
    MessageAdded,
    MetadataChanged,
    SessionStarted,
    SystemChanged,
)
from agent.eventstore.rawjson import EMPTY_OBJECT
from agent.eventstore.version import library_version

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import msgspec

    from agent.engine.journal import Journal
    from agent.eventstore.messages import Message
    from agent.eventstore.record import Recorded
    from agent.projections.conversation import Conversation


class Wanted(NamedTuple):
    """What the caller of ``agent.session()`` asked for; None leaves what the log says."""

    system: str | None = None
    metadata: msgspec.Raw | None = None
    messages: Sequence[Message] = ()


def opened(journal: Journal, wanted: Wanted) -> Journal:
    """Record in a journal what its session lacks of what is wanted.

    Nothing is written yet: these events share the first commit. Raises :class:`HistoryExists`.
    """
    now = journal.committed.conversation
    if wanted.messages and (len(now.transcript) or now.turn):
        raise HistoryExists(
            f"session {journal.stream!r} already has a history; "
            "open it without messages=, or use another session_id"
        )
    if now.version:
        _configure(journal, wanted, now)
    else:
        journal.record(_started(journal.stream, wanted))
    for message in wanted.messages:
        journal.record(MessageAdded(message=message))
    journal.keep()
    return journal


def landed(opening: Sequence[Recorded], found: Iterable[Recorded]) -> bool:
    """Whether a stream begins with an opening: the answer to its append may have been lost."""
    return bool(opening) and [fact.hash for fact in found] == [fact.hash for fact in opening]


def _started(session_id: str, wanted: Wanted) -> SessionStarted:
    return SessionStarted(
        session_id=session_id,
        system=wanted.system or None,
        metadata=EMPTY_OBJECT if wanted.metadata is None else wanted.metadata,
        library=library_version(),
    )


def _configure(journal: Journal, wanted: Wanted, now: Conversation) -> None:
    if wanted.system is not None and (wanted.system or None) != now.system:
        journal.record(SystemChanged(system=wanted.system or None))
    if wanted.metadata is not None and wanted.metadata != now.metadata:
        journal.record(MetadataChanged(metadata=wanted.metadata))
