"""Logs that hold an append up, or break it off, exactly where a test wants it."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Self

from agent.eventstore.backends.memory import MemoryLog
from agent.eventstore.record import Head, Prepared

SOON = 60.0


class Gate:
    """Whoever calls it waits until it is opened, which leaving it as a context does too."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._opened = threading.Event()

    def __call__(self) -> None:
        """Wait here."""
        self._reached.set()
        assert self._opened.wait(SOON)

    def wait_until_reached(self) -> None:
        """Return when somebody stands at the gate."""
        assert self._reached.wait(SOON)

    def open(self) -> None:
        """Let everybody through."""
        self._opened.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.open()


class TappedLog(MemoryLog):
    """Calls what is given for an event's type right before or right after its append."""

    def __init__(
        self,
        *,
        before: Mapping[str, Callable[[], None]] | None = None,
        after: Mapping[str, Callable[[], None]] | None = None,
    ) -> None:
        super().__init__()
        self.before = before or {}
        self.after = after or {}

    def append(self, stream: str, prepared: Sequence[Prepared], *, expected: Head | None) -> Head:
        """Append between the two taps."""
        _call(self.before, prepared)
        head = super().append(stream, prepared, expected=expected)
        _call(self.after, prepared)
        return head


def _call(taps: Mapping[str, Callable[[], None]], prepared: Sequence[Prepared]) -> None:
    for fact in prepared:
        if fact.type in taps:
            taps[fact.type]()


def once(error: BaseException) -> Callable[[], None]:
    """Raises the error when it is called for the first time."""
    left = [error]

    def fail() -> None:
        if left:
            raise left.pop()

    return fail
