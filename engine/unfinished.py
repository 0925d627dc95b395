"""A turn that did not come to its end: what it shows, and what may be done about it.

Everything here decides on projected state and performs nothing.
"""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, Any, Literal, TypeVar, assert_never

import msgspec

from agent.engine.ask import response_of
from agent.engine.errors import (
    ApprovalPending,
    ConfigurationError,
    IdempotencyMismatch,
    NothingUnfinished,
    OutcomeUnknown,
    OutputError,
    OwnerAlive,
    TurnUnfinished,
)
from agent.engine.output import OutputRejection, rejected
from agent.engine.owners import is_alive
from agent.engine.tool_results import content_of
from agent.eventstore.events import ToolResolved, TurnAbandoned, TurnResumed
from agent.eventstore.messages import TextPart
from agent.eventstore.rawjson import check_text, from_raw
from agent.eventstore.values import Owner
from agent.projections.turn import ApprovalState, CallState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.engine.ask import Ask, Resume, Setup
    from agent.engine.journal import Journal
    from agent.engine.stream import Response
    from agent.engine.tools import Toolset
    from agent.eventstore.events import Event
    from agent.eventstore.values import OutputSchema
    from agent.projections.conversation import Conversation, Keyed
    from agent.projections.turn import Call, Turn

T = TypeVar("T")


class UnfinishedCall(msgspec.Struct, frozen=True):
    """A tool call of an unfinished turn; ``arguments`` is JSON text.

    ``unknown`` means that the tool was started and that no result is recorded. ``approval`` is None
    where no person is, or was, asked.
    """

    call_id: str
    tool: str
    arguments: str
    state: CallState
    approval: ApprovalState | None = None


class Ending(msgspec.Struct, frozen=True):
    """How a turn ended that can be taken up again, and why."""

    how: Literal["failed", "abandoned"]
    reason: str


class UnfinishedTurn(msgspec.Struct, frozen=True):
    """Where a turn stands that did not complete.

    It began at version ``started`` and its log stops at ``stopped``. ``owner`` is the process that
    ran it, None in a fork and while the turn waits for a person; ``owner_alive`` is None when that
    cannot be told, as for another host. ``waiting_for`` says what comes next: an answer of the
    model, results of tools, somebody's decision about calls of unknown outcome, somebody's approval
    of calls that have not been started, or only the end. ``ended`` is None for an open turn.
    """

    started: int
    stopped: int
    owner: Owner | None
    owner_alive: bool | None
    waiting_for: Literal["model", "tools", "decision", "approval", "end"]
    calls: tuple[UnfinishedCall, ...]
    ended: Ending | None


def explained(state: Conversation, tools: Toolset, me: Owner) -> UnfinishedTurn | None:
    """Where the last turn stands if it did not complete."""
    turn = state.unfinished
    if turn is None:
        return None
    return UnfinishedTurn(
        started=turn.started,
        stopped=state.version,
        owner=turn.owner,
        owner_alive=_owner_alive(turn, me),
        waiting_for="decision" if undecided(turn, tools) else turn.waits_for,
        calls=_calls(turn),
        ended=_ending(turn),
    )


def _calls(turn: Turn) -> tuple[UnfinishedCall, ...]:
    last = {call.part.call_id: call for call in turn.calls}
    return tuple(
        UnfinishedCall(
            part.call_id,
            part.name,
            part.arguments,
            "done" if (call := last.get(part.call_id)) is None else call.state,
            call.approval.state if call and call.approval else None,
        )
        for part in turn.tool_calls
    )


def _ending(turn: Turn) -> Ending | None:
    match turn.end:
        case None:
            return None
        case TurnAbandoned(reason=reason):
            return Ending("abandoned", reason)
        case failed:
            return Ending("failed", f"{failed.error.error}: {failed.error.message}")


def undecided(turn: Turn, tools: Toolset) -> tuple[UnfinishedCall, ...]:
    """The calls of unknown outcome that somebody has to decide about before the turn goes on."""
    waiting = {call.part.call_id for call in turn.calls if not _may_run(call, tools)}
    return tuple(call for call in _calls(turn) if call.call_id in waiting)


def _unapproved(turn: Turn) -> tuple[UnfinishedCall, ...]:
    """The calls that nobody has approved or rejected yet."""
    return tuple(call for call in _calls(turn) if call.approval == "requested")


def _may_run(call: Call, tools: Toolset) -> bool:
    if call.state != "unknown":
        return True
    found = tools.get(call.part.name)
    return found is not None and (found.retry_safe or (found.idempotent and not call.inherited))


def _owner_alive(turn: Turn, me: Owner) -> bool | None:
    if turn.owner is None or turn.end is not None:
        return False
    return is_alive(turn.owner, turn.tenure, me)


def check_owner(session_id: str, turn: Turn, me: Owner) -> None:
    """Raise :class:`OwnerAlive` unless nobody else can be running the turn."""
    alive = _owner_alive(turn, me)
    if alive is not False and turn.owner is not None:
        resumable = turn.input.kind == "user"
        raise OwnerAlive(
            session_id, turn.started, turn.owner, certain=alive is True, resumable=resumable
        )


# What a caller may do


def keyed_turn(state: Conversation, ask: Ask[Any]) -> Keyed | None:
    """The completed turn that has the idempotency key of what is asked."""
    key = ask.idempotency_key
    if key is None:
        return None
    return next((keyed for keyed in reversed(state.keyed[:]) if keyed.key == key), None)


def way_for(
    journal: Journal, ask: Ask[Any], setup: Setup
) -> Literal["begin", "show it", "resume it", "resume first"]:
    """How a new turn gets its way when another may be open.

    It begins, and an open one is abandoned; or the open one is what is asked, and is resumed, or
    shown while it waits for a person; or that is resumed before. Raises :class:`TurnUnfinished`
    and :class:`IdempotencyMismatch`.
    """
    turn, key = journal.state.conversation.turn, ask.idempotency_key
    if turn is None:
        return "begin"
    again = key is not None and turn.input.idempotency_key == key
    if again:
        check_same(journal.stream, turn, ask)
    elif turn.tenure in journal.begun and turn.owner is not None:
        return "begin"  # this handle's own, which it has left: its caller knows
    check_owner(journal.stream, turn, setup.sources.owner())
    if turn.input.kind == "compaction":
        return "begin"  # it has changed nothing, so it stands in nobody's way
    if again and (turn.decided or turn.waits_for == "approval"):
        return "resume it" if turn.decided else "show it"
    match setup.on_unfinished:
        case "abandon":
            return "begin"
        case "resume":
            return "resume it" if again else "resume first"
        case "raise":
            _check_approved(journal.stream, turn)
            raise TurnUnfinished(journal.stream, turn.started, undecided(turn, setup.tools))
        case _:
            assert_never(setup.on_unfinished)


def mending(turn: Turn, tools: Toolset) -> Iterator[Event]:
    """What a turn that is taken up needs before it goes on.

    Calls of unknown outcome run again whose tools are declared safe to, and a shape is asked for
    again whose answer the token limit has cut.
    """
    for call in turn.pending_calls:
        found = tools.get(call.part.name)
        if call.state == "unknown" and found is not None and found.retry_safe:
            yield ToolResolved(call_id=call.part.call_id, how="retry")
    cut = turn.answer is not None and turn.answer.finish_reason == "length"
    if turn.waits_for == "end" and cut and turn.input.output is not None:
        yield rejected(("the answer was cut at the token limit: be brief",))


def check_resumable(journal: Journal, ask: Resume[Any], setup: Setup) -> None:
    """Raise what keeps the unfinished turn from being resumed.

    :class:`NothingUnfinished`, :class:`OwnerAlive`, :class:`OutcomeUnknown`,
    :class:`ApprovalPending` and, for another shape than was asked, :class:`ConfigurationError`.
    """
    turn = journal.state.conversation.unfinished
    if turn is None:
        raise NothingUnfinished(journal.stream)
    if not ask.takeover:
        in_hand = journal.state.conversation.turn or turn  # perhaps a compaction after that one
        check_owner(journal.stream, in_hand, setup.sources.owner())
    _check_shape(turn, None if ask.output is None else ask.output.schema)
    calls = undecided(turn, setup.tools)
    if calls:
        raise OutcomeUnknown(journal.stream, turn.started, calls)
    _check_approved(journal.stream, turn)


def _check_approved(session_id: str, turn: Turn) -> None:
    """Raise :class:`ApprovalPending` for a turn that only a person's word can move on."""
    if turn.waits_for == "approval":
        raise ApprovalPending(session_id, turn.started, _unapproved(turn))


def _check_shape(turn: Turn, given: OutputSchema | None) -> None:
    recorded = turn.input.output
    if same_shape(recorded, given):
        return
    if recorded is None:
        raise ConfigurationError("the turn was not asked for a shape: resume() without schema=")
    lacks = "resume it with its schema" if given is None else "its schema has changed since"
    raise ConfigurationError(
        f"the turn was asked for the shape {recorded.name!r}: {lacks}; "
        "resume(schema=...) takes the type that was given to json()"
    )


def same_shape(one: OutputSchema | None, other: OutputSchema | None) -> bool:
    """Whether two turns were asked for the same shape, or both for none."""
    if one is None or other is None:
        return one is other
    return bool(from_raw(one.schema) == from_raw(other.schema))


def check_same(session_id: str, turn: Turn, ask: Ask[Any]) -> None:
    """Raise :class:`IdempotencyMismatch` if a turn was asked something else.

    The prompt and the shape count. Model and settings do not: a program that was deployed anew
    with other defaults still gets the answer that it was given.
    """
    recorded = turn.input
    shape = None if ask.output is None else ask.output.schema
    if recorded.input != ask.input or not same_shape(recorded.output, shape):
        key = recorded.idempotency_key or ""
        raise IdempotencyMismatch(session_id, key, turn.started, recorded.input, ask.input)


# What somebody decides


def decision(call_id: str, result: object, retry: object, failed: object) -> ToolResolved:
    """A decision about a call. Raises :class:`ConfigurationError` unless it is exactly one."""
    given = (result is not msgspec.UNSET, retry is not None, failed is not None)
    if given == (True, False, False):
        return ToolResolved(call_id=call_id, how="result", content=content_of(result))
    if given == (False, True, False) and retry is True:
        return ToolResolved(call_id=call_id, how="retry")
    if given == (False, False, True) and isinstance(failed, str) and failed:
        check_text(failed, of="failed", path="$")
        return ToolResolved(call_id=call_id, how="failed", content=(TextPart(failed),))
    raise ConfigurationError("resolve takes one of: result=..., retry=True, failed='why'")


def recalled(session_id: str, turn: Turn, keyed: Keyed, ask: Ask[T]) -> Response[T]:
    """The response of a turn that completed under the key of what is asked now.

    Raises :class:`IdempotencyMismatch`, and :class:`OutputError` when the shape of now refuses
    what it took then.
    """
    check_same(session_id, turn, ask)
    answer = turn.answer
    if answer is None:
        raise AssertionError("a completed turn has an answer")
    text = answer.message.text
    try:
        value = None if ask.output is None else ask.output.parse(text)
    except OutputRejection as rejection:
        raise OutputError(
            f"the recorded answer does not fit the schema of now: {rejection}",
            text=text,
            errors=rejection.errors,
        ) from None
    return response_of(turn, answer, value, keyed.completed)


def resolving(state: Conversation, decided: ToolResolved, me: Owner) -> Iterator[Event]:
    """The events of a decision; a turn that had ended is opened again."""
    turn = state.unfinished
    if turn is None:
        raise NothingUnfinished(state.session_id)
    unknown = [call.part.call_id for call in turn.calls if call.state == "unknown"]
    if decided.call_id not in unknown:
        raise ConfigurationError(
            f"the outcome of call {reprlib.repr(decided.call_id)} is not unknown; "
            f"unknown in this turn: {', '.join(unknown) or 'none'}"
        )
    if state.compacting:
        yield TurnAbandoned(reason="interrupted")
    if state.turn is None or state.compacting:
        yield TurnResumed(owner=me)
    yield decided


def abandoning(state: Conversation, reason: str) -> Iterator[Event]:
    """The end of an open turn; nothing for one that has ended already."""
    if state.turn is not None:
        yield TurnAbandoned(reason=reason)
