"""A record: the events of a session, and what they say of a turn that is driven once more.

In a replay it stands in for the world: for models, tools, people, and the process that ran a turn.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import msgspec

from agent.engine.effects import Answered, CallFailed, ToolOutcome
from agent.engine.failures import RecordedFailure
from agent.engine.journal import Journal
from agent.engine.output import Output, OutputRejection
from agent.engine.provider import Answer
from agent.engine.settings import Limits
from agent.engine.tools import Tool, Toolset
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
    ToolsDeclared,
    TurnFailed,
    TurnResumed,
    TurnStarted,
)
from agent.eventstore.messages import Message, ToolCallPart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from agent.engine.approvals import ProposedCall
    from agent.engine.sources import Sources
    from agent.eventstore.events import Event
    from agent.eventstore.record import Recorded
    from agent.eventstore.values import OutputSchema, ToolDefinition
    from agent.projections.session import SessionState
    from agent.projections.turn import Call

OUTSIDE = frozenset(
    {
        "session.started",
        "session.forked",
        "session.deleted",
        "system.changed",
        "metadata.changed",
        "message.added",
        "history.cleared",
        "history.rewound",
        "turn.resumed",
        "turn.abandoned",
        "tool.resolved",
        "approval.granted",
        "approval.rejected",
        "payload.erased",
    }
)
"""What no turn does by itself: somebody wanted it, or its process was gone."""

UNLIMITED = Limits(max_steps=sys.maxsize, max_retries=sys.maxsize, max_output_retries=sys.maxsize)

_DECLARED = "tools.declared"
_MENDING = (_DECLARED, "tool.resolved", "output.rejected")

_About = (
    ToolCalled
    | ToolReturned
    | ToolResolved
    | ApprovalRequested
    | ApprovalGranted
    | ApprovalRejected
)


class Record:
    """The events of a session in their order. ``place`` of them have been gone through.

    ``names`` are what calls are called in it that have other names now. Requests after version
    ``erased_from`` may hold what was erased: the digests of their bytes prove nothing any more.
    ``digests`` are then those of the words that are left, by version, as far as they are known.
    """

    def __init__(self, facts: Sequence[Recorded], known: Mapping[int, str] | None = None) -> None:
        self.facts = facts
        self.place = 0
        self.digests = dict(known or {})
        first = next((fact.version for fact in facts if fact.erased), None)
        self.erased_from = sys.maxsize if first is None else first
        self.names: dict[str, str] = {}

    def peek(self, ahead: int = 0) -> Recorded | None:
        """The next event, or one after it."""
        place = self.place + ahead
        return self.facts[place] if place < len(self.facts) else None

    @property
    def begins(self) -> TurnStarted | TurnResumed | None:
        """What begins here: a turn, or the rest of one."""
        fact = self.peek()
        if fact is not None and fact.type == "tools.declared":
            fact = self.peek(1)
        event = fact.event if fact and fact.type in ("turn.started", "turn.resumed") else None
        return event if isinstance(event, TurnStarted | TurnResumed) else None

    @property
    def taken_up(self) -> int:
        """How many events lie between here and the first step of what begins here."""
        first = self.peek()
        if first is None or first.type != "turn.resumed":
            return 2 if first is not None and first.type == _DECLARED else 1
        ahead = 1
        while (fact := self.peek(ahead)) is not None and fact.type in _MENDING:
            ahead += 1
        return ahead

    def rest(self) -> Iterator[Recorded]:
        """The events of this stretch of a turn: up to what begins next."""
        first = self.peek()
        begins = self.place + (first is not None and first.type == _DECLARED)
        for place in range(self.place, len(self.facts)):
            fact = self.facts[place]
            if place > begins and fact.type in ("turn.started", "turn.resumed"):
                return
            yield fact

    @property
    def asked(self) -> ModelRequested | None:
        """The first request of this stretch of a turn."""
        events = (fact.event for fact in self.rest() if fact.type == "model.requested")
        return next((event for event in events if isinstance(event, ModelRequested)), None)

    def about(self, call_id: str) -> Event | None:
        """What is next recorded of a call, before the model is asked again."""
        call_id = self.names.get(call_id, call_id)
        for fact in self.rest():
            if fact.type.startswith("model.") and fact is not self.peek():
                return None
            if isinstance(fact.event, _About) and fact.event.call_id == call_id:
                return fact.event
        return None

    # What the world said

    def answer(self) -> Answered | CallFailed | None:
        """What came of a request; None if nobody has waited for it."""
        fact = self.peek()
        match fact.event if fact and fact.type.startswith("model.") else None:
            case ModelResponded() as event:
                return Answered(_answer_of(event), event.elapsed)
            case ModelFailed(error=error) as event if not was_dropped(event):
                again = self.peek(1)
                retried = again is not None and again.type == "model.requested"
                failure = RecordedFailure(error, retried=retried)
                return CallFailed(failure, event.partial, event.elapsed)
            case _:
                return None

    def result(self) -> ToolOutcome | None:
        """The result of a tool, if that is what comes next."""
        fact = self.peek()
        event = fact.event if fact and fact.type == "tool.returned" else None
        if not isinstance(event, ToolReturned):
            return None
        return ToolOutcome(event.call_id, event.content, event.is_error, event.elapsed)

    # How it was configured, for as long as nobody says how it is today

    def answered(self, call: Call) -> ToolResolved | ToolReturned | None:
        """What stands as the result of a call that did not run."""
        event = self.about(call.part.call_id)
        if isinstance(event, ToolReturned):
            return msgspec.structs.replace(event, call_id=call.part.call_id)
        return self.resolved(call)

    def resolved(self, call: Call) -> ToolResolved | None:
        """What somebody gave as the result of a call that did not run."""
        event = self.about(call.part.call_id)
        if not isinstance(event, ToolResolved) or event.how == "retry":
            return None
        return msgspec.structs.replace(event, call_id=call.part.call_id)

    def asks_a_person(self, call: ProposedCall) -> bool:
        """Whether a person was asked about a call."""
        return isinstance(self.about(call.call_id), ApprovalRequested)

    def tools(self, known: Sequence[ToolDefinition]) -> Toolset:
        """The tools of what begins here."""
        declared = [
            fact.event for ahead in (0, 1) if (fact := self.peek(ahead)) and fact.type == _DECLARED
        ]
        for event in declared:
            if isinstance(event, ToolsDeclared):
                known = event.tools
        return Toolset([RecordedTool(definition) for definition in known])


def _answer_of(event: ModelResponded) -> Answer:
    """An answer as the provider gave it: the turn names the calls again."""
    parts = tuple(
        msgspec.structs.replace(part, call_id=part.provider_id or "", provider_id=None)
        if isinstance(part, ToolCallPart)
        else part
        for part in event.message.parts
    )
    return Answer(
        Message("assistant", parts),
        event.finish_reason,
        event.raw_finish_reason,
        event.usage,
        event.model,
        event.response_id,
    )


class RecordedTool(Tool[..., Any]):
    """A tool as the record describes it. There is nothing behind it that could run."""

    def __init__(self, definition: ToolDefinition) -> None:
        super().__init__(_nothing, name=definition.name, description=definition.description)
        vars(self)["definition"] = definition

    def validated(self, arguments: str) -> dict[str, Any]:  # noqa: ARG002
        """Nothing: what was wrong with them is in the record."""
        return {}


def _nothing() -> None:
    raise AssertionError("a recorded tool never runs")


class RecordedOutput(Output[None]):
    """A shape as the record describes it, with its verdicts: ``coming`` is what it has next."""

    def __init__(self, schema: OutputSchema, coming: Callable[[], Recorded | None]) -> None:
        self.schema = schema
        self._coming = coming

    def parse(self, text: str) -> None:  # noqa: ARG002
        """Accept what was accepted. Raises :class:`OutputRejection`."""
        fact = self._coming()
        if fact is not None and isinstance(fact.event, OutputRejected):
            raise OutputRejection(fact.event.errors)


class RecordedJournal(Journal):
    """A journal that finds what is recorded in it, up to the first event that is another one."""

    def __init__(self, stream: str, record: Record, state: SessionState, sources: Sources) -> None:
        super().__init__(stream, state, sources)
        self._record = record
        self.parted = False

    @property
    def aligned(self) -> bool:
        """Whether what is durable here is what is recorded."""
        facts, head = self._record.facts, self.committed.head
        return head is None or (
            head.version <= len(facts) and facts[head.version - 1].hash == head.hash
        )

    @property
    def coming(self) -> Recorded | None:
        """What the record has where the next event comes."""
        version = self.state.version
        facts = self._record.facts
        return facts[version] if version < len(facts) else None

    def fact_of(self, event: Event) -> Recorded:
        """The recorded event if it is the same, else another at its place."""
        fact = None if self.parted else self.coming
        if fact is not None and fact.type == event.type and self._same(event, fact):
            return fact
        self.parted = True
        return super().fact_of(event)

    def _same(self, event: Event, fact: Recorded) -> bool:
        """Whether an event is the recorded one, as far as that can still be told."""
        recorded = fact.event
        if fact.version > self._record.erased_from:
            if isinstance(event, ModelRequested) and isinstance(recorded, ModelRequested):
                left = self._record.digests.setdefault(fact.version, event.digest)
                recorded = msgspec.structs.replace(recorded, digest=left)
            if isinstance(event, ApprovalRequested) and isinstance(recorded, ApprovalRequested):
                recorded = msgspec.structs.replace(recorded, digest=event.digest)
        return fact.erased or _same(event, recorded)

    def forget(self) -> None:
        """Drop what is not durable: what it parted for is gone with it."""
        super().forget()
        self.parted = not self.aligned


def _same(event: Event, recorded: Event) -> bool:
    """Whether events say the same. The name of the rules does not count where the bytes are."""
    if isinstance(event, ModelRequested) and isinstance(recorded, ModelRequested):
        event = msgspec.structs.replace(event, encoder=recorded.encoder)
    return event == recorded


def was_dropped(event: ModelFailed) -> bool:
    """Whether an answer did not come because nobody waited for it any more."""
    return event.error.error == "TurnDropped"


def was_ended(event: TurnFailed) -> bool:
    """Whether its time was over, or its rerun: what no engine comes to by itself."""
    late = event.error.error == "LimitExceeded" and event.error.code == "deadline"
    return late or event.error.error == "NoRecordedResult"
