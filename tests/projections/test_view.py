import pytest

from agent.eventstore.messages import Message
from agent.projections.snapshot import Snapshot
from agent.projections.view import View

SAID = Snapshot([Message.user(letter) for letter in "abcdef"])


def shown(view: View, skip: int = 0, length: int = 6) -> str:
    """The visible letters of the first ``length``."""
    transcript = Snapshot(SAID[:length])
    return "".join(message.text for message in view.messages(transcript, skip))


@pytest.mark.parametrize(
    ("view", "letters"),
    [
        (View(), "abcdef"),
        (View((), 4), "ef"),
        (View((), 6), ""),
        (View.of(((0, 2),), 6), "ab"),
        (View.of(((0, 2),), 4), "abef"),
        (View.of(((3, 4), (1, 3)), 5), "dbcf"),
    ],
)
def test_ranges_then_tail(view: View, letters: str):
    """A view shows its ranges in order, then the tail, and counts them without looking."""
    assert shown(view) == letters
    assert [shown(view, skip) for skip in range(8)] == [letters[skip:] for skip in range(8)]
    last = view.last(SAID)
    assert (last.text if last else "") == letters[-1:]


def test_cleared():
    """A cleared view shows only what comes later."""
    view = View.of(((0, 2),), 2).cleared(4)

    assert (shown(view, length=4), shown(view)) == ("", "ef")


def test_ended():
    """A view that ended shows what it showed then, and what comes later."""
    view = View.of(((0, 1),), 2).ended(3, 5)

    assert (view, shown(view, length=5), shown(view)) == (View.of(((0, 1), (2, 3)), 5), "ac", "acf")


def test_ended_where_it_began():
    """A view that showed no tail keeps its ranges alone."""
    assert View.of(((0, 1),), 2).ended(2, 5) == View.of(((0, 1),), 5)


def test_summarized():
    """A summary stands first, then what it does not cover."""
    view = View().summarized(2, 4)

    assert (view, shown(view)) == (View.of(((4, 5), (2, 4)), 5), "ecdf")


@pytest.mark.parametrize(("kept", "letters"), [(0, "ed"), (1, "ecd"), (2, "eacd"), (3, "ebacd")])
def test_summarized_but_for_the_last(kept: int, letters: str):
    """Between the summary and what came after stand the last that are kept, in their order."""
    view = View.of(((1, 2), (0, 1)), 2).summarized(3, 4, kept)

    assert shown(view, length=5) == letters
    assert view.count(5) == len(letters)


def test_summary_of_everything():
    """A summary of everything stands alone."""
    assert View().summarized(4, 4) == View.of(((4, 5),), 5)
