"""What is different between two states of one session, or of two, as data.

Histories with the same hash at a version are the same up to it, so what both have in common is
found by a binary search over hashes, and messages are looked at only where they differ.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

from agent.eventstore.messages import Message
from agent.eventstore.values import ToolDefinition, Usage, metadata_dict
from agent.projections.turn import Turn
from agent.projections.view import Range

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.projections.conversation import Conversation, Mark
    from agent.projections.session import SessionState

T = TypeVar("T")


class Changed(msgspec.Struct, Generic[T], frozen=True):
    """A value that is another one afterwards."""

    before: T
    after: T


class Placed(msgspec.Struct, frozen=True):
    """A message, and its place in the history that shows it."""

    place: int
    message: Message


class ToolChanges(msgspec.Struct, frozen=True):
    """How the tools that are offered to the model differ, told apart by their names."""

    removed: tuple[ToolDefinition, ...] = ()
    added: tuple[ToolDefinition, ...] = ()
    changed: tuple[Changed[ToolDefinition], ...] = ()


class Difference(msgspec.Struct, frozen=True):
    """How one state differs from another; true if it does.

    ``ancestor`` is the last version without an open turn that both share, 0 for none. ``removed``
    messages are shown before alone, ``added`` ones after alone: a message is the same where both
    got it from the events that they share, not where its words are. What is None is the same.
    ``usage`` counts the session and those that it was forked from.
    """

    ancestor: int
    removed: tuple[Placed, ...] = ()
    added: tuple[Placed, ...] = ()
    system: Changed[str | None] | None = None
    tools: ToolChanges | None = None
    metadata: Changed[dict[str, object]] | None = None
    usage: Changed[Usage] | None = None
    turn: Changed[Turn | None] | None = None

    def __bool__(self) -> bool:
        """Whether anything differs."""
        return self != Difference(self.ancestor)


def diff(before: SessionState, after: SessionState) -> Difference:
    """How a state differs from another, whichever is the older."""
    one, two = before.conversation, after.conversation
    mark = _ancestor(one, two)
    shared = mark.length if mark else 0
    return Difference(
        mark.version if mark else 0,
        removed=tuple(_shown_alone(one, two, shared)),
        added=tuple(_shown_alone(two, one, shared)),
        system=_changed(one.system, two.system),
        tools=_tool_changes(one.tools.definitions, two.tools.definitions),
        metadata=_changed(metadata_dict(one.metadata), metadata_dict(two.metadata)),
        usage=_changed(before.usage.total, after.usage.total),
        turn=_changed(one.turn, two.turn),
    )


def _ancestor(one: Conversation, two: Conversation) -> Mark | None:
    """What both showed at the last settled version that they share."""

    def parted(index: int) -> bool:
        return one.marks[index].hash != two.marks[index].hash

    settled = range(min(len(one.marks), len(two.marks)))
    count = bisect_left(settled, True, key=parted)  # noqa: FBT003 - the value that is searched for
    return one.marks[count - 1] if count else None


def _shown_alone(mine: Conversation, other: Conversation, shared: int) -> Iterator[Placed]:
    """The messages that the other does not show; the first ``shared`` of both are the same."""
    theirs = sorted(
        (first, min(until, shared))
        for first, until, _ in other.view.shown(len(other.transcript))
        if first < min(until, shared)
    )
    for first, until, place in _left(mine.view.shown(len(mine.transcript)), theirs):
        for offset, message in enumerate(mine.transcript[first:until]):
            yield Placed(place + offset, message)


def _left(ranges: Iterable[Range], taken: list[tuple[int, int]]) -> Iterator[Range]:
    """What is left of ranges without those that are taken, which are sorted."""
    for first, until, place in ranges:
        start = first
        begin = bisect_left(taken, first, key=lambda one: one[1])
        for index in range(begin, len(taken)):
            low, high = taken[index]
            if low >= until:
                break
            if start < low:
                yield Range(start, low, place + start - first)
            start = max(start, high)
        if start < until:
            yield Range(start, until, place + start - first)


def _tool_changes(
    before: tuple[ToolDefinition, ...], after: tuple[ToolDefinition, ...]
) -> ToolChanges | None:
    old, new = ({tool.name: tool for tool in tools} for tools in (before, after))
    both = (Changed(old[name], new[name]) for name in old if name in new)
    changes = ToolChanges(
        tuple(tool for name, tool in old.items() if name not in new),
        tuple(tool for name, tool in new.items() if name not in old),
        tuple(change for change in both if change.before != change.after),
    )
    return None if changes == ToolChanges() else changes


def _changed(before: T, after: T) -> Changed[T] | None:
    return None if before == after else Changed(before, after)
