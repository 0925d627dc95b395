"""What one event puts into the tables: rows by table, without any I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agent.eventstore.errors import CorruptLog, UnknownEvent
from agent.eventstore.events import (
    Event,
    HistoryCompacted,
    MessageAdded,
    MetadataChanged,
    ModelFailed,
    ModelRequested,
    ModelResponded,
    OutputRejected,
    SessionForked,
    SessionStarted,
    SystemChanged,
    ToolResolved,
    ToolReturned,
    TurnAbandoned,
    TurnFailed,
    TurnStarted,
)
from agent.eventstore.messages import Message, Part, RefusalPart, TextPart

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.eventstore.record import Recorded
    from agent.eventstore.values import Usage

Row = tuple[str, dict[str, Any]]
"""The name of a table, and what an event says for its columns."""

_STATUS = {
    "turn.completed": "completed",
    "turn.failed": "failed",
    "turn.abandoned": "abandoned",
    "turn.resumed": "open",
}
_LABELS = {"session.started", "session.forked", "metadata.changed"}
_ANSWERS = {"model.responded", "model.failed"}


def event_of(fact: Recorded) -> Event | None:
    """The event; None if it does not decode."""
    try:
        return fact.event
    except (CorruptLog, UnknownEvent):
        return None


def rows_of(fact: Recorded, *, turn: int | None, request: int | None) -> Iterator[Row]:
    """The rows of an event; ``turn`` and ``request`` are the versions of those it belongs to.

    An event without a readable payload still has the rows that say that it happened.
    """
    event = event_of(fact)
    yield from _texts(event, turn)
    match fact.type:
        case "turn.started":
            yield "starts", {"kind": event.kind if isinstance(event, TurnStarted) else None}
        case "model.requested":
            yield "requests", {"turn": turn, **_request(event)}
        case type_ if type_ in _STATUS:
            yield "ends", {"turn": turn, "status": _STATUS[type_], **_end(event)}
        case type_ if type_ in _LABELS:
            yield "labels", {"type": type_, **_label(event)}
        case type_ if type_ in _ANSWERS:
            yield "answers", {"request": request, **_answer(event)}
        case _:
            pass


def _texts(event: Event | None, turn: int | None) -> Iterator[Row]:
    match event:
        case SessionStarted(system=str(system)) | SystemChanged(system=str(system)):
            yield "texts", {"kind": "system", "role": "system", "text": system}
        case ToolReturned() | ToolResolved(how="result" | "failed"):
            yield "texts", _result(turn, event)
        case None:
            pass
        case _:
            yield from _messages(event, turn)


def _messages(event: Event, turn: int | None) -> Iterator[Row]:
    for kind, message in _said(event):
        text = message.text or message.refusal or ""
        yield "texts", {"kind": kind, "role": message.role, "turn": turn, "text": text}
        for call in message.tool_calls if kind == "answer" else ():
            row = {"call_id": call.call_id, "tool": call.name, "text": call.arguments}
            yield "texts", {"kind": "call", "role": message.role, "turn": turn, **row}


def _said(event: Event) -> Iterator[tuple[str, Message]]:
    match event:
        case MessageAdded(message=message):
            yield "added", message
        case HistoryCompacted(summary=message):
            yield "summary", message
        case TurnStarted(input=message):
            yield "input", message
        case OutputRejected(feedback=message):
            yield "feedback", message
        case ModelFailed(partial=Message() as message):
            yield "partial", message
        case ModelResponded(message=message):
            yield "answer", message
        case _:
            pass


def _result(turn: int | None, event: ToolReturned | ToolResolved) -> dict[str, Any]:
    return {
        "kind": "result",
        "role": "tool",
        "turn": turn,
        "call_id": event.call_id,
        "text": _text(event.content),
        "is_error": event.is_error,
        "elapsed": event.elapsed if isinstance(event, ToolReturned) else None,
    }


def _text(parts: tuple[Part, ...]) -> str:
    return "".join(part.text for part in parts if isinstance(part, TextPart | RefusalPart))


def _request(event: Event | None) -> dict[str, Any]:
    if not isinstance(event, ModelRequested):
        return {}
    return {name: getattr(event, name) for name in ("step", "attempt", "provider", "api", "model")}


def _answer(event: Event | None) -> dict[str, Any]:
    match event:
        case ModelResponded():
            said = {"finish_reason": event.finish_reason, "model": event.model}
            return {**said, "elapsed": event.elapsed, **_usage(event.usage)}
        case ModelFailed():
            return {"error": event.error.error, "elapsed": event.elapsed, **_usage(event.usage)}
        case _:
            return {}


def _usage(usage: Usage | None) -> dict[str, int]:
    return {} if usage is None else {name: getattr(usage, name) for name in usage.__struct_fields__}


def _end(event: Event | None) -> dict[str, Any]:
    match event:
        case TurnFailed(error=error):
            return {"error": error.error, "reason": error.message}
        case TurnAbandoned(reason=reason):
            return {"reason": reason}
        case _:
            return {}


def _label(event: Event | None) -> dict[str, Any]:
    match event:
        case SessionStarted():
            return {"session_id": event.session_id, "metadata": bytes(event.metadata).decode()}
        case SessionForked():
            return {"session_id": event.session_id}
        case MetadataChanged():
            return {"metadata": bytes(event.metadata).decode()}
        case _:
            return {}
