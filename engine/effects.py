"""What a turn asks of its driver, and what it gets back.

The turn yields effects and performs nothing itself; drivers, sync and async, perform them. Store
effects may block and are handed to whoever holds the session's log; the others belong to the
driver.
"""

from __future__ import annotations

from typing import Any

import msgspec

from agent.engine.provider import Answer, ModelRequest
from agent.engine.stream import StreamEvent
from agent.engine.tool_run import ToolRun
from agent.eventstore.errors import AgentError
from agent.eventstore.messages import Message, ResultContent
from agent.eventstore.record import Head, Recorded
from agent.projections.conversation import Keyed
from agent.projections.session import SessionState


class Load(msgspec.Struct, frozen=True):
    """Bring the session's state into memory, if it is not there."""


class CatchUp(msgspec.Struct, frozen=True):
    """Fold what others have appended since."""


class Append(msgspec.Struct, frozen=True):
    """Make these events durable after ``expected``; ``state`` is then the session's."""

    events: tuple[Recorded, ...]
    expected: Head | None
    state: SessionState


class LoadAttachments(msgspec.Struct, frozen=True):
    """Answered with the bytes by digest."""

    digests: list[str]


class RecallTurn(msgspec.Struct, frozen=True):
    """Answered with a turn as it was when it completed."""

    keyed: Keyed


class Save(msgspec.Struct, frozen=True):
    """Hand the session to a store that keeps whole sessions."""


StoreEffect = Load | CatchUp | Append | LoadAttachments | RecallTurn | Save


class CallModel(msgspec.Struct, frozen=True):
    """Ask the model; deltas go to the caller. Answered with :class:`Answered` or `CallFailed`."""

    request: ModelRequest


class StartTools(msgspec.Struct, frozen=True):
    """Start these tools together."""

    runs: tuple[ToolRun, ...]


class AwaitTools(msgspec.Struct, frozen=True):
    """Answered with every result known so far, at least one; none after ``timeout`` seconds."""

    timeout: float | None


class Wait(msgspec.Struct, frozen=True):
    """Let some seconds pass."""

    seconds: float


class Emit(msgspec.Struct, frozen=True):
    """Hand an event to the caller."""

    event: StreamEvent[Any]


Effect = StoreEffect | CallModel | StartTools | AwaitTools | Wait | Emit


class Answered(msgspec.Struct, frozen=True):
    """The model answered; ``elapsed`` in seconds."""

    answer: Answer
    elapsed: float


class CallFailed(msgspec.Struct, frozen=True):
    """The model did not answer. ``partial`` is what had arrived; the caller may have seen it."""

    error: AgentError
    partial: Message | None
    elapsed: float


class ToolOutcome(msgspec.Struct, frozen=True):
    """A tool's result; ``elapsed`` in seconds."""

    call_id: str
    content: tuple[ResultContent, ...]
    is_error: bool
    elapsed: float


class TurnDropped(BaseException):
    """Thrown into a turn whose caller is gone: it records its end and comes back out.

    ``reason`` goes into the log, with the ``partial`` answer that had arrived. On its way out it
    knows the ``completed_calls``.
    """

    completed_calls: tuple[str, ...] = ()

    def __init__(self, reason: str, partial: Message | None, elapsed: float) -> None:
        super().__init__(reason)
        self.reason = reason
        self.partial = partial
        self.elapsed = elapsed
