"""Where a session comes from: its root and every fork on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agent.eventstore.events import SessionForked, SessionStarted

if TYPE_CHECKING:
    from agent.eventstore.record import Recorded


class Ancestor(msgspec.Struct, frozen=True):
    """A session of the lineage, and the version of its own first event."""

    session_id: str
    since: int


class Lineage(msgspec.Struct, frozen=True):
    """The sessions whose events this one holds, the root first, itself last."""

    sessions: tuple[Ancestor, ...] = ()

    @property
    def parent(self) -> str | None:
        """The id of the session that this one was forked from."""
        return self.sessions[-2].session_id if len(self.sessions) > 1 else None


_TYPES = {"session.started", "session.forked"}


def evolve(state: Lineage, fact: Recorded) -> Lineage:
    """The lineage after one more event."""
    if fact.type not in _TYPES:
        return state
    match fact.event:
        case SessionStarted(session_id=session_id) | SessionForked(session_id=session_id):
            return Lineage((*state.sessions, Ancestor(session_id, fact.version)))
        case _:
            return state
