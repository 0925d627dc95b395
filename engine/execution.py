"""Running tools: async ones as tasks on an event loop, the others in threads.

An async turn has a loop; the async tools of sync turns share one. A thread cannot be cancelled.
When a tool exceeds its time, or its turn ends, its late result is discarded: the log then shows an
intent without a result. A tool without a time limit is waited for as long as its turn may take.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import math
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from agent.engine.effects import ToolOutcome
from agent.engine.logs import log
from agent.engine.tool_loop import tool_loop
from agent.engine.tool_results import error_content
from agent.engine.tool_run import ToolRun

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.eventstore.messages import ResultContent


AT_ONCE = 32
"""How many tools of a turn run at the same time; the others wait for them."""

_CANCEL_GRACE = 1.0
"""Seconds that a cancelled async tool may take to clean up."""


_LONGEST_WAIT = 0.5


class _Timer:
    """Measures a tool and shapes its outcome."""

    def __init__(self, run: ToolRun, clock: Callable[[], float]) -> None:
        self.run = run
        self._clock = clock
        self._since = clock()
        self.cancel: Callable[[], object] = bool

    @property
    def left(self) -> float | None:
        """Seconds until the tool has taken too long."""
        timeout = self.run.tool.timeout
        return None if timeout is None else timeout - (self._clock() - self._since)

    def outcome(self, content: tuple[ResultContent, ...], *, is_error: bool) -> ToolOutcome:
        elapsed = round(self._clock() - self._since, 6)
        return ToolOutcome(self.run.context.call_id, content, is_error, elapsed)

    def failed(self, error: BaseException) -> ToolOutcome:
        log(
            "tool.failed",
            level=logging.WARNING,
            session_id=self.run.context.session_id,
            call_id=self.run.context.call_id,
            tool=self.run.tool.name,
            exc_info=error,
        )
        return self.outcome(error_content(error), is_error=True)

    def timed_out(self) -> ToolOutcome:
        words = f"no result after {self.run.tool.timeout} s; it may still be running"
        return self.failed(TimeoutError(words))

    def execute(self) -> ToolOutcome:
        """Run the tool in this thread; what it raises becomes its result."""
        try:
            return self.outcome(self.run.execute(), is_error=False)
        except Exception as error:  # noqa: BLE001 - whatever a tool raises is told to the model
            return self.failed(error)

    async def execute_async(self) -> ToolOutcome:
        """Run the tool on this loop; what it raises becomes its result."""
        try:
            return self.outcome(await self.run.execute_async(), is_error=False)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return self.failed(error)
        except (KeyboardInterrupt, GeneratorExit):
            raise  # Ctrl-C is meant for the application, and the other ends this coroutine
        except BaseException as error:  # noqa: BLE001 - whatever a tool raises is told to the model
            return self.failed(error)


def _in_thread(timer: _Timer, report: Callable[[ToolOutcome], object]) -> None:
    """Run a tool in a thread that does not keep the interpreter from exiting."""
    context = contextvars.copy_context()

    def work() -> None:
        try:
            outcome = context.run(timer.execute)
        except BaseException as error:  # noqa: BLE001 - SystemExit must not leave the turn waiting
            outcome = timer.failed(error)
        report(outcome)

    name = f"tool {timer.run.tool.name}"
    try:
        threading.Thread(target=work, name=name, daemon=True).start()
    except RuntimeError as error:  # the system has no more threads
        report(timer.failed(error))


def _on_loop(timer: _Timer, report: Callable[[ToolOutcome], object]) -> None:
    """Run an async tool on the loop that sync turns share, with the caller's context."""
    try:
        shared = tool_loop()
    except RuntimeError as error:  # the system has no more threads
        report(timer.failed(error))
        return

    async def work() -> None:
        try:
            outcome = await timer.execute_async()
        except BaseException as error:  # noqa: BLE001 - SystemExit must not end the shared loop
            outcome = timer.failed(error)
        if not shared.over:  # no turn goes on beside the end of the interpreter
            report(outcome)

    timer.cancel = asyncio.run_coroutine_threadsafe(work(), shared.loop).cancel


class _Tools(ABC):
    """What runs, what waits for its place, and what has taken too long."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waiting: deque[ToolRun] = deque()
        self._running: dict[str, _Timer] = {}

    def start(self, runs: Sequence[ToolRun]) -> None:
        """Start these together, those beyond :data:`AT_ONCE` when others have ended."""
        self._waiting.extend(runs)
        self._fill()

    def _fill(self) -> None:
        while self._waiting and len(self._running) < AT_ONCE:
            run = self._waiting.popleft()
            timer = self._running[run.context.call_id] = _Timer(run, self._clock)
            self._begin(timer)

    @abstractmethod
    def _begin(self, timer: _Timer) -> None:
        """Run a tool beside the turn."""

    def _patience(self, timeout: float | None) -> float | None:
        """How long to wait for a result: until a tool has taken too long, or ``timeout``."""
        lefts = [left for timer in self._running.values() if (left := timer.left) is not None]
        wait = min([*lefts, *([] if timeout is None else [timeout])], default=None)
        return None if wait is None else max(wait, 0)

    def _settled(self, found: Sequence[ToolOutcome]) -> list[ToolOutcome]:
        """What is known now, tools out of time included; those that waited take their places."""
        known = [o for o in found if self._running.pop(o.call_id, None)]
        late = [t for t in self._running.values() if t.left is not None and t.left <= 0]
        for timer in late:
            del self._running[timer.run.context.call_id]
            timer.cancel()
        self._fill()
        return known + [timer.timed_out() for timer in late]


class ThreadedTools(_Tools):
    """The tools of a sync turn, beside its thread and with its context."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._done: queue.SimpleQueue[ToolOutcome | None] = queue.SimpleQueue()

    def _begin(self, timer: _Timer) -> None:
        begin = _on_loop if timer.run.tool.is_async else _in_thread
        begin(timer, self._done.put)

    def results(self, timeout: float | None) -> list[ToolOutcome]:
        """Every result known by now; none if ``timeout`` seconds pass first, or it is woken."""
        found: list[ToolOutcome | None] = []
        try:
            found.append(self._next(self._patience(timeout)))
            while True:
                found.append(self._done.get_nowait())
        except queue.Empty:
            pass
        return self._settled([outcome for outcome in found if outcome is not None])

    def _next(self, patience: float | None) -> ToolOutcome | None:
        wait = math.inf if patience is None else patience
        # In short waits: Ctrl-C that comes right before one is noticed only after it.
        while wait > _LONGEST_WAIT:
            with suppress(queue.Empty):
                return self._done.get(timeout=_LONGEST_WAIT)
            wait -= _LONGEST_WAIT
        return self._done.get(timeout=wait)

    def wake(self) -> None:
        """End the wait for results. Any thread or signal handler may call it."""
        self._done.put(None)

    def cancel(self) -> None:
        """Cancel the async ones that still run; those in threads go on, unheard."""
        for timer in self._running.values():
            timer.cancel()


class AsyncTools(_Tools):
    """The tools of an async turn: async ones as tasks on the loop, the others in threads.

    ``woken`` is done once nobody shall wait any longer.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[asyncio.Task[ToolOutcome], _Timer] = {}
        self.woken: asyncio.Future[None] = self._loop.create_future()

    def _begin(self, timer: _Timer) -> None:
        work = timer.execute_async() if timer.run.tool.is_async else _threaded(timer)
        task = asyncio.ensure_future(work)
        timer.cancel = task.cancel
        self._tasks[task] = timer

    async def results(self, timeout: float | None) -> list[ToolOutcome]:
        """Every result known by now; none if ``timeout`` seconds pass first, or it is woken.

        A tool out of time is cancelled, and not waited for: it may not obey.
        """
        await asyncio.wait(
            [*self._tasks, self.woken],
            timeout=self._patience(timeout),
            return_when=asyncio.FIRST_COMPLETED,
        )
        done = [task for task in self._tasks if task.done()]
        return self._settled([_outcome(task, self._tasks.pop(task)) for task in done])

    def wake(self) -> None:
        """End the waits of the turn. Any thread or signal handler may call it."""
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        if not self.woken.done():
            self.woken.set_result(None)

    async def cancel(self) -> None:
        """Cancel what still runs; a tool in a thread goes on, unheard."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_CANCEL_GRACE)


def _outcome(task: asyncio.Task[ToolOutcome], timer: _Timer) -> ToolOutcome:
    if task.cancelled():
        return timer.failed(asyncio.CancelledError())
    error = task.exception()
    return task.result() if error is None else timer.failed(error)


async def _threaded(timer: _Timer) -> ToolOutcome:
    loop = asyncio.get_running_loop()
    future: asyncio.Future[ToolOutcome] = loop.create_future()

    def settle(outcome: ToolOutcome) -> None:
        if not future.done():
            future.set_result(outcome)

    def report(outcome: ToolOutcome) -> None:
        # The loop may be gone by the time that a late result arrives.
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, outcome)

    _in_thread(timer, report)
    return await future
