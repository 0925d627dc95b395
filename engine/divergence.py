"""Where today parts from a record, as data: which event, what differs in it, and why."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from agent.engine.changes import Change, changes
from agent.engine.past_requests import PastRequest, past_request, past_request_of
from agent.eventstore.events import (
    ApprovalRequested,
    Event,
    ModelRequested,
    OutputRejected,
    ToolCalled,
    ToolReturned,
    ToolsDeclared,
    TurnFailed,
    TurnStarted,
)
from agent.eventstore.messages import Message, ToolCallPart, ToolResultPart

if TYPE_CHECKING:
    from agent.engine.provider import Provider
    from agent.eventstore.record import Recorded
    from agent.eventstore.values import Failure
    from agent.projections.session import SessionState

replace = msgspec.structs.replace

Kind = Literal[
    "request",
    "encoding",
    "schema",
    "settings",
    "tool",
    "arguments",
    "answer",
    "result",
    "order",
    "missing",
    "extra",
]
"""What differs: a request, only its encoding, what was declared to the model, how it was to answer,
which tool it called, with which arguments, what it said, what a tool said, in which order things
came; or something is missing today, or comes besides."""

Cause = Literal[
    "provider",
    "model",
    "system prompt",
    "tool definition",
    "output schema",
    "settings",
    "window",
    "history",
    "limits",
    "approval policy",
    "compaction policy",
    "tool result",
    "library",
    "log",
    "sampling",
]
"""What a difference comes from. ``library`` are rules of encoding that have changed since, ``log``
events that have, and ``sampling`` is a model that answers the same request otherwise."""


class Mismatch(NamedTuple):
    """Two events where there should be one; ``before`` is the state up to them, as of today.

    ``following`` is what today would append with its event, ``later`` what the record has after.
    """

    recorded: Recorded | None
    today: Recorded | None
    before: SessionState
    provider: Provider | None
    following: Sequence[Recorded] = ()
    later: Sequence[Recorded] = ()
    error: Exception | None = None
    cause: Cause | None = None


class Divergence(msgspec.Struct, frozen=True):
    """The first event that would be another one today, or that took another course in a rerun.

    ``version`` is its place; ``recorded`` is what stands there and ``today`` what would, None
    where nothing does. ``changes`` are the places in which the two differ: for a request, places of
    its body. ``causes`` are what they come from, the likeliest first. ``encoders`` are the names of
    the rules by which a request was encoded then, and is today. ``error`` is what today raises.
    """

    version: int
    kind: Kind
    causes: tuple[Cause, ...]
    recorded: Event | None
    today: Event | None
    changes: tuple[Change, ...] = ()
    encoders: tuple[str, str] | None = None
    error: str | None = None

    @property
    def cause(self) -> Cause | None:
        """The likeliest cause, None if none is known."""
        return self.causes[0] if self.causes else None

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        label = "cause" if len(self.causes) == 1 else "causes"
        cause = f" ({label}: {', '.join(self.causes)})" if self.causes else ""
        yield f"version {self.version}: {_WORDS[self.kind]}{cause}"
        then, now = _named(self.recorded), _named(self.today)
        if then == now:
            yield f"  {then}"
        else:
            yield f"  recorded: {then}"
            yield f"  today:    {now}"
        if self.error is not None:
            yield f"  error:    {self.error}"
        if self.encoders is not None and self.encoders[0] != self.encoders[1]:
            yield f"  encoders: {self.encoders[0]} then, {self.encoders[1]} today"
        if self.cause == "log":
            yield f"  {_ALTERED}"
        for change in self.changes[:_MOST_SHOWN]:
            yield f"  {change}"
        if len(self.changes) > _MOST_SHOWN:
            yield f"  and {len(self.changes) - _MOST_SHOWN} more"


_MOST_SHOWN = 10

_ALTERED = "its recorded digest is not that of the recorded words: an event before it was altered"

_WORDS: dict[Kind, str] = {
    "request": "another request",
    "encoding": "the same request in other bytes",
    "schema": "another schema",
    "settings": "another setting",
    "tool": "another tool",
    "arguments": "other arguments",
    "answer": "another answer",
    "result": "another result",
    "order": "another order",
    "missing": "missing today",
    "extra": "only today",
}


def _named(event: Event | None) -> str:
    match event:
        case None:
            return "nothing"
        case TurnStarted(kind="compaction"):
            return f"{event.type} of a compaction"
        case TurnFailed(error=error):
            return f"{event.type}: {error.error}: {error.message}"
        case ToolCalled():
            return f"{event.type} of {event.call_id}, {event.tool}"
        case ToolReturned() | ApprovalRequested():
            return f"{event.type} of {event.call_id}"
        case _:
            return event.type


def counted(number: int, noun: str) -> str:
    """So many of something, in words."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def explain(
    found: Mismatch,
    facts: Sequence[Recorded],
    read_attachment: Callable[[str], bytes],
    provider: Provider | None,
    edits: Container[int] = (),
) -> Divergence:
    """What two events that differ say.

    ``facts`` are the events as recorded; at the versions of ``edits`` other words stood in place.
    """
    recorded, today = found.recorded, found.today
    version = recorded.version if recorded else found.before.version + 1
    one, other = recorded and recorded.event, today and today.event
    if isinstance(one, ModelRequested) and isinstance(other, ModelRequested):
        now = past_request(version, other, found.before, found.provider, read_attachment)
        then = past_request_of(facts, facts[version - 1], provider, read_attachment)
        if then is None:  # asked of a provider of somebody's own, who is not here
            return Divergence(version, "request", ("provider",), one, other)
        return _of_requests(then, now)
    kind = _kind(found, one, other)
    places = tuple(_places(found, one, other))
    causes = (found.cause,) if found.cause else _causes(one, other, places)
    if isinstance(one, ModelRequested) and found.provider and found.error:
        own = (one.provider, one.api) == (found.provider.name, found.provider.api)
        causes = () if own else ("provider",)
    if _answered_otherwise(found, facts[: version - 1], edits):
        causes = ("history",)
    error = None if found.error is None else f"{type(found.error).__name__}: {found.error}"
    return Divergence(version, kind, causes, one, other, places, error=error)


def _answered_otherwise(found: Mismatch, before: Sequence[Recorded], edits: Container[int]) -> bool:
    """Whether the turn goes on from an answer whose words were replaced."""
    answers = (fact.version for fact in reversed(before) if fact.type == "model.responded")
    return found.before.conversation.turn is not None and next(answers, 0) in edits


def _places(found: Mismatch, one: Event | None, other: Event | None) -> Iterator[Change]:
    """What is different in two events, or in the tools that are declared by only one of them."""
    if isinstance(one, ToolsDeclared) or isinstance(other, ToolsDeclared):
        known = found.before.conversation.tools.definitions
        then, now = (
            event.tools if isinstance(event, ToolsDeclared) else known for event in (one, other)
        )
        return changes(_plain(then), _plain(now), "/tools")
    return changes(_plain(one), _plain(other)) if _alike(one, other) else iter(())


def _alike(one: Event | None, other: Event | None) -> bool:
    match one, other:
        case TurnStarted(kind=then), TurnStarted(kind=now):
            return then == now
        case _:
            return type(one) is type(other)


def _plain(facts: object) -> object:
    return msgspec.json.decode(msgspec.json.encode(facts))


def _kind(found: Mismatch, one: Event | None, other: Event | None) -> Kind:
    """What kind of difference two events are that are no requests."""
    if isinstance(one, ToolsDeclared) or isinstance(other, ToolsDeclared):
        return "schema"
    if one is None or isinstance(other, ApprovalRequested):
        return "extra"
    if other is None or isinstance(one, ApprovalRequested):
        return "missing"
    if _alike(one, other):
        return _kind_of_change(one, other)
    types = [fact.type for fact in found.later]
    if other.type in types or isinstance(other, TurnFailed):
        return "missing"
    return "extra"


def _kind_of_change(one: Event, other: Event) -> Kind:
    match one, other:
        case TurnStarted(), TurnStarted() if one.output != other.output:
            return "schema"
        case OutputRejected(), _:
            return "schema"
        case TurnStarted(), _:
            return "settings"
        case ToolReturned(), ToolReturned() if one.call_id == other.call_id:
            return "result"
        case ToolCalled(), ToolCalled() if one.call_id == other.call_id:
            return "tool"
        case _:
            return "order"


def _causes(one: Event | None, other: Event | None, places: Sequence[Change]) -> tuple[Cause, ...]:
    match one, other:
        case (
            (ToolsDeclared(), _) | (_, ToolsDeclared()) | (ToolReturned(), _) | (_, ToolReturned())
        ):
            return ("tool definition",)
        case (ApprovalRequested(), _) | (_, ApprovalRequested()):
            return ("approval policy",)
        case (TurnFailed(), OutputRejected()) | (OutputRejected(), TurnFailed()):
            return ("limits",)
        case (OutputRejected(), _) | (_, OutputRejected()):
            return ("output schema",)
        case (TurnFailed(error=error), _) | (_, TurnFailed(error=error)):
            return _causes_of_failure(error)
        case TurnStarted(), TurnStarted():
            return tuple(dict.fromkeys(_cause_in_turn(place) for place in places))
        case _:
            return ()


def _causes_of_failure(error: Failure) -> tuple[Cause, ...]:
    """What a turn may have failed by that has not, or the other way about."""
    if error.error == "LimitExceeded" or error.retryable:
        return ("limits",)
    return ("output schema",) if error.error == "OutputError" else ()


def _cause_in_turn(place: Change) -> Cause:
    known: dict[str, Cause] = {"settings": "settings", "output": "output schema"}
    known |= {"excerpt": "window", "input": "history"}
    return known.get(place.pointer.split("/")[1], "settings")


def _of_requests(then: PastRequest, now: PastRequest) -> Divergence:
    causes = request_causes(then, now)
    encoding = causes == ("library",)
    try:
        bodies = [msgspec.json.decode(past.body) for past in (then, now)]
        places = tuple(changes(*bodies))
    except msgspec.DecodeError:  # a protocol of one's own may speak something else
        places = ()
    return Divergence(
        then.version,
        "encoding" if encoding else "request",
        causes,
        then.recorded,
        now.recorded,
        places,
        (then.recorded.encoder, now.encoder),
    )


def request_causes(then: PastRequest, now: PastRequest) -> tuple[Cause, ...]:
    """Why two requests are not the same, the likeliest first."""
    old, new = then.recorded, now.recorded
    one, other = then.prompt, now.prompt
    found: list[tuple[Cause, bool]] = [
        ("provider", (old.provider, old.api) != (new.provider, new.api)),
        ("model", old.model != new.model),
        ("system prompt", one.system != other.system),
        ("tool definition", one.tools != other.tools),
        ("settings", one.settings != other.settings or one.stream != other.stream),
        ("output schema", one.output != other.output),
        ("history", _said(then.messages) != _said(now.messages)),
    ]
    known: list[Cause] = [cause for cause, differs in found if differs]
    if known:
        return tuple(known)
    changed = old.encoder != new.encoder or then.proven or then.erased
    return ("library",) if changed else ("log",)


def _said(messages: Sequence[Message]) -> list[Message]:
    """Messages with their calls counted: a call has another name wherever it stands."""
    names: dict[str, str] = {}
    return [
        replace(
            message,
            parts=tuple(
                replace(part, call_id=names.setdefault(part.call_id, str(len(names))))
                if isinstance(part, ToolCallPart | ToolResultPart)
                else part
                for part in message.parts
            ),
        )
        for message in messages
    ]
