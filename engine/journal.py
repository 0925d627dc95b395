"""The events of a turn before and after they are durable.

Recording an event folds it at once into an "as if" state, from which the next request is built.
The session adopts that state only when the log has acknowledged the events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.engine.effects import Append, Effect, Emit
from agent.eventstore.record import record
from agent.projections import session as projection

if TYPE_CHECKING:
    from collections.abc import Generator
    from typing import Any

    from agent.engine.sources import Sources
    from agent.engine.stream import StreamEvent
    from agent.eventstore.events import Event
    from agent.eventstore.record import Recorded
    from agent.projections.session import SessionState


class Journal:
    """One stream's state, ``committed`` and as if what is recorded were durable too.

    ``begun`` are the tenures of turns that were begun or resumed here: the last that landed, and
    those of which the log has not said whether they did.
    """

    def __init__(
        self,
        stream: str,
        committed: SessionState,
        sources: Sources,
        begun: frozenset[bytes] = frozenset(),
    ) -> None:
        self.stream = stream
        self.committed = committed
        self.state = committed
        self.begun = begun
        self._sources = sources
        self._opening = 0
        self._opened = committed
        self._pending: list[Recorded] = []
        self._announced: list[StreamEvent[Any]] = []

    @property
    def pending(self) -> tuple[Recorded, ...]:
        """Recorded, but not durable yet."""
        return tuple(self._pending)

    def record(self, event: Event) -> Recorded:
        """Record an event."""
        fact = self.fact_of(event)
        self.state = projection.evolve(self.state, fact)
        self._pending.append(fact)
        return fact

    def fact_of(self, event: Event) -> Recorded:
        """The event at the place where it comes."""
        (fact,) = record([self._sources.prepare(event)], stream=self.stream, after=self.state.head)
        return fact

    def announce(self, event: StreamEvent[Any]) -> None:
        """Tell the caller something once everything recorded is durable."""
        self._announced.append(event)

    def commit(self) -> Generator[Effect, Any, None]:
        """Make everything recorded durable, then announce it."""
        if self._pending:
            yield Append(self.pending, self.committed.head, self.state)
        announced, self._announced = self._announced, []
        for event in announced:
            yield Emit(event)

    def settle(self, append: Append) -> None:
        """The log has acknowledged an append; saying so twice is fine."""
        if self.committed is append.state:
            return
        done = len(append.events)
        left, opening = self._pending[done:], max(0, self._opening - done)
        # No calls from here on: Ctrl-C comes in between calls, and must not leave half of this.
        self.committed, self._pending, self._opening = append.state, left, opening

    def keep(self) -> None:
        """Let what is recorded by now survive :meth:`forget`: it opens or configures the stream."""
        self._opening = len(self._pending)
        self._opened = self.state

    @property
    def opening(self) -> tuple[Recorded, ...]:
        """What was kept and is not durable yet."""
        return tuple(self._pending[: self._opening])

    @property
    def shown(self) -> SessionState:
        """The state that the session shows: committed, with the opening as if it were."""
        return self._opened if self._opening else self.committed

    def forget(self) -> None:
        """Drop what is not durable, except for what was to be kept."""
        self._pending = self._pending[: self._opening]
        self.state = self.shown
        self._announced.clear()
