"""How long a turn may still take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.engine.errors import LimitExceeded

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.eventstore.errors import AgentError

_HARDLY_ANY = 0.001


class Deadline:
    """The end of a turn's time, ``seconds`` from now; None for as long as it takes."""

    def __init__(self, seconds: float | None, clock: Callable[[], float]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._end = None if seconds is None else clock() + seconds

    @property
    def left(self) -> float | None:
        """Seconds left, hardly any past the end."""
        return None if self._end is None else max(self._end - self._clock(), _HARDLY_ANY)

    def remaining(self) -> float | None:
        """Seconds left. Raises :class:`LimitExceeded` past the end."""
        if self._end is not None and self._clock() >= self._end:
            words = f"the turn took longer than {self._seconds} s; raise deadline to allow more"
            raise LimitExceeded(words, limit="deadline")
        return self.left

    def check_wait(self, delay: float, cause: AgentError) -> None:
        """Refuse to wait past the end for another attempt."""
        left = self.remaining()
        if left is not None and left <= delay:
            words = f"no time is left of {self._seconds} s to try again in {delay:.1f} s: {cause}"
            raise LimitExceeded(words, limit="deadline") from cause
