"""What verification finds, as data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from agent.eventstore.record import Head

Level = Literal["heads", "chain", "full"]
Reached = Callable[[int], object]
"""Is told each position of a log that is reached."""
LEVELS: tuple[Level, ...] = ("heads", "chain", "full")

MOST = 1000
"""How many findings are kept; the rest are only counted."""


class Finding(msgspec.Struct, frozen=True):
    """Something that is wrong. ``version`` and ``position`` are 0 where there is none to name.

    ``expected`` and ``actual`` are given where the reason compares two things; hashes in hex.
    ``line`` is that of a file of lines, from 1.
    """

    stream: str
    version: int
    position: int
    reason: str
    expected: str = ""
    actual: str = ""
    line: int = 0


class Verification(msgspec.Struct, frozen=True):
    """What was checked and what was found. ``head`` is that of a single stream or export.

    ``unread`` counts events of a later release, whose payloads this one cannot judge, and
    ``unlinked`` last events of deleted streams, whose predecessors were purged.
    ``unwitnessed`` are erased events of which no event says so: those of a fork that stands alone,
    and was made from before the erasure; else somebody has erased them by hand. ``rows`` counts
    those of the tables beside the log. ``deleted`` names the sessions that were deleted since a
    note was signed that they are held against. ``omitted`` counts the findings beyond the first
    :data:`MOST`.
    """

    level: Level
    streams: int
    events: int
    attachments: int
    head: Head | None
    findings: list[Finding]
    omitted: int = 0
    unread: int = 0
    unlinked: int = 0
    unwitnessed: int = 0
    deleted: list[str] = []
    rows: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings
