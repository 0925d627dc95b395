"""What a turn hands to its caller: stream events as they happen, and the response at the end."""

from __future__ import annotations

from decimal import Decimal
from typing import Generic, Literal, TypeVar

import msgspec

from agent.engine.approvals import PendingApproval
from agent.engine.prices import cost_of
from agent.engine.provider import ReasoningDelta, TextDelta
from agent.eventstore.messages import Message, ToolCallPart
from agent.eventstore.values import FinishReason, Usage
from agent.projections.usage import ModelUsage

T = TypeVar("T")


class Response(msgspec.Struct, Generic[T], frozen=True):
    """The outcome of a turn.

    ``messages`` are those that the turn added to the history, the input first. ``output`` is the
    validated value of ``session.json``, None otherwise. ``spent`` is what each model call of the
    turn used. ``version`` is the session's version after the turn.

    With ``pending_approvals`` the turn has not ended: it waits for a person to decide about these
    calls. ``text`` is then what the model said with them, ``output`` is None, and there are no
    ``messages``, since the history is as before.
    """

    text: str
    output: T
    messages: tuple[Message, ...]
    tool_calls: tuple[ToolCallPart, ...]
    spent: tuple[ModelUsage, ...]
    finish_reason: FinishReason
    model: str
    version: int
    pending_approvals: tuple[PendingApproval, ...] = ()

    @property
    def usage(self) -> Usage:
        """The tokens of every model call of the turn."""
        return sum((one.usage for one in self.spent), Usage())

    @property
    def cost(self) -> Decimal | None:
        """What the turn cost in US dollars by the list prices of today; None if that is unknown.

        It is where the price table of the ``genai-prices`` library does not know the provider or a
        model. Rebates and what tools cost are not in it.
        """
        return cost_of(self.spent)


class ToolCallEvent(msgspec.Struct, frozen=True):
    """A tool is about to run; its intent is in the log. ``arguments`` is JSON text."""

    call_id: str
    name: str
    arguments: str
    type: Literal["tool_call"] = "tool_call"


class ToolResultEvent(msgspec.Struct, frozen=True):
    """A tool has answered; its result is in the log."""

    call_id: str
    name: str
    text: str
    is_error: bool
    type: Literal["tool_result"] = "tool_result"


class ApprovalRequestEvent(msgspec.Struct, frozen=True):
    """A tool waits for a person; the log says so. ``arguments`` is JSON text."""

    call_id: str
    name: str
    arguments: str
    digest: str
    type: Literal["approval_request"] = "approval_request"


class Done(msgspec.Struct, Generic[T], frozen=True):
    """The turn is complete, or waits for a person, and the log has it. Always the last event."""

    response: Response[T]
    type: Literal["done"] = "done"


StreamEvent = (
    TextDelta | ReasoningDelta | ToolCallEvent | ApprovalRequestEvent | ToolResultEvent | Done[T]
)
