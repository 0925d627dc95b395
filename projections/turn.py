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
from agent.projections.usage import ModelUsage

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
ApprovalState = Literal["requested", "granted", "rejected"]


class Approval(msgspec.Struct, frozen=True, gc=False):
    """How far the approval of a call has come.

    ``digest`` says for which tool and arguments it was asked for, ``reason`` why it was refused.
    """

    state: ApprovalState
    digest: str
    reason: str = ""


class Call(msgspec.Struct, frozen=True, gc=False):
    """A tool call of the open turn and how far it has come.

    ``key`` is the hash (hex) of its ``tool.called``, its idempotency key; None before the intent
    is recorded. ``inherited`` says that it was recorded before a fork: the key is the parent's.
    """

    part: ToolCallPart
    key: str | None = None
    result: ToolResultPart | None = None
    approval: Approval | None = None
    inherited: bool = False

    @property
    def state(self) -> CallState:
        """How far it has come. An intent without a result means that the outcome is unknown."""
        if self.result is not None:
            return "done"
        return "not started" if self.key is None else "unknown"

    @property
    def waits_for_a_person(self) -> bool:
        """Whether somebody has to allow it, and nobody has said yes or no yet."""
        return self.result is None and _approval_state(self) == "requested"

    @property
    def decided(self) -> bool:
        """Whether somebody has said yes or no, and nothing has come of it yet."""
        return self.state == "not started" and _approval_state(self) in ("granted", "rejected")


def _approval_state(call: Call) -> ApprovalState | None:
    return None if call.approval is None else call.approval.state


class Turn(msgspec.Struct, frozen=True, gc=False):
    """A turn between its start and its end. ``started`` is the version of its ``turn.started``.

    ``tenure`` is the hash of the event that gave it to its ``owner``: ``turn.started``, or the
    last ``turn.resumed``. A fork's turn has no owner, nor has one that waits for a person:
    whoever is there when that one decides may go on. ``messages`` is everything said so far, the
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
    spent: tuple[ModelUsage, ...] = ()
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
    def decided(self) -> bool:
        """Whether a person has said yes or no to a call, and nothing has come of it yet."""
        return any(call.decided for call in self.calls)

    @property
    def request(self) -> ModelRequested | None:
        """The request that has no answer yet."""
        return self.asked if self.waiting else None

    @property
    def steps(self) -> int:
        """How often the model has answered."""
        return sum(message.role == "assistant" for message in self.messages)

    @property
    def usage(self) -> Usage:
        """What every model call of the turn used, together."""
        return sum((one.usage for one in self.spent), Usage())

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
    def waits_for(self) -> Literal["model", "tools", "approval", "end"]:
        """What has to come next: an answer, results, a person's word, or nothing but the end."""
        if self.calls:
            waiting = all(call.waits_for_a_person for call in self.pending_calls)
            return "approval" if waiting else "tools"
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


def ended(turn: Turn, event: TurnFailed | TurnAbandoned) -> Turn:
    """The turn as it can be taken up again: nobody's word about its calls counts any more."""
    calls = tuple(replace(call, approval=None) for call in turn.calls)
    return replace(turn, end=event, calls=calls)


def forked(turn: Turn) -> Turn:
    """The turn as a fork inherits it: nobody's, and its intents are another session's.

    So are the approvals: what a person has allowed was allowed once, and there.
    """
    calls = tuple(
        replace(call, inherited=call.key is not None, approval=None) for call in turn.calls
    )
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
            return replace(turn, waiting=False, spent=_spent(turn, event.usage, None))
        case ModelResponded(message=message):
            turn = _answered(turn, fact)
            return replace(
                turn,
                waiting=False,
                answer=event,
                messages=(*turn.messages, message),
                calls=tuple(Call(part) for part in message.tool_calls),
                spent=_spent(turn, event.usage, event.model),
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


def _spent(turn: Turn, usage: Usage | None, model: str | None) -> tuple[ModelUsage, ...]:
    asked = turn.asked
    if asked is None or usage is None:
        return turn.spent
    return (*turn.spent, ModelUsage(asked.provider, model or asked.model, usage))


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
        return _without_owner(replace(turn, calls=calls), event)
    return replace(turn, calls=(), messages=(*turn.messages, Message.tool(*results)))


def _without_owner(turn: Turn, event: ToolEvent) -> Turn:
    """The turn, which is nobody's while it waits for a person, nor once that one has decided."""
    decision = isinstance(event, ApprovalGranted | ApprovalRejected)
    return replace(turn, owner=None) if decision or turn.waits_for == "approval" else turn


def _find(turn: Turn, call_id: str, fact: Recorded) -> tuple[int, Call]:
    found = [
        (index, call)
        for index, call in enumerate(turn.calls)
        if call.part.call_id == call_id and call.result is None
    ]
    return found[0] if found else _corrupt(fact, f"no call {call_id!r} waits for this")


def _evolve_call(call: Call, event: ToolEvent, fact: Recorded) -> Call:
    match event:
        case ApprovalRequested() | ApprovalGranted() | ApprovalRejected():
            return replace(call, approval=_evolve_approval(call, event, fact))
        case ToolCalled():
            _check_may_start(call, fact)
            return replace(call, key=fact.hash.hex())
        case ToolReturned(call_id=call_id, content=content, is_error=is_error):
            _check_decided(call, fact)
            return replace(call, result=ToolResultPart(call_id, content, is_error))
        case ToolResolved(how="retry"):
            _check_decided(call, fact)
            return replace(call, key=None, inherited=False, approval=None)
        case ToolResolved(call_id=call_id, content=content, how=how):
            _check_decided(call, fact)
            return replace(call, result=ToolResultPart(call_id, content, how == "failed"))
        case _:
            assert_never(event)


def _evolve_approval(
    call: Call, event: ApprovalRequested | ApprovalGranted | ApprovalRejected, fact: Recorded
) -> Approval:
    if isinstance(event, ApprovalRequested):
        if call.key is not None:
            _corrupt(fact, "the call was started already")
        known = call.approval
        if known and (known.state != "granted" or known.digest == event.digest):
            _corrupt(fact, "the call was asked about already")
        return Approval("requested", event.digest)
    if call.approval is None or call.approval.state != "requested":
        _corrupt(fact, "nobody was asked about the call")
    if isinstance(event, ApprovalGranted):
        return replace(call.approval, state="granted")
    return replace(call.approval, state="rejected", reason=event.reason)


def _check_may_start(call: Call, fact: Recorded) -> None:
    _check_decided(call, fact)
    if call.key is not None:
        _corrupt(fact, "the call was started already")
    if _approval_state(call) == "rejected":
        _corrupt(fact, "a person has refused the call")


def _check_decided(call: Call, fact: Recorded) -> None:
    if call.waits_for_a_person:
        _corrupt(fact, "the call waits for a person")


def _corrupt(fact: Recorded, reason: str) -> NoReturn:
    raise CorruptLog(f"{fact.type}: {reason}", stream=fact.stream, version=fact.version)
