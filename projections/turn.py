"""An open turn: what has been said in it, and which calls wait for what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NoReturn, assert_never

import msgspec

from agent.eventstore.errors import CorruptLog
from agent.eventstore.events import (
    ApprovalGranted,
    ApprovalRejected,
    ApprovalRequested,
    ModelFailed,
    ModelRequested,
    ModelResponded,
    OutputRejected,
    ToolCalled,
    ToolResolved,
    ToolReturned,
    TurnStarted,
)
from agent.eventstore.messages import Message, ToolCallPart, ToolResultPart

if TYPE_CHECKING:
    from agent.eventstore.record import Recorded

ModelEvent = ModelRequested | ModelResponded | ModelFailed | OutputRejected
ToolEvent = (
    ToolCalled
    | ToolReturned
    | ToolResolved
    | ApprovalRequested
    | ApprovalGranted
    | ApprovalRejected
)

replace = msgspec.structs.replace


class Call(msgspec.Struct, frozen=True):
    """A tool call of the open turn and how far it has come.

    ``key`` is the hash (hex) of its ``tool.called``, its idempotency key; None before the intent
    is recorded. An intent without a result means that the outcome is unknown.
    """

    part: ToolCallPart
    key: str | None = None
    result: ToolResultPart | None = None
    approval: Literal["requested", "granted", "rejected"] | None = None


class Turn(msgspec.Struct, frozen=True):
    """A turn between its start and its end. ``started`` is the version of its ``turn.started``.

    ``messages`` is everything said so far, the input first; those at the indices ``rejected`` are
    answers that did not fit, with their feedback: shown to the model, kept out of the history.
    ``completed_calls`` are the ids of the calls whose tools have run, in the order of their ends.
    ``tokens`` are those of the last answer and of the request for it, as the provider counted.
    """

    started: int
    input: TurnStarted
    messages: tuple[Message, ...]
    completed_calls: tuple[str, ...] = ()
    rejected: tuple[int, ...] = ()
    calls: tuple[Call, ...] = ()
    request: ModelRequested | None = None
    steps: int = 0
    tokens: int = 0

    @property
    def kept(self) -> list[Message]:
        """The messages that enter the history when the turn completes."""
        if not self.rejected:
            return list(self.messages)
        return [m for index, m in enumerate(self.messages) if index not in self.rejected]

    @property
    def pending_calls(self) -> tuple[Call, ...]:
        """Calls of the last answer that have no result yet."""
        return tuple(call for call in self.calls if call.result is None)


def begin(event: TurnStarted, fact: Recorded) -> Turn:
    """The turn that an event starts."""
    return Turn(fact.version, event, (event.input,))


def evolve_model(turn: Turn, event: ModelEvent, fact: Recorded) -> Turn:
    """The turn after a model event."""
    match event:
        case ModelRequested():
            if turn.pending_calls:
                _corrupt(fact, "the model was asked while calls have no result")
            if turn.request is not None:
                _corrupt(fact, "the model was asked while it has not answered")
            return replace(turn, request=event, steps=event.step)
        case ModelFailed():
            return replace(_answered(turn, fact), request=None)
        case ModelResponded(message=message, usage=usage):
            turn = _answered(turn, fact)
            calls = tuple(Call(part) for part in message.tool_calls)
            return replace(
                turn,
                request=None,
                messages=(*turn.messages, message),
                calls=calls,
                tokens=usage.total_tokens,
            )
        case OutputRejected(feedback=feedback):
            if turn.request or turn.calls or turn.messages[-1].role != "assistant":
                _corrupt(fact, "there is no answer to reject")
            last = len(turn.messages) - 1
            return replace(
                turn,
                messages=(*turn.messages, feedback),
                rejected=(*turn.rejected, last, last + 1),
            )
        case _:
            assert_never(event)


def _answered(turn: Turn, fact: Recorded) -> Turn:
    if turn.request is None:
        _corrupt(fact, "an answer without a request")
    return turn


def evolve_tool(turn: Turn, event: ToolEvent, fact: Recorded) -> Turn:
    """The turn after a tool event."""
    index, call = _find(turn, event.call_id, fact)
    evolved = _evolve_call(call, event, fact)
    calls = (*turn.calls[:index], evolved, *turn.calls[index + 1 :])
    if call.key is not None and evolved.result is not None:
        turn = replace(turn, completed_calls=(*turn.completed_calls, event.call_id))
    results = [call.result for call in calls if call.result is not None]
    if len(results) < len(calls):
        return replace(turn, calls=calls)
    return replace(turn, calls=(), messages=(*turn.messages, Message.tool(*results)))


def _find(turn: Turn, call_id: str, fact: Recorded) -> tuple[int, Call]:
    found = [
        (index, call)
        for index, call in enumerate(turn.calls)
        if call.part.call_id == call_id and call.result is None
    ]
    return found[0] if found else _corrupt(fact, f"no call {call_id!r} waits for this")


def _evolve_call(call: Call, event: ToolEvent, fact: Recorded) -> Call:
    match event:
        case ToolCalled():
            return replace(call, key=fact.hash.hex())
        case ToolReturned(call_id=call_id, content=content, is_error=is_error):
            return replace(call, result=ToolResultPart(call_id, content, is_error))
        case ToolResolved(how="retry"):
            return replace(call, key=None)
        case ToolResolved(call_id=call_id, content=content, how=how):
            return replace(call, result=ToolResultPart(call_id, content, how == "failed"))
        case ApprovalRequested():
            return replace(call, approval="requested")
        case ApprovalGranted():
            return replace(call, approval="granted")
        case ApprovalRejected():
            return replace(call, approval="rejected")
        case _:
            assert_never(event)


def _corrupt(fact: Recorded, reason: str) -> NoReturn:
    raise CorruptLog(f"{fact.type}: {reason}", stream=fact.stream, version=fact.version)
