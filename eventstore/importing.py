"""Taking events from elsewhere into a log, which are the same that it has, or come after them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.eventstore.errors import ConflictError
from agent.eventstore.events import PayloadErased
from agent.eventstore.residue import PAYLOAD_ERASED

if TYPE_CHECKING:
    from agent.eventstore.export import Export
    from agent.eventstore.log import EventLog
    from agent.eventstore.record import Head, Recorded


def import_events(log: EventLog, stream: str, export: Export) -> Head:
    """Make ``stream`` hold these events, as rows of its own; append the missing tail if it exists.

    Never overwrites: raises :class:`ConflictError` when the stream is ahead or different.
    """
    actual = log.head(stream)
    if actual is not None:
        known = export.recorded[: actual.version][-1].head == actual
        check_prefix(log, stream, actual, export.head, known=known)
    tail = export.recorded[actual.version if actual else 0 :]
    for fact in tail if actual else []:
        check_erased(log, stream, fact, export.head)
    return log.append(stream, tail, expected=actual) if tail else export.head


def holds(log: EventLog, stream: str, head: Head) -> bool:
    """Whether the stream has all events up to a head already, and perhaps more."""
    last = head.version
    return [fact.hash for fact in log.read(stream, after=last - 1, until=last)] == [head.hash]


def check_erased(log: EventLog, stream: str, fact: Recorded, wanted: Head) -> None:
    """Refuse to tell a stream of an erasure while it still holds what was erased.

    Raises :class:`ConflictError`.
    """
    event = fact.event if fact.type == PAYLOAD_ERASED else None
    for one in event.erased if isinstance(event, PayloadErased) else ():
        for held in log.read(stream, after=one.version - 1, until=one.version):
            if held.hash.hex() == one.hash and not held.erased:
                raise ConflictError(
                    stream,
                    expected=wanted,
                    actual=log.head(stream),
                    advice=f"The stored session still holds version {one.version}, which was "
                    "erased where this one comes from: delete the stored one first.",
                )


def check_prefix(log: EventLog, stream: str, actual: Head, wanted: Head, *, known: bool) -> None:
    """Refuse to make ``wanted`` of a stream that is not at a beginning of it.

    ``known`` says whether ``actual`` is one of the heads that lead to ``wanted``. Raises
    :class:`ConflictError`.
    """
    if known:
        return
    if actual.version <= wanted.version:
        relation = "The stored session is a different one"
    elif holds(log, stream, wanted):
        relation = "The stored session is ahead"
    else:
        relation = "The stored session is different"
    raise ConflictError(
        stream,
        expected=wanted,
        actual=actual,
        advice=f"{relation}: load that one, import this one under a new session_id, "
        "or delete the stored one first.",
    )
