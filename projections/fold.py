"""What a projection is: a first state, and a function that says how one event changes it."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agent.eventstore.record import Recorded

S = TypeVar("S")


def rebuild(evolve: Callable[[S, Recorded], S], events: Iterable[Recorded], state: S) -> S:
    """Fold events onto a state.

    For every cut of the events, ``rebuild(f, a + b, s) == rebuild(f, b, rebuild(f, a, s))``.
    """
    return reduce(evolve, events, state)
