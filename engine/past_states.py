"""States of the past, kept at some versions: the way to any other is short then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.eventstore.errors import UnknownStream
from agent.projections import session as projection
from agent.projections.session import SessionState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.eventstore.log import EventLog
    from agent.eventstore.record import Recorded

EVERY = 256
"""Events between two states that are kept."""


class PastStates:
    """The states of one stream. What is kept is bound to its hash, and may be dropped at any time.

    States share what they have in common, so one that is kept costs next to nothing.
    """

    def __init__(self, log: EventLog, stream: str) -> None:
        self._log = log
        self._stream = stream
        self._kept: dict[int, SessionState] = {}

    def load(self) -> SessionState:
        """The state after all events, for whoever goes on from there."""
        self._kept = {}
        return self._folded(SessionState(), self._log.read(self._stream)) or SessionState()

    def at(self, version: int) -> SessionState:
        """The state after the first ``version`` events. Raises :class:`UnknownStream`."""
        kept = self._kept  # once: another thread may begin anew meanwhile
        nearest = max((one for one in tuple(kept) if one < version), default=0)
        known = kept.get(nearest, SessionState())
        facts = self._log.read(self._stream, after=nearest, until=version)
        state = self._folded(known, facts)
        if state is None:  # another stream has the name now
            self._kept = {}
            return self.at(version)
        if state.version != version:
            raise UnknownStream(f"there is no version {version}", stream=self._stream)
        return state

    def _folded(self, known: SessionState, facts: Iterable[Recorded]) -> SessionState | None:
        """A state after some more events; None if they are not those that follow it."""
        # Its lists are grown in place by whoever was first: a branch copies them when it grows.
        state, kept = known.branch(), self._kept
        for fact in facts:
            if fact.version == known.version + 1 and _parted(known, fact):
                return None
            state = projection.evolve(state, fact)
            if state.version % EVERY == 0:
                kept.setdefault(state.version, state)
        return state


def _parted(known: SessionState, fact: Recorded) -> bool:
    """Whether an event does not follow what is known."""
    return bool(known.version) and fact.hash_after(known.hash, fact.version) != fact.hash
