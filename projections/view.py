"""Which messages of the transcript are visible: ranges over it, and all that follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from agent.eventstore.messages import Message
    from agent.projections.snapshot import Snapshot


class View(msgspec.Struct, frozen=True):
    """The visible messages: these ranges (from, until) in order, then everything from ``tail`` on.

    Nothing that becomes invisible is lost; clearing, rewinding and compacting only change a view.
    """

    ranges: tuple[tuple[int, int], ...] = ()
    tail: int = 0

    @property
    def fixed(self) -> int:
        """How many messages the ranges show."""
        return sum(until - start for start, until in self.ranges)

    def messages(self, transcript: Snapshot[Message], skip: int = 0) -> list[Message]:
        """The visible messages but the first ``skip``; costs what it returns."""
        fixed = self.fixed
        if skip >= fixed:
            return transcript[self.tail + skip - fixed :]
        shown = [message for start, until in self.ranges for message in transcript[start:until]]
        return shown[skip:] + transcript[self.tail :]

    def last(self, transcript: Snapshot[Message]) -> Message | None:
        """The last visible message, None if there is none."""
        if self.tail < len(transcript):
            return transcript[-1]
        return transcript[self.ranges[-1][1] - 1] if self.ranges else None

    def cleared(self, length: int) -> View:
        """Nothing of the first ``length`` messages."""
        return View((), length)

    def ended(self, length: int, now: int) -> View:
        """What this view showed at transcript ``length``, for a transcript that is now longer."""
        ranges = (*self.ranges, (self.tail, length)) if self.tail < length else self.ranges
        return View(ranges, now)

    def summarized(self, through: int, summary: int) -> View:
        """The message at ``summary`` (the newest), then what came after ``through``."""
        kept = ((through, summary),) if through < summary else ()
        return View(((summary, summary + 1), *kept), summary + 1)
