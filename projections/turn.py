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
    TurnAbandoned,
    TurnFailed,
    TurnStarted,
)
from agent.eventstore.messages import Message, ToolCallPart, ToolResultPart
from agent.eventstore.values import Owner, Usage

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


CallState = Literal["done", "not started", "unknown"]


class Call(msgspec.Struct, frozen=True):
    """A tool call of the open turn and how far it has come.

    ``key`` is the hash (hex) of its ``tool.called``, its idempotency key; None before the intent
    is recorded. ``inherited`` says that it was recorded before a fork: the key is the parent's.
    """

    part: ToolCallPart
    key: str | None = None
    result: ToolResultPart | None = None
    approval: Literal["requested", "granted", "rejected"] | None = None
    inherited: bool = False

    @property
    def state(self) -> CallState:
        """How far it has come. An intent without a result means that the outcome is unknown."""
        if self.result is not None:
            return "done"
        return "not started" if self.key is None else "unknown"


class Turn(msgspec.Struct, frozen=True):
    """A turn between its start and its end. ``started`` is the version of its ``turn.started``.

    ``tenure`` is the hash of the event that gave it to its ``owner``: ``turn.started``, or the
    last ``turn.resumed``. A fork's turn has no owner. ``messages`` is everything said so far, the
    input first; those at the indices ``rejected`` are answers that did not fit, with their
    feedback: shown to the model, kept out of the history. ``completed_calls`` are the ids of the
    calls whose tools have run, in the order of their ends. ``asked`` is the last request,
    ``waiting`` whether it has no answer yet, ``answer`` the last answer. ``end`` is what ended a
    turn that can be taken up again.
    """

    started: int
    tenure: bytes
    input: TurnStarted
    owner: Owner | None
    messages: tuple[Message, ...]
    completed_calls: tuple[str, ...] = ()
    rejected: tuple[int, ...] = ()
    calls: tuple[Call, ...] = ()
    asked: ModelRequested | None = None
    waiting: bool = False
    answer: ModelResponded | None = None
    usage: Usage = Usage()
    end: TurnFailed | TurnAbandoned | None = None

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

    @property
    def request(self) -> ModelRequested | None:
        """The request that has no answer yet."""
        return self.asked if self.waiting else None

    @property
    def steps(self) -> int:
        """How often the model has answered."""
        return sum(message.role == "assistant" for message in self.messages)

    @property
    def tokens(self) -> int:
        """Those of the last answer and of the request for it, as the provider counted."""
        return self.answer.usage.total_tokens if self.answer else 0

    @property
    def rejections(self) -> int:
        """How many answers did not fit the asked shape."""
        return len(self.rejected) // 2

    @property
    def tool_calls(self) -> tuple[ToolCallPart, ...]:
        """Every call that the model has made."""
        return tuple(call for message in self.messages for call in message.tool_calls)

    @property
    def waits_for(self) -> Literal["model", "tools", "end"]:
        """What has to come next: an answer, results, or nothing but the end."""
        if self.calls:
            return "tools"
        answered = self.messages[-1].role == "assistant" and not self.waiting
        return "end" if answered and not self.paused else "model"

    @property
    def paused(self) -> bool:
        """Whether the last answer goes on when the model is asked again."""
        return self.answer is not None and self.answer.finish_reason == "paused"


def begin(event: TurnStarted, fact: Recorded) -> Turn:
    """The turn that an event starts."""
    return Turn(fact.version, fact.hash, event, event.owner, (event.input,))


def resumed(turn: Turn, owner: Owner, fact: Recorded) -> Turn:
    """The turn in the hands of a new owner."""
    return replace(turn, tenure=fact.hash, owner=owner, waiting=False, end=None)


def forked(turn: Turn) -> Turn:
    """The turn as a fork inherits it: nobody's, and its intents are another session's."""
    calls = tuple(replace(call, inherited=call.key is not None) for call in turn.calls)
    return replace(turn, owner=None, calls=calls)


def evolve_model(turn: Turn, event: ModelEvent, fact: Recorded) -> Turn:
    """The turn after a model event."""
    match event:
        case ModelRequested():
            if turn.pending_calls:
                _corrupt(fact, "the model was asked while calls have no result")
            if turn.waiting:
                _corrupt(fact, "the model was asked while it has not answered")
            return replace(turn, asked=event, waiting=True)
        case ModelFailed():
            turn = _answered(turn, fact)
            return replace(turn, waiting=False, usage=turn.usage + (event.usage or Usage()))
        case ModelResponded(message=message):
            turn = _answered(turn, fact)
            return replace(
                turn,
                waiting=False,
                answer=event,
                messages=(*turn.messages, message),
                calls=tuple(Call(part) for part in message.tool_calls),
                usage=turn.usage + event.usage,
            )
        case OutputRejected(feedback=feedback):
            if turn.waits_for != "end":
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
    if not turn.waiting:
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
            return replace(call, key=None, inherited=False)
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
