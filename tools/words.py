"""What an event says, in words: a few of them, or all."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from agent.eventstore.events import (
    ApprovalGranted,
    ApprovalRejected,
    ApprovalRequested,
    Event,
    HistoryCompacted,
    HistoryRewound,
    MessageAdded,
    ModelFailed,
    ModelRequested,
    ModelResponded,
    OutputRejected,
    PayloadErased,
    SessionForked,
    SessionStarted,
    SystemChanged,
    ToolCalled,
    ToolResolved,
    ToolReturned,
    ToolsDeclared,
    TurnAbandoned,
    TurnFailed,
    TurnStarted,
    parts_of,
)
from agent.eventstore.messages import (
    Message,
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)


def summary(event: Event) -> str:
    """What an event says, in a few words; nothing where its type says all."""
    return _of_session(event) or _of_turn(event) or _of_call(event)


def _of_session(event: Event) -> str:
    match event:
        case SessionStarted(system=system) | SystemChanged(system=system):
            return f"system prompt: {system}" if system else "no system prompt"
        case SessionForked(parent=parent, at=at):
            return f"from {parent}@{at}"
        case ToolsDeclared(tools=tools):
            return ", ".join(one.name for one in tools)
        case MessageAdded(message=message):
            return f"{message.role}: {_said(message)}"
        case PayloadErased(erased=erased, reason=reason):
            versions = ", ".join(str(one.version) for one in erased)
            return f"versions {versions}: {reason}" if reason else f"versions {versions}"
        case HistoryRewound(to=to):
            return f"to version {to}"
        case HistoryCompacted(through=through, summary=message):
            return f"through version {through}: {message.text}"
        case _:
            return ""


def _of_turn(event: Event) -> str:
    match event:
        case TurnStarted(kind=kind, input=message):
            who = "the user" if kind == "user" else kind
            return f"{who}: {_said(message)}"
        case ModelRequested(step=step, digest=digest):
            return f"step {step}, request sha256 {digest[:12]}…"
        case ModelResponded(message=message):
            return _said(message) if message.tool_calls else f"the model: {_said(message)}"
        case OutputRejected(errors=errors):
            return "; ".join(errors)
        case ModelFailed(error=error) | TurnFailed(error=error):
            return error.message
        case TurnAbandoned(reason=reason):
            return reason
        case _:
            return ""


def _of_call(event: Event) -> str:
    match event:
        case ToolCalled(tool=name):
            return name
        case ToolReturned(content=content) | ToolResolved(content=content):
            return "".join(part.text for part in content if isinstance(part, TextPart))
        case ApprovalRequested(call_id=call_id) | ApprovalGranted(call_id=call_id):
            return call_id
        case ApprovalRejected(call_id=call_id, reason=reason):
            return f"{call_id}: {reason}" if reason else call_id
        case _:
            return ""


def _said(message: Message) -> str:
    calls = [f"calls {call.name}({call.arguments})" for call in message.tool_calls]
    return ", ".join(calls) or message.text or ", ".join(part.type for part in message.parts)


def contents(event: Event) -> Iterator[str]:
    """Everything that an event says, part by part; its fields where it has no parts."""
    parts = parts_of(event)
    if parts:
        yield from map(part_text, parts)
    elif isinstance(event, SessionStarted | SystemChanged):
        yield event.system or ""
    elif len(event.__struct_fields__):
        yield msgspec.json.format(msgspec.json.encode(event), indent=2).decode()


def part_text(part: Part) -> str:
    """A part of a message as text; attachments and what only a provider reads by their fields."""
    match part:
        case TextPart(text=text) | RefusalPart(text=text):
            return text
        case ReasoningPart(text=text):
            return f"(reasoning) {text}"
        case ToolCallPart(name=name, arguments=arguments):
            return f"calls {name}({arguments})"
        case ToolResultPart():
            return f"result: {part.text}"
        case _:
            return msgspec.json.encode(part).decode()
