"""Changes of a history outside of turns: what may be recorded, given what is visible now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.engine.errors import CannotRewind, ConfigurationError
from agent.eventstore.events import HistoryRewound, MessageAdded
from agent.projections.pairing import Pairing

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.eventstore.messages import Message
    from agent.projections.conversation import Conversation


def added(now: Conversation, messages: Iterable[Message]) -> Iterator[MessageAdded]:
    """Messages by hand. Raises :class:`PairingError` where one cannot follow."""
    pairing = Pairing(now.view.last(now.transcript))
    for message in messages:
        pairing.see(message)
        yield MessageAdded(message=message)


def rewound(now: Conversation, to: int) -> Iterator[HistoryRewound]:
    """Back, or forward, to a settled version. Raises :class:`CannotRewind`."""
    if now.mark_at(to) is None:
        nearest = now.settled_near(to)
        versions = " and ".join(map(str, nearest))
        raise CannotRewind(
            f"at version {to} a turn is open; the nearest without one: {versions}", nearest=nearest
        )
    if to != now.version:
        yield HistoryRewound(to=to)


def undone(now: Conversation, turns: int) -> Iterator[HistoryRewound]:
    """Back to before the last turns of the history. Raises :class:`CannotRewind`."""
    if type(turns) is not int or turns < 1:
        raise ConfigurationError(f"turns must be at least 1, not {turns!r}")
    to = now.version
    for found in range(turns):
        mark = now.mark_at(to)
        to = mark.undo_to if mark else 0
        if not to:
            raise CannotRewind(
                f"the history has {found} of {turns} turns to undo; rewind(to=...) goes back to "
                "what it showed before a clear, or before a message was added by hand",
                nearest=(),
            )
    yield HistoryRewound(to=to)
