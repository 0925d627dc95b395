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

_PATIENCE = 0.5
"""Seconds: what is done by then needs no bar."""


@contextmanager
def bar(label: str) -> Generator[Callable[[int, int], None] | None]:
    """What is to be called with how much is done and of how much, if anybody looks."""
    if not sys.stderr.isatty():
        yield None
        return
    with ExitStack() as stack:
        yield _Bar(label, stack)


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
