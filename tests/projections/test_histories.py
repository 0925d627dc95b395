from random import Random

import pytest
from hypothesis import Phase, find, given, settings

from agent.eventstore.backends.memory import MemoryLog
from agent.eventstore.core import verified
from agent.eventstore.events import EVENTS
from tests.projections.histories import History, histories, keep, stored

ENDS_A_STREAM = {"session.deleted", "payload.erased"}


@given(histories())
def test_histories_are_chained(history: History):
    """Every drawn history is a valid chain of stored events."""
    assert history.facts == list(verified(stored(history.facts), stream="s0"))


@given(histories(max_moves=15))
def test_histories_can_be_kept(history: History):
    """A log takes every drawn history, forks included, and gives it back."""
    log = MemoryLog()
    keep(history, log)

    assert [fact.hash for fact in history.facts] == [f.hash for f in log.read(history.stream)]


@pytest.mark.parametrize("wanted", sorted(EVENTS.keys() - ENDS_A_STREAM))
def test_every_event_is_drawn(wanted: str):
    """Every kind of event that a living session can hold occurs in some history."""
    found = find(
        histories(),
        lambda history: wanted in {fact.type for fact in history.facts},
        settings=settings(max_examples=1000, database=None, phases=[Phase.generate]),
        random=Random(0),
    )

    assert wanted in {fact.type for fact in found.facts}
