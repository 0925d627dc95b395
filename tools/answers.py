"""Answers: turns that are taken before somebody's eyes, and can be stopped."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, TypeVar

from agent.engine.provider import ReasoningDelta, TextDelta

if TYPE_CHECKING:
    from agent.engine.stream import Response
    from agent.engine.streams import AsyncStream
    from agent.tools.screen import Screen

T = TypeVar("T")

Begin = Callable[[], Awaitable["AsyncStream[None]"]]
"""What begins a turn, or goes on with one."""


class Answers:
    """Shows answers on a screen while they are written. Ctrl-C stops one."""

    def __init__(self, screen: Screen, runner: asyncio.Runner) -> None:
        self._screen = screen
        self._runner = runner

    def take(self, begin: Begin) -> Response[None]:
        """Take a turn to its end, or to where it waits for a person.

        Raises what ends it, and KeyboardInterrupt when that was Ctrl-C.
        """
        response = self.wait_for(partial(self._answer, begin))
        if response.pending_approvals:
            self._screen.end_line()
            return response
        refusal = response.messages[-1].refusal
        if refusal and not response.text:
            self._screen.answer(refusal)
        self._screen.end_line()
        match response.finish_reason:
            case "length":
                self._screen.notice("(cut at the model's token limit)")
            case "content_filter":
                self._screen.notice("(cut by the provider's content filter)")
            case _ if not response.text and not refusal:
                self._screen.notice("(an empty answer)")
            case _:
                pass
        return response

    def wait_for(self, answer: Callable[[], Awaitable[T]]) -> T:
        """Wait for anything that Ctrl-C may stop; it is then told with KeyboardInterrupt."""
        try:
            return self._runner.run(_stoppable(answer))
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None

    async def _answer(self, begin: Begin) -> Response[None]:
        async with await begin() as stream:
            async for event in stream:
                match event:
                    case TextDelta(text=text):
                        self._screen.answer(text)
                    case ReasoningDelta(text=text):
                        self._screen.thought(text)
                    case _:
                        pass
            return stream.response


async def _stoppable(answer: Callable[[], Awaitable[T]]) -> T:
    """Let the first Ctrl-C cancel the answer, and further ones wait until that is recorded."""
    task, loop = asyncio.current_task(), asyncio.get_running_loop()
    before = signal.getsignal(signal.SIGINT)
    presses = 0

    def stop(_signal: int, _frame: FrameType | None) -> None:
        nonlocal presses
        presses += 1
        if presses == 1 and task is not None:
            loop.call_soon_threadsafe(task.cancel)

    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, stop)
    try:
        return await answer()
    finally:
        signal.signal(signal.SIGINT, before)
