"""The turn: a generator without I/O that decides what happens next.

It reads the projected state, records events, yields effects and gets their outcomes. Where it
commits: {turn.started, model.requested} before the model is called, {model.responded, every
tool.called} before a tool runs, each batch of tool results the moment it is known, and
{model.responded, turn.completed} at the end.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import msgspec

from agent.engine import output as structured
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
from agent.engine.provider import Prompt
from agent.engine.retries import retry_delay
from agent.engine.settings import settings_of_step
from agent.engine.stream import Response, ToolCallEvent, ToolResultEvent
from agent.engine.tools import ToolContext, ToolRun, Toolset
from agent.eventstore.errors import AgentError, StoreError
from agent.eventstore.events import (
    ModelFailed,
    ModelRequested,
    ModelResponded,
    OutputRejected,
    ToolCalled,
    ToolReturned,
    ToolsDeclared,
    TurnAbandoned,
    TurnCompleted,
    TurnFailed,
    TurnStarted,
)
from agent.eventstore.messages import Message, TextPart, ToolCallPart
from agent.eventstore.values import Failure, Settings, Usage, tools_digest
from agent.projections.window import windowed

if TYPE_CHECKING:
    from agent.engine.journal import Journal
    from agent.engine.output import Output
    from agent.engine.provider import Answer, Provider
    from agent.engine.request import RequestBuilder
    from agent.engine.settings import CompactionPolicy, Limits
    from agent.engine.sources import Sources

T = TypeVar("T")
V = TypeVar("V")

_HARDLY_ANY = 0.001

Steps = Generator[Effect, Any, V]
"""A part of a turn: yields effects, is sent their outcomes, returns a value."""


class Ask(msgspec.Struct, Generic[T], frozen=True):
    """What the caller wants of one turn."""

    input: Message
    model: str
    settings: Settings
    stream: bool
    output: Output[T] | None = None


class Setup(msgspec.Struct, frozen=True):
    """What a turn works with."""

    provider: Provider
    tools: Toolset
    limits: Limits
    sources: Sources
    compact_at: CompactionPolicy | None = None


def take_turn(
    journal: Journal, requests: RequestBuilder, ask: Ask[T], setup: Setup
) -> Steps[Response[T]]:
    """One whole turn, from the user's input to the response.

    Raises what ended it, after recording that end.
    """
    return (yield from conclude(Turn(journal, requests, ask, setup)))


def conclude(turn: Turn[T]) -> Steps[Response[T]]:
    """A turn from its start to whatever ends it, which is recorded, and raised if no response."""
    try:
        turn.start()
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


class Turn(Generic[T]):
    """The working parts of a turn."""

    def __init__(
        self, journal: Journal, requests: RequestBuilder, ask: Ask[T], setup: Setup
    ) -> None:
        self._journal = journal
        self._requests = requests
        self._ask = ask
        self._setup = setup
        self._usage = Usage()
        self._calls: list[ToolCallPart] = []
        self._rejections = 0
        self._started = 0
        limit = setup.limits.deadline
        self._deadline = None if limit is None else setup.sources.monotonic() + limit

    def start(self) -> None:
        """Record the beginning."""
        journal, setup = self._journal, self._setup
        if journal.state.conversation.turn is not None:
            journal.record(TurnAbandoned(reason="interrupted"))
        digest = tools_digest(setup.tools.definitions) if setup.tools.names else ""
        if digest != journal.state.conversation.tools.digest:
            journal.record(ToolsDeclared(tools=setup.tools.definitions, digest=digest))
        fact = journal.record(
            TurnStarted(
                input=self._ask.input,
                settings=self._ask.settings,
                excerpt=windowed(journal.state.conversation, setup.limits.window),
                output=self._ask.output.schema if self._ask.output else None,
                owner=setup.sources.owner(),
            )
        )
        self._started = fact.version

    def steps(self) -> Steps[Response[T]]:
        """Ask the model and run its tools until it has answered."""
        limit = self._setup.limits.max_steps
        for step in range(1, limit + 1):
            answered = yield from self.ask_model(step)
            responded = self.respond(answered)
            if responded.message.tool_calls:
                yield from self._run_tools(responded.message.tool_calls)
                continue
            try:
                value = self._check_output(responded)
            except structured.OutputRejection as rejection:
                self._reject(rejection, responded.message)
                continue
            return (yield from self._complete(responded, value))
        message = f"the model has not finished after {limit} steps; raise max_steps to allow more"
        raise LimitExceeded(message, limit="max_steps")

    # The model

    def ask_model(self, step: int) -> Steps[Answered]:
        """The model's answer, if need be after several attempts. Raises what prevents it."""
        attempt = 0
        while True:
            attempt += 1
            outcome = yield from self._attempt(step, attempt)
            if isinstance(outcome, Answered):
                return outcome
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
            self._check_wait(delay, outcome.error)
            yield from self._journal.commit()
            yield Wait(delay)

    def _attempt(self, step: int, attempt: int) -> Steps[Answered | CallFailed]:
        conversation, provider = self._journal.state.conversation, self._setup.provider
        prompt = Prompt(
            self._ask.model,
            conversation.system,
            conversation.tools.definitions,
            settings_of_step(self._ask.settings, step),
            self._ask.output.schema if self._ask.output else None,
            self._ask.stream,
        )
        attachments: Mapping[str, bytes] = {}
        needed = self._requests.attachments(conversation, provider, prompt)
        if needed:
            attachments = yield LoadAttachments(needed)
        self._remaining()
        request = self._requests.build(conversation, provider, prompt, attachments)
        self._journal.record(
            ModelRequested(
                step=step,
                attempt=attempt,
                provider=provider.name,
                api=provider.api,
                model=prompt.model,
                stream=prompt.stream,
                encoder=provider.encoder,
                digest=request.digest,
            )
        )
        yield from self._journal.commit()
        return (yield CallModel(msgspec.structs.replace(request, deadline=self._left())))

    def respond(self, answered: Answered) -> ModelResponded:
        """Record an answer, with its calls named by us."""
        answer = answered.answer
        event = ModelResponded(
            message=self._with_own_ids(answer),
            finish_reason=answer.finish_reason,
            raw_finish_reason=answer.raw_finish_reason,
            usage=answer.usage,
            model=answer.model,
            response_id=answer.response_id,
            elapsed=answered.elapsed,
        )
        self._usage += answer.usage
        self._journal.record(event)
        return event

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

    def _run_tools(self, calls: tuple[ToolCallPart, ...]) -> Steps[None]:
        names = {call.call_id: call.name for call in calls}
        self._calls += calls
        runs = [run for call in calls if (run := self._intend(call))]
        yield from self._journal.commit()
        if runs:
            yield StartTools(tuple(runs))
        waiting = len(runs)
        while waiting:
            outcomes: list[ToolOutcome] = yield AwaitTools(self._remaining())
            if not outcomes:
                self._remaining()
            for outcome in outcomes:
                self._returned(outcome, names[outcome.call_id])
            waiting -= len(outcomes)
            if waiting:
                yield from self._journal.commit()

    def _intend(self, call: ToolCallPart) -> ToolRun | None:
        """Record that a tool is about to run; a call that no tool can serve is answered at once."""
        found = self._setup.tools.get(call.name)
        announce = ToolCallEvent(call.call_id, call.name, call.arguments)
        if found is None:
            known = ", ".join(self._setup.tools.names) or "none"
            text = f"UnknownTool: there is no tool {call.name[:100]!r}; the tools are: {known}"
            self._returned(ToolOutcome(call.call_id, (TextPart(text),), True, 0.0), call.name)  # noqa: FBT003
            return None
        fact = self._journal.record(ToolCalled(call_id=call.call_id, tool=call.name), announce)
        context = ToolContext(self._journal.stream, call.call_id, fact.hash.hex())
        return ToolRun(found, call.arguments, context)

    def _returned(self, outcome: ToolOutcome, name: str) -> None:
        event = ToolReturned(
            call_id=outcome.call_id,
            content=outcome.content,
            is_error=outcome.is_error,
            elapsed=outcome.elapsed,
        )
        text = "".join(part.text for part in outcome.content if isinstance(part, TextPart))
        announce = ToolResultEvent(outcome.call_id, name, text, outcome.is_error)
        self._journal.record(event, announce)

    # The answer

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

    def _reject(self, rejection: structured.OutputRejection, message: Message) -> None:
        limit = self._setup.limits.max_output_retries
        self._rejections += 1
        if self._rejections > limit:
            raise OutputError(
                f"no answer of {limit + 1} fits the schema: {rejection}; simplify the schema, or "
                "raise max_output_retries",
                text=message.text,
                errors=rejection.errors,
            )
        event = OutputRejected(
            errors=rejection.errors, feedback=structured.feedback(rejection.errors)
        )
        self._journal.record(event)

    def _complete(self, responded: ModelResponded, value: T | None) -> Steps[Response[T]]:
        open_turn = self._journal.state.conversation.turn
        kept = tuple(open_turn.kept) if open_turn else ()
        self._journal.record(TurnCompleted())
        yield from self._journal.commit()
        return Response(
            text=responded.message.text,
            output=cast("T", value),  # None only where T is None
            messages=kept,
            tool_calls=tuple(self._calls),
            usage=self._usage,
            finish_reason=responded.finish_reason,
            model=responded.model or self._ask.model,
            version=self._journal.state.version,
        )

    # Other ends

    def abandon(self, dropped: TurnDropped) -> Steps[None]:
        """Record that the caller is gone, with what had arrived of the answer."""
        self._journal.forget()
        turn = self._journal.state.conversation.turn
        if turn is None or turn.started != self._started:
            return
        if turn.request is not None:
            error = Failure("TurnDropped", dropped.reason)
            self._journal.record(
                ModelFailed(error=error, partial=dropped.partial, elapsed=dropped.elapsed)
            )
        self._journal.record(TurnAbandoned(reason=dropped.reason))
        yield from self._journal.commit()

    def fail(self, error: Exception) -> Steps[None]:
        """Record what ended the turn, unless nothing of it is in the log yet.

        Also for what is no error of ours: a validator of the caller's, a provider of one's own.
        """
        committed = self._journal.committed.conversation.turn
        if committed is None or committed.started != self._started:
            return
        completed = self.completed_calls
        if isinstance(error, AgentError):
            error.completed_calls = completed
        self._journal.record(TurnFailed(error=failure_of(error), completed_calls=completed))
        yield from self._journal.commit()

    @property
    def completed_calls(self) -> tuple[str, ...]:
        """The calls of this turn whose tools have run."""
        for state in (self._journal.state, self._journal.committed):
            turn = state.conversation.turn
            if turn is not None and turn.started == self._started:
                return turn.completed_calls
        return ()

    def _check_wait(self, delay: float, cause: AgentError) -> None:
        """Refuse to wait past the deadline for another attempt."""
        left = self._remaining()
        if left is not None and left <= delay:
            limit = self._setup.limits.deadline
            words = f"no time is left of {limit} s to try again in {delay:.1f} s: {cause}"
            raise LimitExceeded(words, limit="deadline") from cause

    def _remaining(self) -> float | None:
        """Seconds left of the deadline. Raises :class:`LimitExceeded` past it."""
        if self._deadline is not None and self._setup.sources.monotonic() >= self._deadline:
            limit = self._setup.limits.deadline
            words = f"the turn took longer than {limit} s; raise deadline to allow more"
            raise LimitExceeded(words, limit="deadline")
        return self._left()

    def _left(self) -> float | None:
        """Seconds left of the deadline, hardly any past it."""
        if self._deadline is None:
            return None
        return max(self._deadline - self._setup.sources.monotonic(), _HARDLY_ANY)
