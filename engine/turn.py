"""The turn: a generator without I/O that decides what happens next.

It reads the projected state, records events, yields effects and gets their outcomes. What comes
next follows from the state of the open turn alone, so a turn that is resumed goes on where its log
stops. Where it commits: {turn.started, model.requested} before the model is called,
{model.responded, every tool.called} before a tool runs, with an approval.requested instead for each
call that waits for a person, each batch of tool results the moment it
is known, and {model.responded, turn.completed} at the end.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar, assert_never

import msgspec

from agent.engine import output as structured
from agent.engine.ask import Ask, Resume, Setup, response_of, stopped
from agent.engine.deadline import Deadline
from agent.engine.effects import (
    Answered,
    AwaitTools,
    CallFailed,
    CallModel,
    Effect,
    LoadAttachments,
    StartTools,
    ToolOutcome,
    TurnDropped,
    Wait,
)
from agent.engine.errors import (
    LimitExceeded,
    OutputError,
    OutputRefused,
)
from agent.engine.failures import failure_of
from agent.engine.intents import Intents
from agent.engine.provider import Prompt
from agent.engine.retries import retry_delay
from agent.engine.settings import check_tool_settings, settings_of_step
from agent.engine.stream import Response
from agent.engine.unfinished import mending
from agent.eventstore.errors import AgentError, StoreError
from agent.eventstore.events import (
    ModelFailed,
    ModelRequested,
    ModelResponded,
    ToolsDeclared,
    TurnAbandoned,
    TurnCompleted,
    TurnFailed,
    TurnResumed,
    TurnStarted,
)
from agent.eventstore.messages import Message, ToolCallPart
from agent.eventstore.values import Failure, tools_digest
from agent.projections.window import windowed

if TYPE_CHECKING:
    from agent.engine.journal import Journal
    from agent.engine.provider import Answer
    from agent.engine.request import RequestBuilder
    from agent.projections.turn import Call, Turn

T = TypeVar("T")
V = TypeVar("V")

Steps = Generator[Effect, Any, V]
"""A part of a turn: yields effects, is sent their outcomes, returns a value."""


def take_turn(
    journal: Journal, requests: RequestBuilder, ask: Ask[T] | Resume[T], setup: Setup
) -> Steps[Response[T]]:
    """One whole turn from the user's input to the response, or the rest of an unfinished one.

    A turn that is open when another is asked for is abandoned; whoever calls this has made sure
    that it may be. Raises what ended the turn, after recording that end.
    """
    return (yield from to_its_end(TurnSteps(journal, requests, ask, setup)))


def to_its_end(turn: TurnSteps[T]) -> Steps[Response[T]]:
    """A turn from its start to whatever ends it, which is recorded, and raised if no response.

    One that has its tenure already has been entered before.
    """
    try:
        if not turn.tenure:
            turn.enter()
        return (yield from turn.steps())
    except TurnDropped as dropped:
        yield from turn.abandon(dropped)
        raise
    except StoreError as error:
        error.completed_calls = turn.completed_calls
        raise
    except Exception as error:
        yield from turn.fail(error)
        raise
    finally:
        turn.leave()


class TurnSteps(Generic[T]):
    """The working parts of a turn.

    What has happened in it is in the journal alone; ``tenure`` says which turn is meant.
    """

    def __init__(
        self, journal: Journal, requests: RequestBuilder, ask: Ask[T] | Resume[T], setup: Setup
    ) -> None:
        self._journal = journal
        self._requests = requests
        self._ask = ask
        self._setup = setup
        self.tenure = b""
        silent = isinstance(ask, Resume) and ask.silent
        self._intents = Intents(journal, setup, silent=silent)
        self._deadline = Deadline(setup.limits.deadline, setup.sources.monotonic)

    def enter(self) -> None:
        """Record that the turn begins, or who takes it up."""
        owner, conversation = self._setup.sources.owner(), self._journal.state.conversation
        if conversation.turn is not None and (
            conversation.compacting or isinstance(self._ask, Ask)
        ):
            self._journal.record(TurnAbandoned(reason="interrupted"))
        if isinstance(self._ask, Resume):
            self._hold(TurnResumed(owner=owner))
            self._declare_tools()
            for event in mending(self._turn, self._setup.tools):
                self._journal.record(event)
            return
        check_tool_settings(self._ask.settings, self._setup.tools.names)
        self._declare_tools()
        self._hold(
            TurnStarted(
                input=self._ask.input,
                settings=self._ask.settings,
                excerpt=windowed(conversation, self._setup.limits.window),
                output=self._ask.output.schema if self._ask.output else None,
                idempotency_key=self._ask.idempotency_key,
                own=self._ask.own,
                owner=owner,
            )
        )

    def _hold(self, event: TurnStarted | TurnResumed) -> None:
        self.tenure = self._journal.record(event).hash
        self._setup.driven.tenures.add(self.tenure)

    def leave(self) -> None:
        """Nobody drives the turn from here on."""
        self._setup.driven.tenures.discard(self.tenure)

    def _declare_tools(self) -> None:
        tools = self._setup.tools
        digest = tools_digest(tools.definitions) if tools.names else ""
        if digest != self._journal.state.conversation.tools.digest:
            self._journal.record(ToolsDeclared(tools=tools.definitions, digest=digest))

    @property
    def _turn(self) -> Turn:
        """The turn as it stands, what is only recorded included."""
        turn = self._journal.state.conversation.turn
        if turn is None or turn.tenure != self.tenure:
            raise AssertionError("the turn of this generator is not the open one")
        return turn

    def _commit(self) -> Steps[None]:
        mine = frozenset((self.tenure,))
        self._journal.begun |= mine
        yield from self._journal.commit()
        self._journal.begun = mine

    def steps(self) -> Steps[Response[T]]:
        """Do what the turn waits for until it has its answer, or waits for a person."""
        while True:
            turn = self._turn
            match turn.waits_for:
                case "model":
                    yield from self._ask_model(turn.steps + 1)
                case "tools":
                    yield from self._run_tools(turn.pending_calls)
                case "approval":
                    return (yield from self._stop())
                case "end":
                    response = yield from self._conclude(turn)
                    if response is not None:
                        return response
                case _:
                    assert_never(turn.waits_for)

    # The model

    def _ask_model(self, step: int) -> Steps[None]:
        limit = self._setup.limits.max_steps
        if step > limit:
            words = f"the model has not finished after {limit} steps; raise max_steps to allow more"
            raise LimitExceeded(words, limit="max_steps")
        budget, used = self._setup.limits.max_tokens_per_turn, self._turn.usage.total_tokens
        if budget is not None and used > budget:
            words = f"the turn has used {used} of {budget} tokens; raise max_tokens_per_turn"
            raise LimitExceeded(words, limit="max_tokens_per_turn")
        attempt = 0
        while True:
            attempt += 1
            outcome = yield from self._attempt(step)
            if isinstance(outcome, Answered):
                self._respond(outcome)
                return
            self._journal.record(
                ModelFailed(
                    error=failure_of(outcome.error),
                    partial=outcome.partial,
                    elapsed=outcome.elapsed,
                )
            )
            delay = retry_delay(
                outcome, attempt=attempt, limits=self._setup.limits, sources=self._setup.sources
            )
            if delay is None:
                raise outcome.error
            self._deadline.check_wait(delay, outcome.error)
            yield from self._commit()
            yield Wait(delay)

    def _attempt(self, step: int) -> Steps[Answered | CallFailed]:
        conversation, provider = self._journal.state.conversation, self._setup.provider
        asked = self._turn.asked
        prompt = self._prompt(step)
        attachments: Mapping[str, bytes] = {}
        needed = self._requests.attachments(conversation, provider, prompt)
        if needed:
            attachments = yield LoadAttachments(needed)
        self._deadline.remaining()
        request = self._requests.build(conversation, provider, prompt, attachments)
        self._journal.record(
            ModelRequested(
                step=step,
                attempt=asked.attempt + 1 if asked and asked.step == step else 1,
                provider=provider.name,
                api=provider.api,
                model=prompt.model,
                stream=prompt.stream,
                encoder=provider.encoder,
                digest=request.digest,
            )
        )
        yield from self._commit()
        return (yield CallModel(msgspec.structs.replace(request, deadline=self._deadline.left)))

    def _prompt(self, step: int) -> Prompt:
        conversation, turn, ask = self._journal.state.conversation, self._turn, self._ask
        switched = isinstance(ask, Resume) and ask.switch
        return Prompt(
            turn.asked.model if turn.asked and not switched else ask.model,
            conversation.system,
            conversation.tools.definitions,
            settings_of_step(turn.input.settings, step),
            turn.input.output,
            ask.stream,
        )

    def _respond(self, answered: Answered) -> None:
        answer = answered.answer
        self._journal.record(
            ModelResponded(
                message=self._with_own_ids(answer),
                finish_reason=answer.finish_reason,
                raw_finish_reason=answer.raw_finish_reason,
                usage=answer.usage,
                model=answer.model,
                response_id=answer.response_id,
                elapsed=answered.elapsed,
            )
        )

    def _with_own_ids(self, answer: Answer) -> Message:
        """Name the calls ourselves: providers omit ids and repeat them."""
        version = self._journal.state.version + 1
        parts = [
            msgspec.structs.replace(
                part, call_id=f"call_{version}_{index}", provider_id=part.call_id or None
            )
            if isinstance(part, ToolCallPart)
            else part
            for index, part in enumerate(answer.message.parts)
        ]
        return Message("assistant", tuple(parts))

    # Tools

    def _run_tools(self, calls: tuple[Call, ...]) -> Steps[None]:
        """Run what may run; what a person has to decide about waits."""
        names = {call.part.call_id: call.part.name for call in calls}
        runs = [run for call in calls if (run := self._intents.intend(call))]
        yield from self._commit()
        if runs:
            yield StartTools(tuple(runs))
        waiting = len(runs)
        while waiting:
            outcomes: list[ToolOutcome] = yield AwaitTools(self._deadline.remaining())
            if not outcomes:
                self._deadline.remaining()
            for outcome in outcomes:
                self._intents.returned(outcome, names[outcome.call_id])
            waiting -= len(outcomes)
            if waiting:
                yield from self._commit()

    def _stop(self) -> Steps[Response[T]]:
        """Leave the turn open for a person, and for whoever goes on with it then."""
        yield from self._commit()
        return stopped(self._turn, self._journal.state.version)

    # The answer

    def _conclude(self, turn: Turn) -> Steps[Response[T] | None]:
        """End the turn with its last answer; None when that does not fit and is asked again."""
        answer = turn.answer
        if answer is None:
            raise AssertionError("a turn that waits for its end has an answer")
        try:
            value = self._check_output(answer)
        except structured.OutputRejection as rejection:
            self._reject(turn, rejection, answer.message)
            return None
        self._journal.record(TurnCompleted())
        yield from self._commit()
        return response_of(turn, answer, value, self._journal.state.version)

    def _check_output(self, responded: ModelResponded) -> T | None:
        """The validated output. Raises what is not worth asking again for."""
        if self._ask.output is None:
            return None
        message, reason = responded.message, responded.finish_reason
        if message.refusal is not None:
            raise OutputRefused(f"the model refused: {message.refusal}", text=message.text)
        if reason == "length":
            raise OutputError(
                "the answer was cut at the token limit; raise max_tokens", text=message.text
            )
        return self._ask.output.parse(message.text)

    def _reject(self, turn: Turn, rejection: structured.OutputRejection, message: Message) -> None:
        limit = self._setup.limits.max_output_retries
        if turn.rejections >= limit:
            raise OutputError(
                f"no answer of {limit + 1} fits the schema: {rejection}; simplify the schema, or "
                "raise max_output_retries",
                text=message.text,
                errors=rejection.errors,
            )
        self._journal.record(structured.rejected(rejection.errors))

    # Other ends

    def abandon(self, dropped: TurnDropped) -> Steps[None]:
        """Record that the caller is gone, with what had arrived of the answer."""
        self._journal.forget()
        dropped.completed_calls = self.completed_calls
        turn = self._journal.state.conversation.turn
        if turn is None or turn.tenure != self.tenure or turn.waits_for == "approval":
            return  # there is none of ours: one that waits for a person is nobody's
        if turn.request is not None:
            error = Failure("TurnDropped", dropped.reason)
            self._journal.record(
                ModelFailed(error=error, partial=dropped.partial, elapsed=dropped.elapsed)
            )
        self._journal.record(TurnAbandoned(reason=dropped.reason))
        yield from self._commit()

    def fail(self, error: Exception) -> Steps[None]:
        """Record what ended the turn, unless nothing of it is in the log yet.

        Also for what is no error of ours: a validator of the caller's, a provider of one's own.
        """
        committed = self._journal.committed.conversation.turn
        if committed is None or committed.tenure != self.tenure:
            return
        completed = self.completed_calls
        if isinstance(error, AgentError):
            error.completed_calls = completed
        self._journal.record(TurnFailed(error=failure_of(error), completed_calls=completed))
        yield from self._commit()

    @property
    def completed_calls(self) -> tuple[str, ...]:
        """The calls of this turn whose tools have run."""
        for state in (self._journal.state, self._journal.committed):
            turn = state.conversation.turn
            if turn is not None and turn.tenure == self.tenure:
                return turn.completed_calls
        return ()
