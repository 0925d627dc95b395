"""How far a long way through a log has come: a bar on stderr, if that is a terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

    from agent.eventstore.log import EventLog

_PATIENCE = 0.5
"""Seconds: what is done by then needs no bar."""

_STEPS = 200


@contextmanager
def shown(log: EventLog, label: str) -> Generator[Callable[[int], None] | None]:
    """What is to be called with each position of the log that is reached, if anybody looks."""
    if not sys.stderr.isatty():
        yield None
        return
    with ExitStack() as stack:
        yield _Bar(log, label, stack)


class _Bar:
    def __init__(self, log: EventLog, label: str, stack: ExitStack) -> None:
        self._log = log
        self._label = label
        self._stack = stack
        self._bar: ProgressBar[int] | None = None
        self._due = time.monotonic() + _PATIENCE
        self._position = 0

    def __call__(self, position: int) -> None:
        if self._bar is None:
            if time.monotonic() < self._due:
                return
            last = last_position(self._log)
            self._bar = self._stack.enter_context(
                click.progressbar(
                    length=last,
                    label=self._label,
                    file=sys.stderr,
                    update_min_steps=max(last // _STEPS, 1),
                )
            )
        self._bar.update(position - self._position)
        self._position = position


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
