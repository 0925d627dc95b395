"""A stage for turns: they are driven by hand, with fixed time and chance, and no I/O at all."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from agent import Agent, Session
from agent.engine.ask import Ask, Setup
from agent.engine.effects import Answered, Append, CallFailed, Effect, Emit, ToolOutcome
from agent.engine.errors import ServerFailed
from agent.engine.journal import Journal
from agent.engine.output import Output
from agent.engine.past_requests import PastRequest, past_request
from agent.engine.provider import Answer, Provider
from agent.engine.request import RequestBuilder
from agent.engine.scripted import Call, Scripted, ScriptedModel
from agent.engine.settings import Limits
from agent.engine.sources import Sources
from agent.engine.stream import Response, StreamEvent
from agent.engine.tools import Toolset
from agent.engine.turn import take_turn
from agent.eventstore.events import Event, ModelRequested, SessionStarted
from agent.eventstore.messages import Message, Part, TextPart
from agent.eventstore.record import Recorded
from agent.eventstore.values import FinishReason, Owner, Settings, Usage
from agent.projections import session as projection
from agent.projections.session import SessionState

OWNER = Owner("host", 1, 1)
GONE = Owner("host", 2**30, 1)
STARTED = SessionStarted(session_id="s", library="0")
TURN = ["turn.started", "model.requested", "model.responded", "turn.completed"]
"""The types of a plain turn."""


class Clock:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        """Tell the time."""
        return self.seconds


def fixed_sources(clock: Callable[[], float] | None = None, jitter: float = 0.0) -> Sources:
    """Sources that give the same time, salts and names in every run."""
    salts, names = itertools.count(1), itertools.count(1)
    return Sources(
        now=lambda: 0,
        monotonic=clock or Clock(),
        salt=lambda: next(salts).to_bytes(16),
        session_id=lambda: f"session-{next(names)}",
        jitter=lambda: jitter,
        owner=lambda: OWNER,
    )


def dead_sources() -> Sources:
    """Sources of a process on this host that is gone."""
    return msgspec.structs.replace(fixed_sources(), owner=lambda: GONE)


class Stage:
    """One session's turns, driven by hand. ``commits`` are the types of each append."""

    def __init__(
        self,
        *events: Event,
        tools: Sequence[Callable[..., Any]] = (),
        limits: Limits | None = None,
        jitter: float = 0.0,
    ) -> None:
        self.clock = Clock()
        self.setup = Setup(
            ScriptedModel([]),
            Toolset(tools),
            limits or Limits(),
            fixed_sources(self.clock, jitter),
        )
        self.journal = Journal("s", SessionState(), self.setup.sources)
        self.requests = RequestBuilder()
        self.facts: list[Recorded] = []
        self.commits: list[tuple[str, ...]] = []
        self.announced: list[StreamEvent[Any]] = []
        self.response: Response[Any] | None = None
        self.effect: Effect | None = None
        for event in (STARTED, *events):
            self.journal.record(event)
        self.acknowledge(
            Append(self.journal.pending, self.journal.committed.head, self.journal.state)
        )
        self.commits.clear()

    @property
    def types(self) -> list[str]:
        """The types of everything committed after the stage was set."""
        return [kind for commit in self.commits for kind in commit]

    @property
    def events(self) -> list[Event]:
        """Everything committed, the setting of the stage included."""
        return [fact.event for fact in self.facts]

    def acknowledge(self, append: Append) -> None:
        """Do what a log does."""
        self.journal.settle(append)
        self.facts += append.events
        self.commits.append(tuple(fact.type for fact in append.events))

    def begin(
        self,
        prompt: str | Message = "Hi",
        output: Output[Any] | None = None,
        stream: bool = False,
        settings: Settings | None = None,
    ) -> Effect | None:
        """Begin a turn; returns its first effect."""
        message = Message.user(prompt) if isinstance(prompt, str) else prompt
        ask = Ask(message, "m", settings or Settings(), stream, output)
        self.program = take_turn(self.journal, self.requests, ask, self.setup)
        self.response = None
        return self.step(lambda: next(self.program))

    def step(self, advance: Callable[[], Effect]) -> Effect | None:
        """Take the next effect, None when the turn is over."""
        try:
            self.effect = advance()
        except StopIteration as stop:
            self.effect, self.response = None, stop.value
        return self.effect

    def answer(self, outcome: object = None) -> Effect | None:
        """Answer the present effect; returns the next, appends and announcements included."""
        if isinstance(self.effect, Append):
            self.acknowledge(self.effect)
        if isinstance(self.effect, Emit):
            self.announced.append(self.effect.event)
        return self.step(lambda: self.program.send(outcome))

    def go(self) -> Effect | None:
        """Acknowledge appends and announcements until the turn asks for something else."""
        while isinstance(self.effect, Append | Emit):
            self.answer()
        return self.effect

    def send(self, outcome: object = None) -> Effect | None:
        """Answer the present effect, then :meth:`go` on."""
        self.answer(outcome)
        return self.go()

    def throw(self, error: BaseException) -> Effect | None:
        """Answer the present effect with an error."""
        return self.step(lambda: self.program.throw(error))

    def play(self, *outcomes: object, **options: Any) -> Response[Any]:
        """A whole turn with these outcomes."""
        self.begin(**options)
        self.go()
        for outcome in outcomes:
            self.send(outcome)
        assert self.response is not None
        return self.response


def answered(
    *content: str | Part,
    calls: Sequence[Call] = (),
    reason: FinishReason | None = None,
    usage: Usage | None = None,
) -> Answered:
    """The model answered."""
    message = Message.assistant(*content, *(call.part() for call in calls))
    finish: FinishReason = reason or ("tool_calls" if calls else "stop")
    return Answered(Answer(message, finish, None, usage or Usage(1, 2)), 0.5)


def failed(
    error: Exception | None = None, *, partial: str | None = None, retry_after: float | None = None
) -> CallFailed:
    """The model did not answer."""
    error = error or ServerFailed("down", retryable=True, retry_after=retry_after)
    return CallFailed(error, None if partial is None else Message.assistant(partial), 0.5)  # pyright: ignore[reportArgumentType]


def outcome(call_id: str, text: str, *, is_error: bool = False) -> ToolOutcome:
    """A tool's result."""
    return ToolOutcome(call_id, (TextPart(text),), is_error, 0.25)


def kinds(session: Session) -> list[str]:
    """The types of a session's events."""
    return [fact.type for fact in session.events()]


def shown(session: Session) -> list[str]:
    """The text of each message of the history."""
    return [message.text for message in session.messages]


def digests(session: Session) -> list[str]:
    """What the log says of its requests."""
    return [f.event.digest for f in session.events() if isinstance(f.event, ModelRequested)]


def requests_of(session: Session) -> list[PastRequest]:
    """Every request, as the session rebuilds it."""
    made = [fact.version for fact in session.events() if isinstance(fact.event, ModelRequested)]
    return [session.request_at(version) for version in made]


def rebuilt(session: Session, provider: Provider) -> list[bytes]:
    """The bytes of every request, from nothing but the events before it."""
    bodies: list[bytes] = []
    state = SessionState()
    for fact in session.events():
        if isinstance(fact.event, ModelRequested):
            read = session._handle.log.get_blob
            found = past_request(fact.version, fact.event, state, provider, read)
            bodies.append(found.body)
        state = projection.evolve(state, fact)
    return bodies


def agent_of(*script: Scripted, **options: Any) -> Agent:
    """An agent whose model answers from a script, with fixed sources."""
    options.setdefault("sources", fixed_sources())
    return Agent(ScriptedModel(script), "m", **options)


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def fail(reason: str = "no") -> str:
    """Fail."""
    raise ValueError(reason)
