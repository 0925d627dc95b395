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

    def count(self, length: int) -> int:
        """How many messages are visible of a transcript of this length."""
        return length - self.tail + sum(until - start for start, until in self.ranges)

    def messages(
        self, transcript: Snapshot[Message], start: int = 0, end: int | None = None
    ) -> list[Message]:
        """The visible messages from place ``start`` up to ``end``; costs what it returns."""
        shown: list[Message] = []
        place = 0
        for first, until in (*self.ranges, (self.tail, len(transcript))):
            last = until if end is None else min(until, first + end - place)
            shown += transcript[first + max(start - place, 0) : max(last, first)]
            place += until - first
        return shown

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

    def summarized(self, through: int, summary: int, kept: int = 0) -> View:
        """The message at ``summary`` (the newest), and what it does not stand for.

        That is the last ``kept`` of what this view showed at transcript length ``through``, and
        everything after.
        """
        skipped = self.count(through) - kept
        left: list[tuple[int, int]] = []
        for start, until in self.ended(through, summary).ranges:
            left.append((min(start + skipped, until), until))
            skipped = max(skipped - (until - start), 0)
        left.append((through, summary))
        shown = (each for each in left if each[0] < each[1])
        return View(((summary, summary + 1), *shown), summary + 1)
