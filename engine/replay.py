"""Replay: the engine of today, driven over a recorded session.

Every answer, result, decision and failure is served from the record; the first event that would be
another one today is the divergence. There is nothing here that could reach a model or run a tool:
no driver, no transport, no executor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from agent.engine.ask import Ask, Resume, Setup
from agent.engine.compaction import Compacting, Summarize
from agent.engine.divergence import Cause, Divergence, Mismatch, explain
from agent.engine.edits import Edit, edited
from agent.engine.effects import (
    Append,
    AwaitTools,
    CallModel,
    Effect,
    Emit,
    LoadAttachments,
    StartTools,
    Wait,
)
from agent.engine.output import Output
from agent.engine.owners import Driven
from agent.engine.past_requests import asked_provider
from agent.engine.recorded import (
    OUTSIDE,
    UNLIMITED,
    Record,
    RecordedJournal,
    RecordedOutput,
    was_dropped,
    was_ended,
)
from agent.engine.request import RequestBuilder
from agent.engine.scripted import ScriptedModel
from agent.engine.settings import SettingsOptions, settings_of
from agent.engine.sources import Sources
from agent.engine.turn import TurnSteps, to_its_end
from agent.eventstore.errors import AgentError
from agent.eventstore.events import ModelFailed, TurnFailed, TurnResumed, TurnStarted
from agent.eventstore.values import Excerpt, Settings
from agent.projections import session as projection
from agent.projections.fold import rebuild
from agent.projections.session import SessionState

if TYPE_CHECKING:
    from agent.engine.provider import Provider
    from agent.eventstore.record import Recorded
    from agent.eventstore.values import OutputSchema

replace = msgspec.structs.replace


class Configuration(msgspec.Struct, frozen=True):
    """What an agent of today brings to every turn, and the shapes that it knows by their names."""

    setup: Setup
    model: str
    options: SettingsOptions
    outputs: Mapping[str, Output[Any]] = {}

    def settings(self, recorded: TurnStarted) -> Settings:
        """Those of a turn: the agent's, but for what was chosen for that turn alone."""
        own = {name: getattr(recorded.settings, name) for name in recorded.own if name != "model"}
        return replace(settings_of(self.options), **own)


class Replay(msgspec.Struct, frozen=True):
    """What came of a replay; true if nothing would be different today.

    ``events`` were gone through; of these, ``requests`` are model requests whose bytes are the same
    today. ``divergence`` is the first event that would be another one. ``error`` says why a session
    among many could not be replayed.
    """

    session_id: str
    events: int
    requests: int
    divergence: Divergence | None = None
    error: AgentError | None = None

    def __bool__(self) -> bool:
        """Whether everything was replayed, and nothing is different."""
        return self.divergence is None and self.error is None

    def __str__(self) -> str:
        if self.error is not None:
            return f"{self.session_id}: not replayed: {type(self.error).__name__}: {self.error}"
        done = f"{self.events} events, {self.requests} requests with the same bytes"
        found = "no difference" if self.divergence is None else f"then at {self.divergence}"
        return f"{self.session_id}: {done}, {found}"


def replay(
    facts: Sequence[Recorded],
    read_attachment: Callable[[str], bytes],
    *,
    today: Configuration | None,
    provider: Provider | None = None,
    edits: Edit | None = None,
) -> Replay:
    """Drive the engine over the events of a session.

    Without ``today`` each turn is configured as it was recorded; ``provider`` encodes then where
    no built-in one is called what the record says. Raises :class:`UnknownProvider`.
    """
    given = edited(facts, edits) if edits else facts
    provider = provider or (today.setup.provider if today else None)
    replaying = _Replaying(given, read_attachment, today, provider)
    found = replaying.run()
    name = replaying.journal.state.conversation.session_id
    divergence = found and explain(found, facts, read_attachment, provider)
    return Replay(name, replaying.record.place, replaying.requests, divergence)


_LEFT_BEHIND = "tools.declared"
"""Is recorded with the turn for which it is: a fork from in between is without that turn."""


class _Interrupted(Exception):
    """The record of a run ends here."""


class _Diverged(Exception):
    def __init__(self, found: Mismatch) -> None:
        super().__init__()
        self.found = found


class _Replaying:
    """The state of a replay, event by event."""

    def __init__(
        self,
        facts: Sequence[Recorded],
        read_attachment: Callable[[str], bytes],
        today: Configuration | None,
        provider: Provider | None,
    ) -> None:
        self.record = Record(facts)
        self.requests = 0
        self._today = today
        self._provider = provider
        self._read_attachment = read_attachment
        name = facts[0].stream if facts else ""
        self.journal = RecordedJournal(name, self.record, SessionState(), Sources())
        self._builder = RequestBuilder()
        self._setup: Setup | None = None
        self._running: set[str] = set()
        self._compacted = False
        self._judges = True

    def run(self) -> Mismatch | None:
        """Go through all events, or to the first that would be another one today."""
        try:
            while (fact := self.record.peek()) is not None:
                begins = self.record.begins
                if begins is not None:
                    self._take(begins)
                elif fact.type in (*OUTSIDE, _LEFT_BEHIND) or self._ended_outside(fact):
                    self._adopt(1)
                else:
                    return self._mismatch(None, fact)
        except _Diverged as diverged:
            return diverged.found
        return None

    def _adopt(self, count: int) -> None:
        """Take over what was decided elsewhere."""
        start = self.record.place
        self.record.place += count
        self._fold(self.record.facts[start : self.record.place])

    def _fold(self, facts: Sequence[Recorded]) -> None:
        state = rebuild(projection.evolve, facts, self.journal.committed)
        self.journal.settle(Append(tuple(facts), None, state))
        self.journal.forget()

    def _ended_outside(self, fact: Recorded) -> bool:
        if isinstance(fact.event, ModelFailed):
            return was_dropped(fact.event)
        if not isinstance(fact.event, TurnFailed):
            return False
        turn = self.journal.committed.conversation.turn
        unanswered = turn is not None and turn.waiting
        unknown = self._today is None or unanswered or not self._judges
        return unknown or was_ended(fact.event)

    # One stretch of a turn

    def _take(self, begins: TurnStarted | TurnResumed) -> None:
        self._check_compaction(begins)
        first, self._running = self.record.place, set()
        program = to_its_end(self._steps(begins))
        outcome: object = None
        try:
            while True:
                outcome = self._perform(program.send(outcome))
        except (StopIteration, _Interrupted):
            pass
        except _Diverged:
            raise
        except Exception as error:
            if self.record.place == first:
                found = self._mismatch(None, self.record.facts[first], error)
                raise _Diverged(found) from error
        finally:
            program.close()
            self.journal.forget()

    def _check_compaction(self, begins: TurnStarted | TurnResumed) -> None:
        """Whether the agent would compact the history before a turn, where nobody has."""
        policy = self._today.setup.compact_at if self._today else None
        if not isinstance(begins, TurnStarted):
            return
        if begins.kind == "compaction":
            self._compacted = True
            return
        done, self._compacted = self._compacted, False
        if policy is not None and not done and policy.due(self.journal.state.conversation):
            fact = self.record.peek()
            raise _Diverged(self._mismatch(None, fact, cause="compaction policy"))

    def _steps(self, begins: TurnStarted | TurnResumed) -> TurnSteps[Any]:
        """The turn that begins here, entered already where the record says how it was."""
        asked = self.record.asked
        model, stream = (asked.model, asked.stream) if asked else ("", False)
        setup = self._setup = self._setup_of(begins)
        if self._today is None:
            self._adopt(self.record.taken_up)
        steps: TurnSteps[Any]
        if isinstance(begins, TurnStarted) and begins.kind == "compaction":
            order: Summarize[Any] = Summarize(0, begins.input, model, begins.settings)
            excerpt = begins.excerpt or Excerpt()
            steps = Compacting(self.journal, self._builder, order, excerpt, setup)
        else:
            ask = self._ask(begins, model, stream=stream)
            steps = TurnSteps(self.journal, self._builder, ask, setup)
        turn = self.journal.state.conversation.turn
        if self._today is None and turn is not None:
            steps.tenure = turn.tenure
        return steps

    def _setup_of(self, begins: TurnStarted | TurnResumed) -> Setup:
        record, owner = self.record, begins.owner
        sources = Sources(monotonic=float, owner=lambda: owner, jitter=float)
        if self._today is not None:
            return replace(
                self._today.setup, sources=sources, answered=record.resolved, driven=Driven()
            )
        asked = record.asked
        known = self.journal.state.conversation.tools.definitions
        return Setup(
            asked_provider(asked, self._provider) if asked else ScriptedModel(()),
            record.tools(known),
            UNLIMITED,
            sources,
            requires_approval=record.asks_a_person,
            answered=record.answered,
            driven=Driven(),
        )

    def _ask(
        self, begins: TurnStarted | TurnResumed, model: str, *, stream: bool
    ) -> Ask[Any] | Resume[Any]:
        today = self._today
        if isinstance(begins, TurnResumed):
            turn = self.journal.state.conversation.unfinished
            output = self._output(turn.input.output if turn else None)
            before = turn.asked if turn else None
            switched = before is not None and model not in ("", before.model)
            chosen = model if today is None or switched else today.model
            return Resume(stream, chosen, output, switch=switched)
        output = self._output(begins.output)
        if today is None:
            return Ask(begins.input, model, begins.settings, stream, output)
        chosen = model if "model" in begins.own else today.model
        settings, key = today.settings(begins), begins.idempotency_key
        return Ask(begins.input, chosen, settings, stream, output, key, begins.own)

    def _output(self, schema: OutputSchema | None) -> Output[Any] | None:
        known = self._today.outputs.get(schema.name) if self._today and schema else None
        self._judges = schema is None or known is not None
        return known if self._judges or schema is None else RecordedOutput(schema, self.journal)

    # Effects

    def _perform(self, effect: Effect) -> object:
        match effect:
            case Append():
                self._compare(effect)
            case CallModel():
                return self._or_interrupted(self.record.answer())
            case StartTools(runs):
                self._running |= {run.context.call_id for run in runs}
            case AwaitTools():
                return self._results()
            case LoadAttachments(digests):
                return {digest: self._read_attachment(digest) for digest in digests}
            case Wait() | Emit():
                pass
            case _:
                raise AssertionError(f"no turn asks for {type(effect).__name__}")
        return None

    def _or_interrupted(self, outcome: object) -> object:
        if outcome is None:
            raise _Interrupted
        return outcome

    def _results(self) -> list[object]:
        outcome, fact = self.record.result(), self.record.peek()
        if outcome is not None and outcome.call_id in self._running:
            return [outcome]
        if fact is None or self._left_here(fact):
            raise _Interrupted
        raise _Diverged(self._mismatch(None, fact))

    def _left_here(self, fact: Recorded) -> bool:
        """Whether a run of then ended where the record goes on with this."""
        return fact.type in OUTSIDE or self._ended_outside(fact)

    def _compare(self, append: Append) -> None:
        """Hold what would be appended today against the record."""
        start = self.record.place
        for mine in append.events:
            fact = self.record.peek()
            if mine is fact:
                self.record.place += 1
                self.requests += mine.type == "model.requested"
                continue
            if fact is None or self._left_here(fact):
                self._fold(self.record.facts[start : self.record.place])
                raise _Interrupted
            raise _Diverged(self._mismatch(mine, fact, pending=append.events))
        self.journal.settle(append)

    def _mismatch(
        self,
        today: Recorded | None,
        recorded: Recorded | None,
        error: Exception | None = None,
        *,
        pending: Sequence[Recorded] = (),
        cause: Cause | None = None,
    ) -> Mismatch:
        before = self.journal.committed
        following: Sequence[Recorded] = ()
        if today is not None:
            at = pending.index(today)
            before = rebuild(projection.evolve, pending[:at], before)
            following = pending[at + 1 :]
        later = list(self.record.rest())[1:]
        provider = self._setup.provider if self._setup else None
        return Mismatch(recorded, today, before, provider, following, later, error, cause)
