"""What is left of an event whose texts were erased: that it happened, and what hangs on it.

A residue is an event of the same type. Ids of sessions and calls, names of tools, places of parts,
tokens and outcomes stay, so that what follows still makes sense; everything that somebody said,
wrote or attached is gone. The residue of a residue is itself.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from agent.eventstore.errors import CorruptLog, UnknownEvent
from agent.eventstore.events import (
    ApprovalRejected,
    Event,
    HistoryCompacted,
    MessageAdded,
    MetadataChanged,
    ModelFailed,
    ModelResponded,
    OutputRejected,
    PayloadErased,
    SessionStarted,
    SystemChanged,
    ToolResolved,
    ToolReturned,
    ToolsDeclared,
    TurnAbandoned,
    TurnFailed,
    TurnStarted,
)
from agent.eventstore.messages import (
    Message,
    Part,
    ReasoningPart,
    RefusalPart,
    ResultContent,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from agent.eventstore.rawjson import EMPTY_OBJECT
from agent.eventstore.values import Failure, Settings, ToolDefinition, tools_digest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.eventstore.record import Recorded

replace = msgspec.structs.replace

PAYLOAD_ERASED = "payload.erased"

ERASED = "[erased]"
"""What stands where a text was, in histories and in requests that hold them."""


def residue_of(event: Event) -> Event:
    """What is left of an event once it is erased; the event itself where there is nothing to."""
    match event:
        case SessionStarted():
            return replace(event, system=None, metadata=EMPTY_OBJECT)
        case SystemChanged():
            return replace(event, system=None)
        case MetadataChanged():
            return replace(event, metadata=EMPTY_OBJECT)
        case ToolsDeclared(tools=tools):
            left = tuple(ToolDefinition(tool.name, "", EMPTY_OBJECT) for tool in tools)
            return replace(event, tools=left, digest=tools_digest(left))
        case MessageAdded(message=message):
            return replace(event, message=_message(message))
        case HistoryCompacted(summary=message):
            return replace(event, summary=_message(message))
        case ToolReturned(content=content) | ToolResolved(content=content):
            return replace(event, content=_results(content))
        case _:
            return _of_turn(event)


def _of_turn(event: Event) -> Event:
    match event:
        case TurnStarted(input=message, settings=settings):
            return replace(
                event, input=_message(message), settings=_settings(settings), idempotency_key=None
            )
        case ModelResponded(message=message):
            return replace(event, message=_message(message), response_id=None)
        case ModelFailed(error=error, partial=partial):
            left = partial and _message(partial)
            return replace(event, error=_failure(error), partial=left)
        case OutputRejected(errors=errors, feedback=message):
            return replace(event, errors=(ERASED,) * len(errors), feedback=_message(message))
        case TurnFailed(error=error):
            return replace(event, error=_failure(error))
        case ApprovalRejected(reason=reason) | TurnAbandoned(reason=reason):
            return replace(event, reason=reason and ERASED)
        case _:
            return event


def _message(message: Message) -> Message:
    return replace(message, parts=tuple(map(_part, message.parts)))


def _part(part: Part) -> Part:
    """The part in its place: calls are named after theirs."""
    match part:
        case ToolCallPart():
            return replace(part, arguments="{}", opaque=None)
        case ToolResultPart(content=content):
            return replace(part, content=_results(content), opaque=None)
        case ReasoningPart():
            return ReasoningPart(ERASED)
        case RefusalPart():
            return RefusalPart(ERASED)
        case _:
            return TextPart(ERASED)


def _results(content: tuple[ResultContent, ...]) -> tuple[ResultContent, ...]:
    return tuple(TextPart(ERASED) for _ in content)


def _settings(settings: Settings) -> Settings:
    return replace(settings, stop=None, extra=EMPTY_OBJECT)


def _failure(error: Failure) -> Failure:
    return replace(error, message=ERASED, request_id=None)


class Residues:
    """Holds erased events, as they come along, against the events that say how they were erased.

    ``unwitnessed`` are those that no event has spoken of.
    """

    def __init__(self) -> None:
        self._seen: dict[str, list[tuple[Recorded, str]]] = {}
        self._named: set[str] = set()

    def see(self, fact: Recorded) -> Iterator[tuple[Recorded, str]]:
        """Take the next event; gives what is wrong, each with its place."""
        if fact.erased:
            found = hashlib.sha256(fact.payload).hexdigest()
            self._seen.setdefault(fact.hash.hex(), []).append((fact, found))
        if fact.type == PAYLOAD_ERASED:
            with suppress(CorruptLog, UnknownEvent):
                yield from self._witness(fact, fact.event)

    def _witness(self, fact: Recorded, event: Event) -> Iterator[tuple[Recorded, str]]:
        assert isinstance(event, PayloadErased)  # noqa: S101 - of its type
        for one in event.erased:
            seen = self._seen.get(one.hash, ())
            if not seen:
                yield fact, f"version {one.version} was to be erased, and is still there"
            for place, residue in seen:
                if residue != one.residue:
                    yield place, "what is left of the erased event has been altered"
            self._named.add(one.hash)

    @property
    def unwitnessed(self) -> int:
        """How many erased events no event has spoken of."""
        return sum(len(seen) for key, seen in self._seen.items() if key not in self._named)
