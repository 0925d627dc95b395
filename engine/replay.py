"""Replay: the engine of today, driven over a recorded session.

Every answer, result, decision and failure is served from the record; the first event that would be
another one today is the divergence. There is nothing here that could reach a model or run a tool:
no driver, no transport, no executor.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from agent.engine.ask import Ask, Resume, Setup
from agent.engine.compaction import Compacting, Summarize, compact_when_due
from agent.engine.configurations import AsRecorded, Configuration
from agent.engine.divergence import Cause, Divergence, Mismatch, counted, explain
from agent.engine.edits import Edit, edited
from agent.engine.effects import (
    Answered,
    Append,
    AwaitTools,
    CallFailed,
    CallModel,
    Effect,
    Emit,
    LoadAttachments,
    StartTools,
    ToolOutcome,
    Wait,
)
from agent.engine.output import Output
from agent.engine.recorded import (
    OUTSIDE,
    Record,
    RecordedJournal,
    RecordedOutput,
    was_dropped,
    was_ended,
)
from agent.engine.request import RequestBuilder
from agent.engine.sources import Sources
from agent.engine.turn import TurnSteps, to_its_end
from agent.eventstore.errors import AgentError, StoreError
from agent.eventstore.events import ModelFailed, TurnFailed, TurnResumed, TurnStarted
from agent.eventstore.values import Excerpt
from agent.projections import session as projection
from agent.projections.fold import rebuild
from agent.projections.session import SessionState

if TYPE_CHECKING:
    from agent.engine.provider import Provider
    from agent.eventstore.record import Recorded
    from agent.eventstore.values import OutputSchema

replace = msgspec.structs.replace


class Replay(msgspec.Struct, frozen=True):
    """What came of a replay; true if nothing would be different today.

    ``events`` were gone through; of these, ``requests`` are model requests whose bytes are the same
    today. ``unproven`` are those after a text that was erased: they are the same with what is left,
    and nobody can tell their bytes any more. ``divergence`` is the first event that would
    be another one. ``error`` says why a session among many could not be replayed.
    """

    session_id: str
    events: int
    requests: int
    divergence: Divergence | None = None
    error: AgentError | None = None
    unproven: int = 0

    def __bool__(self) -> bool:
        """Whether everything was replayed, and nothing is different."""
        return self.divergence is None and self.error is None

    def __str__(self) -> str:
        name = self.session_id
        if self.error is not None:
            return f"{name}: not replayed: {type(self.error).__name__}: {self.error}"
        done = f"{counted(self.events, 'event')}, {counted(self.requests, 'request')}"
        if self.unproven:
            done += f", {counted(self.unproven, 'request')} after what was erased"
        if self.divergence is None:
            return f"{name}: no difference in {done}"
        return f"{name}: the same for {done}; then {self.divergence}"


def replay(
    facts: Sequence[Recorded],
    read_attachment: Callable[[str], bytes],
    configuration: Configuration,
    edits: Edit | None = None,
    asked: Provider | None = None,
) -> Replay:
    """Drive the engine over the events of a session.

    ``asked`` is the session's own provider, which builds recorded requests again where no built-in
    one can; else that of the configuration. Raises :class:`UnknownProvider`.
    """
    given, asked = edited(facts, edits or {}), asked or configuration.provider
    replaying = Replaying(given, read_attachment, configuration)
    if any(fact.erased for fact in facts):
        replaying.record.digests = _digests_of_what_is_left(facts, read_attachment, asked)
    found = replaying.run()
    name = replaying.journal.state.conversation.session_id
    divergence = found and explain(found, facts, read_attachment, asked, edits or ())
    done, proven = replaying.record.place, replaying.requests
    return Replay(name, done, proven, divergence, unproven=replaying.unproven)


def _digests_of_what_is_left(
    facts: Sequence[Recorded], read_attachment: Callable[[str], bytes], asked: Provider | None
) -> dict[int, str]:
    """The digests that requests have, by version, without the texts that were erased."""
    recorded = Replaying(facts, read_attachment, AsRecorded(asked))
    recorded.run()
    return recorded.record.digests


class Interrupted(Exception):
    """The record of a run ends here."""


class Diverged(Exception):
    """Today goes another way here."""

    def __init__(self, found: Mismatch) -> None:
        super().__init__()
        self.found = found


class Replaying:
    """The state of a replay, event by event."""

    def __init__(
        self,
        facts: Sequence[Recorded],
        read_attachment: Callable[[str], bytes],
        configuration: Configuration,
    ) -> None:
        self.record = Record(facts)
        self.requests = self.unproven = 0
        self._configuration = configuration
        self._given = isinstance(configuration, AsRecorded)
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
                elif self._left_here(fact) or fact.type == "tools.declared":
                    self._adopt(1)
                else:
                    return self._mismatch(None, fact)
        except Diverged as diverged:
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
        unknown = self._given or unanswered or not self._judges
        return unknown or was_ended(fact.event)

    # One stretch of a turn

    def _take(self, begins: TurnStarted | TurnResumed) -> None:
        self._check_compaction(begins)
        first = self.record.place
        program = to_its_end(self._steps(begins))
        outcome: object = None
        try:
            while (effect := self._next(program, outcome, first)) is not None:
                outcome = self._perform(effect)
        except Interrupted:
            pass
        finally:
            program.close()
            self.journal.forget()

    def _next(
        self, program: Generator[Effect, Any, object], outcome: object, first: int
    ) -> Effect | None:
        """What a turn wants next, None once it is over: what ended it is in the journal."""
        try:
            return program.send(outcome)
        except StopIteration:
            return None
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what today does
            if self.record.place == first:
                self._refused(error)
            return None

    def _refused(self, error: Exception) -> None:
        """What today raises before its first request, so that nothing would be recorded."""
        try:
            self._compare(Append(self.journal.pending, None, self.journal.state))
        except Interrupted:
            return
        fact = self.record.peek()
        if fact is not None and not self._left_here(fact):
            raise Diverged(self._mismatch(None, fact, error=error)) from error

    def _check_compaction(self, begins: TurnStarted | TurnResumed) -> None:
        """Whether the agent would compact the history before a turn, where nobody has."""
        if self._given or not isinstance(begins, TurnStarted):
            return
        done, self._compacted = self._compacted, begins.kind == "compaction"
        if done or self._compacted:
            return
        ask = self._ask(begins, self._configuration.model("", own=False), stream=False)
        program = compact_when_due(self.journal, self._builder, ask, self._setup_of(begins))
        try:
            effect = next(program)
            while not isinstance(effect, Append):
                effect = program.send(self._perform(effect))
        except (StopIteration, AgentError):  # nothing to compact, or nothing that could be asked
            return
        except Exception as error:
            fact = self.record.peek()
            raise Diverged(self._mismatch(None, fact, error=error)) from error
        finally:
            program.close()
            self.journal.forget()
        today, fact = effect.events, self.record.peek()
        raise Diverged(self._mismatch(today[0], fact, today[1:], cause="compaction policy"))

    def _steps(self, begins: TurnStarted | TurnResumed) -> TurnSteps[Any]:
        """The turn that begins here, entered already where the record says how it was."""
        asked = self.record.asked
        model, stream = (asked.model, asked.stream) if asked else ("", False)
        setup = self._setup = self._setup_of(begins)
        if self._given:
            self._adopt(self.record.taken_up)
        steps: TurnSteps[Any]
        if isinstance(begins, TurnStarted) and begins.kind == "compaction":
            order: Summarize[Any] = Summarize(0, begins.input, model, begins.settings)
            excerpt = begins.excerpt or Excerpt()
            steps = Compacting(self.journal, self._builder, order, excerpt, setup)
        else:
            ask: Ask[Any] | Resume[Any]
            if isinstance(begins, TurnResumed):
                ask = self._resume(model, stream=stream)
            else:
                ask = self._ask(begins, model, stream=stream)
            steps = TurnSteps(self.journal, self._builder, ask, setup)
        turn = self.journal.state.conversation.turn
        if self._given and turn is not None:
            steps.tenure = turn.tenure
        return steps

    def _setup_of(self, begins: TurnStarted | TurnResumed) -> Setup:
        known = self.journal.state.conversation.tools.definitions
        return self._configuration.setup(begins, self.record, known)

    def _resume(self, model: str, *, stream: bool) -> Resume[Any]:
        turn = self.journal.state.conversation.unfinished
        output = self._output(turn.input.output if turn else None)
        before = turn.asked if turn else None
        switched = before is not None and model not in ("", before.model)
        chosen = self._configuration.model(model, own=switched)
        return Resume(stream, chosen, output, switch=switched)

    def _ask(self, begins: TurnStarted, model: str, *, stream: bool) -> Ask[Any]:
        chosen = self._configuration.model(model, own="model" in begins.own)
        settings, key = self._configuration.settings(begins), begins.idempotency_key
        output = self._output(begins.output)
        return Ask(begins.input, chosen, settings, stream, output, key, begins.own)

    def _output(self, schema: OutputSchema | None) -> Output[Any] | None:
        """The shape of a turn; where nobody has its type, the verdicts are those of the record."""
        known = None if schema is None else self._configuration.output(schema)
        self._judges = schema is None or known is not None
        return known if self._judges or schema is None else RecordedOutput(schema, self._coming)

    def _coming(self) -> Recorded | None:
        """What the record has after what the turn has recorded."""
        return self.journal.coming

    # Effects

    def _perform(self, effect: Effect) -> object:
        match effect:
            case Append():
                self._compare(effect)
            case CallModel():
                return self._answer()
            case StartTools(runs):
                self._running = {run.context.call_id for run in runs}
            case AwaitTools():
                return self._results()
            case LoadAttachments(digests):
                return {digest: self._read_attachment(digest) for digest in digests}
            case Wait() | Emit():
                pass
            case _:
                raise AssertionError(f"no turn asks for {type(effect).__name__}")
        return None

    def _answer(self) -> Answered | CallFailed:
        outcome = self.record.answer()
        if outcome is None:
            raise Interrupted
        return outcome

    def _results(self) -> list[ToolOutcome]:
        outcome, fact = self.record.result(), self.record.peek()
        if outcome is not None and outcome.call_id in self._running:
            return [outcome]
        if fact is None or self._left_here(fact):
            raise Interrupted
        raise Diverged(self._mismatch(None, fact))

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
                self._count(mine)
                continue
            same = self.record.place - start
            self._fold(append.events[:same])
            if fact is None or self._left_here(fact):
                raise Interrupted
            raise Diverged(self._mismatch(mine, fact, append.events[same + 1 :]))
        self.journal.settle(append)

    def _count(self, fact: Recorded) -> None:
        if fact.type == "model.requested":
            proven = fact.version < self.record.erased_from
            self.requests += proven
            self.unproven += not proven

    def _mismatch(
        self,
        today: Recorded | None,
        recorded: Recorded | None,
        following: Sequence[Recorded] = (),
        *,
        error: Exception | None = None,
        cause: Cause | None = None,
    ) -> Mismatch:
        before = self.journal.committed
        later = list(self.record.rest())[1:]
        provider = self._setup.provider if self._setup else None
        return Mismatch(recorded, today, before, provider, following, later, error, cause)
