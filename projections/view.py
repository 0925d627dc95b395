"""Which messages of the transcript are visible: ranges over it, and all that follows."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.eventstore.messages import Message
    from agent.projections.snapshot import Snapshot


class Range(NamedTuple):
    """Visible messages that lie together in the transcript; ``place`` is how many come before."""

    first: int
    until: int
    place: int

    @property
    def next_place(self) -> int:
        """How many come before what follows."""
        return self.place + self.until - self.first


class View(msgspec.Struct, frozen=True, gc=False):
    """The visible messages: these ranges in order, then everything from ``tail`` on.

    Nothing that becomes invisible is lost; clearing, rewinding and compacting only change a view.
    """

    ranges: tuple[Range, ...] = ()
    tail: int = 0

    @classmethod
    def of(cls, ranges: Iterable[tuple[int, int]], tail: int) -> View:
        """The view with these ranges (first, until), empty ones left out."""
        made: list[Range] = []
        for first, until in ranges:
            if first < until:
                made.append(Range(first, until, made[-1].next_place if made else 0))
        return cls(tuple(made), tail)

    def count(self, length: int) -> int:
        """How many messages are visible of a transcript of this length."""
        return self._tail(length).next_place

    def messages(
        self, transcript: Snapshot[Message], start: int = 0, end: int | None = None
    ) -> list[Message]:
        """The visible messages from place ``start`` up to ``end``; costs what it returns."""
        shown: list[Message] = []
        for first, until, place in self._from(start, len(transcript)):
            if end is not None and place >= end:
                break
            last = until if end is None else min(until, first + end - place)
            shown += transcript[first + max(start - place, 0) : last]
        return shown

    def shown(self, length: int) -> Iterator[Range]:
        """All that is visible of a transcript of this length, as ranges over it."""
        return self._from(0, length)

    def _from(self, start: int, length: int) -> Iterator[Range]:
        """The ranges from the one that holds place ``start`` on, the tail last."""
        found = bisect_right(self.ranges, start, key=lambda one: one.place)
        for index in range(max(found - 1, 0), len(self.ranges)):
            yield self.ranges[index]
        yield self._tail(length)

    def _tail(self, length: int) -> Range:
        return Range(self.tail, length, self.ranges[-1].next_place if self.ranges else 0)

    def last(self, transcript: Snapshot[Message]) -> Message | None:
        """The last visible message, None if there is none."""
        if self.tail < len(transcript):
            return transcript[-1]
        return transcript[self.ranges[-1].until - 1] if self.ranges else None

    def cleared(self, length: int) -> View:
        """Nothing of the first ``length`` messages."""
        return View((), length)

    def ended(self, length: int, now: int) -> View:
        """What this view showed at transcript ``length``, for a transcript that is now longer."""
        tail = self._tail(length)
        return View((*self.ranges, tail) if tail.first < tail.until else self.ranges, now)

    def summarized(self, through: int, summary: int, kept: int = 0) -> View:
        """The message at ``summary`` (the newest), and what it does not stand for.

        That is the last ``kept`` of what this view showed at transcript length ``through``, and
        everything after.
        """
        start = self.count(through) - kept
        left = [
            (first + max(start - place, 0), until)
            for first, until, place in self._from(start, through)
        ]
        return View.of([(summary, summary + 1), *left, (through, summary)], summary + 1)
