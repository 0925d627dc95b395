"""The two drivers: they perform a turn's effects and hand its stream events to the caller.

Each decision is the turn's; all that differs here is how one waits. When the caller goes away
(a dropped stream, a cancelled task, Ctrl-C), the turn is told, its last appends are made, and what
came is raised again.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import logging
import weakref
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractContextManager, closing, nullcontext
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, Self, TypeVar

from agent.engine.effects import (
    Answered,
    AwaitTools,
    CallFailed,
    CallModel,
    Emit,
    Save,
    StartTools,
    StoreEffect,
    TurnDropped,
    Wait,
)
from agent.engine.errors import MalformedResponse, ProviderError, TurnCancelled
from agent.engine.execution import AsyncTools, ThreadedTools
from agent.engine.logs import log
from agent.engine.provider import Answer
from agent.engine.stream import Done, StreamEvent
from agent.eventstore.errors import AgentError

if TYPE_CHECKING:
    from agent.engine.provider import Delta, ModelRequest, Provider
    from agent.engine.run import Run

T = TypeVar("T")
Outcome = TypeVar("Outcome")
Parameters = ParamSpec("Parameters")
Events = Generator[StreamEvent[T], None, None]
AsyncEvents = AsyncGenerator[StreamEvent[T], None]

_AHEAD = 100


class Ports(Protocol):
    """What a driver needs besides the turn: the model, and the session's log."""

    @property
    def provider(self) -> Provider:
        """Who is asked."""
        ...

    @property
    def blocking(self) -> bool:
        """Whether store effects wait for a disk or a network."""
        ...

    def exclusive(self) -> AbstractContextManager[None]:
        """The session for one caller. Raises :class:`SessionBusy`."""
        ...

    def perform(self, effect: StoreEffect) -> Any:  # noqa: ANN401 - each effect has its own outcome
        """Perform a store effect and return its outcome."""
        ...


# Sync


def drive(run: Run[T], ports: Ports) -> Events[T]:
    """Perform a turn from its beginning to its end."""
    tools = ThreadedTools(run.clock)
    run.wake = tools.wake
    try:
        run.send(None)
        while run.effect is not None:
            run.check()
            yield from _step(run, ports, tools)
    except BaseException as cause:
        tools.cancel()
        end(run, ports, cause)
        raise
    if run.response is not None:
        yield Done(run.response)


def _step(run: Run[T], ports: Ports, tools: ThreadedTools) -> Events[T]:
    outcome: Any = None
    match run.effect:
        case CallModel(request):
            outcome = yield from _call(run, ports.provider, request)
            run.check()
        case Emit(event):
            yield event
        case StartTools(runs):
            tools.start(runs)
        case AwaitTools(timeout):
            outcome = tools.results(timeout)
        case Wait(seconds):
            run.pause(seconds)
            run.check()
        case None:
            return
        case effect:
            try:
                outcome = ports.perform(effect)
            except AgentError as error:
                run.throw(error)
                return
    run.send(outcome)


def _call(
    run: Run[T], provider: Provider, request: ModelRequest
) -> Generator[StreamEvent[T], None, Answered | CallFailed]:
    try:
        with closing(_iterate(provider, run.calling(request))) as items:
            run.hang_up = items.close
            for item in items:
                if isinstance(item, Answer):
                    return Answered(item, run.calling_for)
                run.heard(item)
                yield item
                run.check()
    except AgentError as error:
        return CallFailed(error, run.partial, run.calling_for)
    return CallFailed(_silent(provider), run.partial, run.calling_for)


def _iterate(provider: Provider, request: ModelRequest) -> Generator[Any, None, None]:
    yield from provider.call(request)


def _silent(provider: Provider) -> ProviderError:
    return MalformedResponse(f"{provider.name} ended without an answer", provider=provider.name)


def end(run: Run[Any], ports: Ports, cause: BaseException) -> None:
    """Tell a turn that its caller is gone, and make the appends that it still wants.

    When the session is in somebody else's hands the turn stays open: its next turn will close it.
    """
    if not run.may_end():
        return
    try:
        with nullcontext() if run.held else ports.exclusive():
            run.drop(reason_of(cause) if run.cancelled is None else run.cancelled)
            while run.effect is not None:
                # A user's store is not for the garbage collector to call: it may be inside of it.
                skipped = isinstance(run.effect, Save) and not run.held
                run.send(None if skipped else ports.perform(run.effect))  # pyright: ignore[reportArgumentType] - only appends
    except TurnDropped as dropped:
        if isinstance(cause, TurnCancelled):
            cause.completed_calls = dropped.completed_calls
    except AgentError as error:
        log("turn.end_not_recorded", level=logging.WARNING, error=str(error))


def reason_of(cause: BaseException) -> str:
    """Why a turn was dropped, as the log says it."""
    match cause:
        case GeneratorExit():
            return "stream dropped"
        case asyncio.CancelledError():
            return "cancelled"
        case KeyboardInterrupt():
            return "interrupted by the user"
        case _:
            return f"{type(cause).__name__}: {cause}".encode(errors="replace").decode()


# Async


async def drive_async(run: Run[T], ports: Ports) -> AsyncEvents[T]:
    """Perform a turn from its beginning to its end without blocking the event loop."""
    tools = AsyncTools(run.clock)
    # Weakly: what waits for the tools must be collected when its loop is gone, to end the turn.
    waking = weakref.WeakMethod(tools.wake)
    run.wake = lambda: (wake := waking()) and wake()
    call: _AsyncCall | None = None
    try:
        run.send(None)
        while run.effect is not None:
            run.check()
            match run.effect:
                case CallModel(request):
                    call = _AsyncCall(run, ports.provider, request)
                    tools.woken.add_done_callback(call.hang_up)
                    async for delta in call:
                        yield delta
                        run.check()
                    run.check()
                    run.send(call.outcome)
                case Emit(event):
                    yield event
                    run.send(None)
                case effect:
                    await _perform_async(run, ports, tools, effect)
    except BaseException as cause:
        if not on_loop():  # it is gone, and a coroutine that was dropped with it cannot wait
            end(run, ports, cause)
            raise
        try:
            await tools.cancel()
            if call is not None:
                await call.cancel()
        finally:
            await off_loop(ports, end, run, ports, cause)
        raise
    if run.response is not None:
        yield Done(run.response)


async def _perform_async(
    run: Run[Any],
    ports: Ports,
    tools: AsyncTools,
    effect: StartTools | AwaitTools | Wait | StoreEffect,
) -> None:
    outcome: Any = None
    match effect:
        case StartTools(runs):
            tools.start(runs)
        case AwaitTools(timeout):
            outcome = await tools.results(timeout)
        case Wait(seconds):
            await asyncio.wait([tools.woken], timeout=seconds)
            run.check()
        case _:
            try:
                outcome = await off_loop(ports, ports.perform, effect)
            except AgentError as error:
                run.throw(error)
                return
    run.send(outcome)


class _AsyncCall:
    """A model call in a task of its own, read as an iterator of deltas.

    Cancelling a task unwinds the async generators that it is in from the innermost outwards.
    Generators that are only dropped are closed one by one by the event loop, in any order and
    perhaps never to the end, and with them the connection. It reads no further ahead than
    ``_AHEAD`` deltas: then it is the server that waits for a slow reader.
    """

    def __init__(self, run: Run[Any], provider: Provider, request: ModelRequest) -> None:
        self._run = run
        self._provider = provider
        self._arrived: asyncio.Queue[Delta | None] = asyncio.Queue()
        self._room = asyncio.Semaphore(_AHEAD)
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._read(run.calling(request)))
        self._task.add_done_callback(self._finished)
        run.hang_up = self.hang_up

    async def _read(self, request: ModelRequest) -> Answer | None:
        items = self._provider.call_async(request)
        try:
            async for item in items:
                if isinstance(item, Answer):
                    return item
                await self._room.acquire()
                self._arrived.put_nowait(item)
        finally:
            if isinstance(items, AsyncGenerator):
                await items.aclose()
        return None

    def _finished(self, task: asyncio.Task[Answer | None]) -> None:
        if not task.cancelled():
            task.exception()  # Seen, so that asyncio does not report it of a call nobody waits for.
        self._arrived.put_nowait(None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delta:
        delta = await self._arrived.get()
        if delta is None:
            raise StopAsyncIteration
        self._room.release()
        self._run.heard(delta)
        return delta

    @property
    def outcome(self) -> Answered | CallFailed:
        """How the call ended, once its deltas are read."""
        try:
            answer = self._task.result()
        except AgentError as error:
            return CallFailed(error, self._run.partial, self._run.calling_for)
        if answer is None:
            return CallFailed(_silent(self._provider), self._run.partial, self._run.calling_for)
        return Answered(answer, self._run.calling_for)

    def hang_up(self, *_: object) -> None:
        """End the call where it is, whatever thread asks for it."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._task.cancel)

    async def cancel(self) -> None:
        """End the call where it is; returns when its connection is closed or given back."""
        self._task.cancel()
        await asyncio.wait([self._task])


def on_loop() -> bool:
    """Whether an event loop of asyncio's is running here."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


async def off_loop(
    ports: Ports,
    function: Callable[Parameters, Outcome],
    *args: Parameters.args,
    **kw: Parameters.kwargs,
) -> Outcome:
    """Call a function in a thread if it may block, and see it through even when cancelled.

    A cancelled append may have landed: going on before that is known would leave the session
    behind its log.
    """
    if not ports.blocking:
        return function(*args, **kw)
    context = contextvars.copy_context()
    call = functools.partial(context.run, function, *args, **kw)
    future = asyncio.get_running_loop().run_in_executor(None, call)
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.shield(future)
        except asyncio.CancelledError as error:
            cancelled = error
        except GeneratorExit:
            raise
        except BaseException:  # noqa: BLE001 - raised below, from the future
            break
    if cancelled is not None:
        future.exception()
        raise cancelled
    return future.result()
