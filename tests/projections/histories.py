"""Whole sessions, drawn at random and always valid, with what each settled version must show.

``histories()`` draws them. The writer keeps plain lists of its own and never asks a projection.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hypothesis import strategies as st

from agent.eventstore.events import (
    ApprovalGranted,
    ApprovalRejected,
    ApprovalRequested,
    Event,
    HistoryCleared,
    HistoryCompacted,
    HistoryRewound,
    MessageAdded,
    MetadataChanged,
    ModelFailed,
    ModelRequested,
    ModelResponded,
    OutputRejected,
    SessionForked,
    SessionStarted,
    SystemChanged,
    ToolCalled,
    ToolResolved,
    ToolReturned,
    ToolsDeclared,
    TurnAbandoned,
    TurnCompleted,
    TurnFailed,
    TurnResumed,
    TurnStarted,
)
from agent.eventstore.log import EventLog
from agent.eventstore.messages import (
    Blob,
    ImagePart,
    Message,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from agent.eventstore.rawjson import EMPTY_OBJECT, to_raw
from agent.eventstore.record import Recorded, prepare, record
from agent.eventstore.values import (
    Excerpt,
    Failure,
    Settings,
    ToolDefinition,
    Usage,
    tools_digest,
)
from tests.projections.given import OWNER

DIGEST = "0" * 64
PICTURES = (b"first picture", b"second picture")

words = st.sampled_from(["", "a", "tea", "Zoë\u2028\x00", '"quoted" \\', "\U0001f375"])
pictures = st.sampled_from(PICTURES).map(ImagePart.from_bytes)
said_by_user = st.builds(Message.user, words) | st.builds(Message.user, words, pictures)
contents = st.lists(st.builds(TextPart, words) | pictures, max_size=2).map(tuple)
systems = st.none() | words
usages = st.builds(Usage, *(st.integers(0, 9) for _ in range(5)))
failures = st.builds(Failure, st.just("ServerFailed"), words, retryable=st.booleans())
toolsets = st.lists(
    st.builds(ToolDefinition, st.sampled_from(["add", "find"]), words, st.just(EMPTY_OBJECT)),
    max_size=2,
).map(tuple)


class Shown(NamedTuple):
    """What a settled version shows."""

    messages: list[Message]
    system: str | None
    tools: tuple[ToolDefinition, ...]


class History(NamedTuple):
    """The events of one stream, and what its settled versions show.

    ``epochs[v]`` is the version of the last event up to ``v`` that changed what came before.
    """

    facts: list[Recorded]
    shown: dict[int, Shown]
    epochs: list[int]

    @property
    def stream(self) -> str:
        """The stream's own name, that of its last fork."""
        return self.facts[-1].stream


@dataclass
class _Turn:
    said: list[tuple[Message, bool]]
    compaction: bool = False
    asked: dict[str, bool] = field(default_factory=dict)
    results: dict[str, ToolResultPart] = field(default_factory=dict)
    approvals: dict[str, bool | None] = field(default_factory=dict)
    requested: bool = False
    answered: bool = False
    step: int = 0
    attempt: int = 0

    @property
    def waiting(self) -> list[str]:
        return [call_id for call_id in self.asked if call_id not in self.results]


class _Writer:
    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.stream = "s0"
        self.facts: list[Recorded] = []
        self.shown: dict[int, Shown] = {}
        self.epochs = [0]
        self.visible: list[Message] = []
        self.system = draw(systems)
        self.tools: tuple[ToolDefinition, ...] = ()
        self.turn: _Turn | None = None
        self.ended: _Turn | None = None
        self.view_since = 1
        self.add(SessionStarted(session_id="s0", system=self.system, library="0"))

    @property
    def version(self) -> int:
        return len(self.facts)

    @property
    def open(self) -> _Turn:
        assert self.turn is not None
        return self.turn

    def add(self, event: Event, *, epoch: bool = False) -> None:
        number = self.version + 1
        prepared = prepare(event, recorded_at=number, salt=number.to_bytes(16))
        head = self.facts[-1].head if self.facts else None
        self.facts += record([prepared], stream=self.stream, after=head)
        self.epochs.append(number if epoch else self.epochs[-1])
        if self.turn is None:
            self.shown[number] = Shown(list(self.visible), self.system, self.tools)

    def act(self) -> None:
        moves = IDLE if self.turn is None else self.moves(self.turn) + ANY_TIME
        getattr(self, self.draw(st.sampled_from(moves)))()

    def moves(self, turn: _Turn) -> list[str]:
        if turn.requested:
            return ["respond"] * 4 + ["ask_tools"] * 4 + ["fail_call"]
        if turn.waiting:
            return ["intend", "give_result", "give_result", "resolve", "approve", "decide"] * 2
        if turn.answered:
            return ["complete"] * 8 + ["reject"] * 2
        return ["request"] * 9

    # Between turns

    def add_message(self) -> None:
        message = self.draw(said_by_user)
        self.visible.append(message)
        self.ended = None
        self.add(MessageAdded(message=message))

    def clear(self) -> None:
        self.visible, self.ended = [], None
        self.view_since = self.version + 1
        self.add(HistoryCleared(), epoch=True)

    def rewind(self) -> None:
        to = self.draw(st.sampled_from(sorted(self.shown)))
        self.visible, self.system, self.tools = self.shown[to]
        self.visible = list(self.visible)
        self.ended = None
        self.view_since = self.version + 1
        self.add(HistoryRewound(to=to), epoch=True)

    def compact(self) -> None:
        usable = [version for version in sorted(self.shown) if version >= self.view_since]
        through = self.draw(st.sampled_from(usable))
        summary = self.draw(said_by_user)
        places = self.places_to_cut(self.shown[through].messages)
        cut = self.draw(st.sampled_from(places))
        kept = len(self.shown[through].messages) - cut
        self.visible = [summary, *self.visible[cut:]]
        self.ended = None
        self.view_since = self.version + 1
        self.add(HistoryCompacted(through=through, kept=kept, summary=summary), epoch=True)

    @staticmethod
    def places_to_cut(messages: list[Message]) -> list[int]:
        """Where a history may end or begin without parting calls from their results."""
        inner = [place for place, message in enumerate(messages) if message.role != "tool"]
        return [*inner, len(messages)]

    def declare(self) -> None:
        self.tools = self.draw(toolsets)
        self.add(ToolsDeclared(tools=self.tools, digest=tools_digest(self.tools)))

    def begin(self) -> None:
        message = self.draw(said_by_user)
        starts = [place for place, one in enumerate(self.visible) if one.role == "user"]
        start = self.draw(st.sampled_from([None, *starts]))
        excerpt = None if start is None else Excerpt(start)
        self.turn, self.ended = _Turn([(message, True)]), None
        self.add(TurnStarted(input=message, settings=Settings(), excerpt=excerpt, owner=OWNER))

    def begin_compaction(self) -> None:
        message = self.draw(said_by_user)
        end = self.draw(st.sampled_from([None, *self.places_to_cut(self.visible)]))
        self.turn = _Turn([(message, False)], compaction=True)
        event = TurnStarted(
            kind="compaction",
            input=message,
            settings=Settings(),
            excerpt=Excerpt(0, end),
            owner=OWNER,
        )
        self.add(event)

    # At any time

    def change_system(self) -> None:
        self.system = self.draw(systems)
        self.add(SystemChanged(system=self.system), epoch=True)

    def change_metadata(self) -> None:
        metadata = to_raw({"title": self.draw(words)}, of="a test")
        self.add(MetadataChanged(metadata=metadata))

    def fork(self) -> None:
        parent, at = self.stream, self.facts[-1]
        self.stream = f"s{self.version}"
        for turn in (self.turn, self.ended):
            if turn is not None:
                turn.approvals.clear()
        event = SessionForked(
            session_id=self.stream, parent=parent, at=at.version, parent_hash=at.hash.hex()
        )
        self.add(event)

    def resume(self) -> None:
        turn = self.turn or self.ended
        if turn is None:
            return self.begin()
        if turn.compaction:
            self.abandon()
            return self.resume()
        self.turn, self.ended = turn, None
        turn.requested = False
        self.add(TurnResumed(owner=OWNER))
        return None

    # Inside a turn

    def request(self) -> None:
        turn = self.open
        turn.step, turn.attempt, turn.requested = turn.step + 1, turn.attempt + 1, True
        event = ModelRequested(
            step=turn.step,
            attempt=turn.attempt,
            provider="p",
            api="a",
            model="m",
            stream=self.draw(st.booleans()),
            encoder="e",
            digest=DIGEST,
        )
        self.add(event)

    def respond(self) -> None:
        self.answer(Message.assistant(self.draw(words)))

    def ask_tools(self) -> None:
        names = self.draw(st.lists(st.sampled_from(["add", "find"]), min_size=1, max_size=3))
        ids = [f"call_{self.version + 1}_{index}" for index in range(len(names))]
        calls = [ToolCallPart(*pair, "{}") for pair in zip(ids, names, strict=True)]
        self.open.asked = dict.fromkeys(ids, False)
        self.answer(Message.assistant(self.draw(words), *calls))

    def answer(self, message: Message) -> None:
        turn = self.open
        turn.requested, turn.attempt = False, 0
        turn.answered = not message.tool_calls
        turn.said.append((message, True))
        reason = "stop" if turn.answered else "tool_calls"
        usage = self.draw(usages)
        event = ModelResponded(message=message, finish_reason=reason, usage=usage, elapsed=1.0)
        self.add(event)

    def fail_call(self) -> None:
        self.open.requested = False
        partial = self.draw(st.none() | st.builds(Message.assistant, words))
        usage = self.draw(st.none() | usages)
        self.add(ModelFailed(error=self.draw(failures), partial=partial, usage=usage, elapsed=1.0))

    def reject(self) -> None:
        turn = self.open
        feedback = Message.user("Again.")
        turn.said[-1] = (turn.said[-1][0], False)
        turn.said.append((feedback, False))
        turn.answered = False
        self.add(OutputRejected(errors=("no",), feedback=feedback))

    def one_call(self) -> str:
        """A call without a result; a person has said yes or no to it, if one was asked."""
        call_id = self.draw(st.sampled_from(self.open.waiting))
        if self.open.approvals.get(call_id, True) is None:
            self.answer_for_a_person(call_id)
        return call_id

    def intend(self) -> None:
        call_id = self.one_call()
        if self.open.asked[call_id] or not self.open.approvals.get(call_id, True):
            return self.returned(call_id)
        self.open.asked[call_id] = True
        self.add(ToolCalled(call_id=call_id, tool="add"))
        return None

    def give_result(self) -> None:
        self.returned(self.one_call())

    def returned(self, call_id: str) -> None:
        content, is_error = self.draw(contents), self.draw(st.booleans())
        self.take(ToolResultPart(call_id, content, is_error))
        self.add(ToolReturned(call_id=call_id, content=content, is_error=is_error, elapsed=1.0))

    def resolve(self) -> None:
        call_id, content = self.one_call(), self.draw(contents)
        how: Any = self.draw(st.sampled_from(["result", "failed", "retry"]))
        if how == "retry":
            self.open.asked[call_id] = False
            self.open.approvals.pop(call_id, None)
        else:
            self.take(ToolResultPart(call_id, content, how == "failed"))
        self.add(ToolResolved(call_id=call_id, how=how, content=content))

    def take(self, result: ToolResultPart) -> None:
        turn = self.open
        turn.results[result.call_id] = result
        if not turn.waiting:
            ordered = [turn.results[call_id] for call_id in turn.asked]
            turn.said.append((Message.tool(*ordered), True))
            turn.asked, turn.results = {}, {}

    def approve(self) -> None:
        call_id = self.draw(st.sampled_from(self.open.waiting))
        if self.open.asked[call_id] or call_id in self.open.approvals:
            return self.returned(self.one_call())
        self.open.approvals[call_id] = None
        self.add(ApprovalRequested(call_id=call_id, digest=DIGEST))
        return None

    def decide(self) -> None:
        self.one_call()

    def answer_for_a_person(self, call_id: str) -> None:
        granted = self.open.approvals[call_id] = self.draw(st.booleans())
        if granted:
            self.add(ApprovalGranted(call_id=call_id))
        else:
            self.add(ApprovalRejected(call_id=call_id))

    # Ends

    def complete(self) -> None:
        if not self.open.compaction:
            self.visible += [message for message, kept in self.open.said if kept]
        self.turn = None
        self.add(TurnCompleted())

    def fail(self) -> None:
        self.open.approvals.clear()
        self.turn, self.ended = None, self.ended if self.open.compaction else self.turn
        self.add(TurnFailed(error=self.draw(failures)))

    def abandon(self) -> None:
        self.open.approvals.clear()
        self.turn, self.ended = None, self.ended if self.open.compaction else self.turn
        self.add(TurnAbandoned(reason="stream dropped"))


IDLE = ["begin"] * 8 + ["add_message", "clear", "rewind", "rewind", "compact", "declare"]
IDLE += ["begin_compaction", "change_system", "change_metadata", "fork", "resume"]
ANY_TIME = ["fail", "abandon", "resume", "fork", "change_system", "change_metadata"]


@st.composite
def histories(draw: st.DrawFn, max_moves: int = 40) -> History:
    """Draw a session: turns, tools, failures, rewinds, compactions, forks; maybe an open turn."""
    writer = _Writer(draw)
    for _ in range(draw(st.integers(0, max_moves))):
        writer.act()
    return History(writer.facts, writer.shown, writer.epochs)


def stored(facts: Sequence[Recorded]) -> list[Recorded]:
    """The same events as a log gives them: nothing decoded, no attachment's bytes at hand."""
    return [
        Recorded(**{name: getattr(fact, name) for name in fact.__struct_fields__}) for fact in facts
    ]


def keep(history: History, log: EventLog) -> None:
    """Write a history into a log, with real forks and with its attachments."""
    for data in PICTURES:
        assert log.put_blob(data) == Blob.of(data).digest
    done: list[Recorded] = []
    for stream, group in itertools.groupby(history.facts, key=lambda fact: fact.stream):
        facts: list[Any] = list(group)
        head = done[-1].head if done else None
        if head:
            first = facts.pop(0)
            head = log.fork(done[-1].stream, stream, at=head.version, prepared=first)
            done.append(first)
        if facts:
            log.append(stream, facts, expected=head)
            done += facts
