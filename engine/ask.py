"""What a caller wants of a turn, what a turn works with, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, cast

import msgspec

from agent.engine.approvals import ApprovalPolicy, pending_approvals
from agent.engine.owners import DRIVEN, Driven
from agent.engine.stream import Response

if TYPE_CHECKING:
    from agent.engine.output import Output
    from agent.engine.provider import Provider
    from agent.engine.settings import CompactionPolicy, Limits
    from agent.engine.sources import Sources
    from agent.engine.tools import Toolset
    from agent.eventstore.events import ModelResponded, ToolResolved, ToolReturned
    from agent.eventstore.messages import Message
    from agent.eventstore.values import Settings
    from agent.projections.turn import Call, Turn

T = TypeVar("T")

OnUnfinished = Literal["raise", "resume", "abandon"]
"""What a new turn does about one that never ended."""


class Ask(msgspec.Struct, Generic[T], frozen=True):
    """What the caller wants of a new turn; ``own`` names what was chosen for this turn alone."""

    input: Message
    model: str
    settings: Settings
    stream: bool
    output: Output[T] | None = None
    idempotency_key: str | None = None
    own: tuple[str, ...] = ()


class Resume(msgspec.Struct, Generic[T], frozen=True):
    """What the caller wants of a turn that never ended, besides what its log says.

    ``model`` is asked where the turn has not asked one yet, or with ``switch`` whichever it has;
    ``silent`` keeps its tools from the caller, who has asked for another turn.
    """

    stream: bool
    model: str
    output: Output[T] | None = None
    takeover: bool = False
    silent: bool = False
    switch: bool = False


def _nothing(call: Call) -> None:
    """No call is answered for."""


class Setup(msgspec.Struct, frozen=True):
    """What a turn works with.

    ``answered`` may say what stands as the result of a call, which then does not run. ``driven``
    is told which turns are being driven.
    """

    provider: Provider
    tools: Toolset
    limits: Limits
    sources: Sources
    on_unfinished: OnUnfinished = "raise"
    compact_at: CompactionPolicy | None = None
    requires_approval: ApprovalPolicy = False
    answered: Callable[[Call], ToolResolved | ToolReturned | None] = _nothing
    driven: Driven = DRIVEN


def response_of(turn: Turn, answer: ModelResponded, output: T | None, version: int) -> Response[T]:
    """The response of a turn that completed at this version."""
    return Response(
        text=answer.message.text,
        output=cast("T", output),  # None only where T is None
        messages=tuple(turn.kept),
        tool_calls=turn.tool_calls,
        spent=turn.spent,
        finish_reason=answer.finish_reason,
        model=answer.model or (turn.asked.model if turn.asked else ""),
        version=version,
    )


def stopped(turn: Turn, version: int) -> Response[Any]:
    """The response of a turn that waits for a person, at this version."""
    if turn.answer is None:
        raise AssertionError("a turn with calls has an answer")
    so_far: Response[None] = response_of(turn, turn.answer, None, version)
    return msgspec.structs.replace(so_far, messages=(), pending_approvals=pending_approvals(turn))
