"""Events for tests of projections, short to write."""

from collections.abc import Sequence

from agent.eventstore.events import (
    ApprovalGranted,
    ApprovalRejected,
    ApprovalRequested,
    Event,
    MessageAdded,
    ModelFailed,
    ModelRequested,
    ModelResponded,
    OutputRejected,
    SessionForked,
    SessionStarted,
    ToolCalled,
    ToolReturned,
    TurnCompleted,
    TurnFailed,
    TurnStarted,
)
from agent.eventstore.messages import Message, Part, TextPart, ToolCallPart, ToolResultPart
from agent.eventstore.record import Recorded, prepare, record
from agent.eventstore.values import Excerpt, Failure, Owner, Settings, Usage
from agent.projections import conversation
from agent.projections.conversation import Conversation
from agent.projections.fold import rebuild

OWNER = Owner("host", 1, 1)
STARTED = SessionStarted(session_id="s", system="Be brief.", library="0")
COMPLETED = TurnCompleted()
FAILED = TurnFailed(error=Failure("E", "no"))
NO_ANSWER = ModelFailed(error=Failure("E", "no"), elapsed=0.0)
REJECTED = OutputRejected(errors=("no",), feedback=Message.user("Again."))


def recorded(*events: Event, after: Sequence[Recorded] = ()) -> list[Recorded]:
    """The events as a stream would hold them, after others."""
    first = len(after) + 1
    prepared = [
        prepare(event, recorded_at=0, salt=number.to_bytes(16))
        for number, event in enumerate(events, first)
    ]
    return record(prepared, stream="s", after=after[-1].head if after else None)


def folded(*events: Event) -> Conversation:
    """The conversation after these events, the first being ``session.started``."""
    return rebuild(conversation.evolve, recorded(STARTED, *events), Conversation())


def begun(text: str = "Hi") -> TurnStarted:
    """A turn that begins."""
    return TurnStarted(input=Message.user(text), settings=Settings(), owner=OWNER)


def compacting(end: int, start: int = 0) -> TurnStarted:
    """A compaction of these messages that begins."""
    excerpt = Excerpt(start, end)
    message = Message.user("Summarize")
    return TurnStarted(
        kind="compaction", input=message, settings=Settings(), excerpt=excerpt, owner=OWNER
    )


def requested(step: int = 1, attempt: int = 1) -> ModelRequested:
    """A model call."""
    return ModelRequested(
        step=step,
        attempt=attempt,
        provider="p",
        api="a",
        model="m",
        stream=False,
        encoder="e",
        digest="0" * 64,
    )


def responded(*content: str | Part, usage: Usage | None = None) -> ModelResponded:
    """A model's answer."""
    return ModelResponded(
        message=Message.assistant(*content),
        finish_reason="stop",
        usage=usage or Usage(),
        elapsed=0.0,
    )


def called(call_id: str) -> ToolCalled:
    """A tool about to run."""
    return ToolCalled(call_id=call_id, tool="t")


def returned(call_id: str, text: str) -> ToolReturned:
    """A tool's result."""
    return ToolReturned(call_id=call_id, content=(TextPart(text),))


def proposed(call_id: str, digest: str = "d") -> ApprovalRequested:
    """A call that waits for a person."""
    return ApprovalRequested(call_id=call_id, digest=digest)


def granted(call_id: str) -> ApprovalGranted:
    """A call that a person has allowed."""
    return ApprovalGranted(call_id=call_id)


def refused(call_id: str, reason: str = "") -> ApprovalRejected:
    """A call that a person has refused."""
    return ApprovalRejected(call_id=call_id, reason=reason)


def asked(*call_ids: str) -> ModelResponded:
    """An answer that asks for tools."""
    return responded(*(ToolCallPart(call_id, "t", "{}") for call_id in call_ids))


def results(**texts: str) -> Message:
    """The message that brings these results."""
    return Message.tool(*(ToolResultPart(name, (TextPart(text),)) for name, text in texts.items()))


def turn(prompt: str, answer: str) -> tuple[Event, ...]:
    """A whole plain turn: four events."""
    return begun(prompt), requested(), responded(answer), COMPLETED


def added(text: str) -> MessageAdded:
    """A message added by hand."""
    return MessageAdded(message=Message.user(text))


def forked(after: Sequence[Recorded], child: str = "c") -> SessionForked:
    """A fork after these events."""
    at = after[-1]
    return SessionForked(session_id=child, parent="s", at=at.version, parent_hash=at.hash.hex())


def texts(state: Conversation) -> list[str]:
    """The text of each visible message."""
    return [message.text for message in state.messages]
