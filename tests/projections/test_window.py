from itertools import pairwise

import pytest

from agent.eventstore.events import Event, MessageAdded
from agent.eventstore.messages import Message
from agent.eventstore.values import Excerpt
from agent.projections.window import windowed
from tests.projections.given import (
    COMPLETED,
    asked,
    begun,
    folded,
    requested,
    responded,
    returned,
    turn,
)


def turns(count: int) -> list[Event]:
    """So many plain turns."""
    return [event for number in range(count) for event in turn(f"q{number}", f"a{number}")]


def steps(count: int) -> list[Event]:
    """A turn with so many steps before its answer: two messages each, and two more."""
    called = [
        event
        for step in range(1, count + 1)
        for event in (requested(step), asked(f"x{step}"), returned(f"x{step}", ""))
    ]
    return [begun(), *called, requested(count + 1), responded("done"), COMPLETED]


@pytest.mark.parametrize(("size", "count"), [(None, 9), (6, 3), (100, 9), (1, 0)])
def test_what_fits_is_read_whole(size: int | None, count: int):
    """Without a window, or with room in it, the model reads the whole history."""
    assert windowed(folded(*turns(count)), size) is None


@pytest.mark.parametrize(
    ("size", "starts"),
    [
        (2, [None, 2, 4, 6, 8, 10, 12]),
        (4, [None, None, 2, 4, 6, 8, 10]),
        (8, [None, None, None, None, 4, 4, 8]),
    ],
)
def test_a_window_moves_in_steps(size: int, starts: list[int | None]):
    """A full window moves by half its size; until it is full again, it begins where it began."""
    found = [windowed(folded(*turns(count)), size) for count in range(1, 8)]

    assert [excerpt and excerpt.start for excerpt in found] == starts


def test_a_large_window_rarely_moves():
    """Over 400 messages a window of 40 begins at few places, and never holds less than half."""
    found = [(windowed(folded(*turns(count)), 40) or Excerpt()).start for count in range(200)]

    assert len(set(found)) == 19
    assert all(0 <= after - before <= 20 for before, after in pairwise(found))
    assert all(20 <= 2 * count - start <= 40 for count, start in enumerate(found) if start)


def test_a_window_begins_with_a_user():
    """A window never begins with results, or with an answer to what it does not show."""
    state = folded(*turns(1), *steps(1), *turns(2))

    assert [message.role for message in state.messages[4:6]] == ["tool", "assistant"]
    assert windowed(state, 6) == Excerpt(6)
    assert windowed(state, 5) == Excerpt(6)


def test_a_long_turn_is_left_whole():
    """Of a last turn that is longer than the window nothing is left out."""
    state = folded(*turns(2), *steps(5))

    assert len(state.messages) == 16
    assert windowed(state, 4) == Excerpt(4)
    assert windowed(folded(*steps(5)), 4) is None


def test_a_history_without_users():
    """Where no user has spoken there is no place to begin: the whole history is read."""
    said = [MessageAdded(message=Message.assistant("x")) for _ in range(5)]

    assert windowed(folded(*said), 2) is None
    assert windowed(folded(*said, *turns(1)), 2) == Excerpt(5)
