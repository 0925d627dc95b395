"""How far long work has come: a bar on stderr, if that is a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from agent.tools.terminal import console

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from agent.eventstore.log import EventLog

_PATIENCE = 0.5
"""Seconds: what is done by then needs no bar."""

_PAUSE = 0.05
"""Seconds from one position that is drawn to the next."""


@contextmanager
def bar(label: str) -> Generator[Callable[[int, int], None] | None]:
    """What is to be called with how much is done and of how much, if anybody looks."""
    if not sys.stderr.isatty():
        yield None
        return
    with ExitStack() as stack:
        yield _Bar(label, stack)


@contextmanager
def walk(log: EventLog, label: str) -> Generator[Callable[[int], None] | None]:
    """What is to be called with each position of a log that is reached, if anybody looks."""
    with bar(label) as draw:
        yield None if draw is None else _Positions(log, draw)


class _Positions:
    def __init__(self, log: EventLog, draw: Callable[[int, int], None]) -> None:
        self._last = last_position(log)
        self._draw = draw
        self._due = 0.0

    def __call__(self, position: int) -> None:
        now = time.monotonic()
        if now >= self._due:
            self._due = now + _PAUSE
            self._draw(position, max(self._last, position))


def last_position(log: EventLog) -> int:
    """The position of the last event of a log, 0 without one; reads a few pages of it."""
    low, high = 0, 1
    while _is_after(log, high - 1):
        low, high = high, high * 2
    while low < high - 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _is_after(log, middle - 1) else (low, middle)
    return low


def _is_after(log: EventLog, position: int) -> bool:
    return next(iter(log.read_all(after=position)), None) is not None


class _Bar:
    def __init__(self, label: str, stack: ExitStack) -> None:
        self._label = label
        self._stack = stack
        self._due = time.monotonic() + _PATIENCE
        self._drawn: tuple[Progress, TaskID] | None = None

    def __call__(self, done: int, total: int) -> None:
        if self._drawn is None:
            if time.monotonic() < self._due:
                return
            self._drawn = self._draw()
        progress, task = self._drawn
        progress.update(task, completed=done, total=total or None)

    def _draw(self) -> tuple[Progress, TaskID]:
        from rich.progress import (  # noqa: PLC0415 - slow to import
            BarColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
        progress = Progress(
            *columns, TimeRemainingColumn(), console=console(sys.stderr), transient=True
        )
        self._stack.enter_context(progress)
        return progress, progress.add_task(self._label)
