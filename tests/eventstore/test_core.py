from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.eventstore import core
from agent.eventstore.conformance.facts import attached, deleted, forked, said, started
from agent.eventstore.errors import ConflictError, CorruptLog, InvalidAppend, UnknownStream
from agent.eventstore.messages import Blob
from agent.eventstore.record import Head, Recorded, record
from tests.eventstore.exports import erased

ZERO = bytes(32)


def chain(count: int) -> list[Recorded]:
    """A stream of some events."""
    facts = [started("a"), *(said(str(number)) for number in range(1, count))]
    return record(facts, stream="a", after=None)


# Places


def test_events_are_placed():
    """Events to append are recorded after the expected head."""
    facts = [said("x"), said("y")]

    assert record(facts, stream="a", after=Head(4, ZERO)) == core.to_append(
        "a", facts, Head(4, ZERO)
    )


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ([], None),
        ([], Head(1, ZERO)),
        ([said("x")], None),
        ([started("a"), started("a")], None),
        ([started("a")], Head(1, ZERO)),
        ([deleted()], Head(1, ZERO)),
        ([forked("b", "a", Head(2, ZERO))], None),
        ([forked("b", "a", Head(2, ZERO))], Head(3, ZERO)),
        ([forked("b", "a", Head(3, ZERO))], Head(3, bytes(31) + b"x")),
    ],
)
def test_misplaced_events_are_refused(facts: list, expected: Head | None):
    """An event that cannot stand where it should be appended is refused."""
    with pytest.raises(InvalidAppend):
        core.to_append("a", facts, expected)


def test_what_has_no_hash_is_refused():
    """An event that the chain cannot hold is refused."""
    with pytest.raises(InvalidAppend):
        core.to_append("a", [said("x", recorded_at=2**63)], Head(1, ZERO))


def test_fork_is_placed():
    """A child's first own event follows the fork point."""
    fact = core.to_fork("b", forked("b", "a", Head(3, ZERO)), Head(3, ZERO))

    assert (fact.stream, fact.version, fact.type) == ("b", 4, "session.forked")


def test_deletion_is_placed():
    """A deletion follows the head."""
    fact = core.to_delete("a", deleted(), Head(3, ZERO))

    assert (fact.stream, fact.version, fact.type) == ("a", 4, "session.deleted")


def test_other_events_neither_fork_nor_delete():
    """Only the event of that name forks or deletes."""
    with pytest.raises(InvalidAppend, match=r"session\.forked"):
        core.to_fork("b", said("x"), Head(3, ZERO))
    with pytest.raises(InvalidAppend, match=r"session\.deleted"):
        core.to_delete("a", said("x"), Head(3, ZERO))


@pytest.mark.parametrize(
    ("at", "allowed"), [(-1, False), (0, False), (1, True), (3, True), (4, False)]
)
def test_fork_point_range(at: int, allowed: bool):
    """A fork point is a version from 1 to the parent's head."""
    if allowed:
        core.check_fork_point("a", at, Head(3, ZERO))
        return
    with pytest.raises(UnknownStream, match="versions 1 to 3") as caught:
        core.check_fork_point("a", at, Head(3, ZERO))
    assert caught.value.stream == "a"


def test_missing_parent():
    """A stream that does not exist has no fork point."""
    with pytest.raises(UnknownStream, match="'a'"):
        core.check_fork_point("a", 1, None)


# Retries


def settled(stored: list[Recorded], facts: list, expected: Head | None) -> Head | None:
    """What becomes of an append to a stream that holds `stored`."""
    return core.settle(
        core.to_append("a", facts, expected),
        expected=expected,
        actual=stored[-1].head if stored else None,
        hash_at=lambda version: stored[version - 1].hash,
    )


def test_new_events_are_to_be_written():
    """An append at the expected head is no retry."""
    stored = chain(3)

    assert settled([], [started("a")], None) is None
    assert settled(stored, [said("x")], stored[-1].head) is None


@pytest.mark.parametrize("behind", [0, 1, 2])
@pytest.mark.parametrize("length", [1, 2])
def test_retry_is_answered(behind: int, length: int):
    """Events that the stream already holds after the expected head are a retry."""
    stored = chain(5)
    facts = stored[5 - behind - length : 5 - behind]
    expected = stored[4 - behind - length].head

    assert facts[-1].head == settled(stored, facts, expected)


def test_what_is_no_retry_conflicts():
    """Other events than the stream holds conflict, with both heads."""
    stored = chain(5)
    expected = stored[2].head

    for facts in ([said("x")], [stored[3], said("x")], [*stored[3:], said("x")]):
        with pytest.raises(ConflictError) as caught:
            settled(stored, facts, expected)
        assert ("a", expected, stored[-1].head) == (
            caught.value.stream,
            caught.value.expected,
            caught.value.actual,
        )


def test_missing_stream_conflicts():
    """A head of a stream that does not exist is no head to append after."""
    with pytest.raises(ConflictError, match="does not exist"):
        settled([], [said("x")], Head(1, ZERO))


@pytest.mark.parametrize(
    ("expected", "actual", "words"),
    [
        (None, Head(3, ZERO), "is at version 3; the writer expected a new stream"),
        (Head(2, ZERO), Head(3, ZERO), "is at version 3; the writer expected version 2"),
        (Head(3, b"x"), Head(3, ZERO), "holds other events at version 3"),
        (Head(3, ZERO), None, "does not exist; the writer expected version 3"),
    ],
)
def test_conflict_says_what_was_found(expected: Head | None, actual: Head | None, words: str):
    """A conflict tells what was expected, what was found, and what to do."""
    text = str(ConflictError("a", expected=expected, actual=actual))

    assert words in text
    advice = "open the session anew." if actual is None else "decide again."
    assert text.endswith(advice)


# Attachments


def test_attachments_of_events():
    """Each event is told with each attachment that it names; an erased one names none."""
    facts = record(
        [attached(b"x", b"y"), said("z"), attached(b"x")], stream="a", after=Head(1, ZERO)
    )
    x, y = Blob.of(b"x"), Blob.of(b"y")

    expected = [(facts[0], x), (facts[0], y), (facts[2], x)]
    assert expected == core.attachments([*facts, erased(facts[2])])


# Lineage


@pytest.mark.parametrize(
    ("after", "until", "expected"),
    [
        (0, 9, [("a", 0, 3), ("b", 3, 5), ("c", 5, 9)]),
        (0, 3, [("a", 0, 3)]),
        (0, 4, [("a", 0, 3), ("b", 3, 4)]),
        (3, 5, [("b", 3, 5)]),
        (2, 6, [("a", 2, 3), ("b", 3, 5), ("c", 5, 6)]),
        (5, 9, [("c", 5, 9)]),
        (8, 9, [("c", 8, 9)]),
        (4, 4, []),
        (6, 2, []),
        (9, 9, []),
    ],
)
def test_segments(after: int, until: int, expected: list):
    """A range is read from whoever owns its parts, oldest first."""
    assert expected == core.segments([("c", 5), ("b", 3), ("a", 0)], after, until)


@given(
    points=st.lists(st.integers(1, 30), min_size=0, max_size=6),
    after=st.integers(0, 40),
    until=st.integers(0, 40),
)
def test_segments_cover_the_range_once(points: list[int], after: int, until: int):
    """Whatever the lineage, the segments are the asked range, without gap or overlap."""
    lineage = [(str(point), point) for point in sorted(set(points), reverse=True)] + [("root", 0)]

    found = core.segments(lineage, after, until)

    versions = [version for _, low, high in found for version in range(low + 1, high + 1)]
    assert list(range(after + 1, until + 1)) == versions
    assert all(low < high for _, low, high in found)
    for owner, low, _ in found:
        assert low >= dict(lineage)[owner]


@given(st.lists(st.integers(1, 30), min_size=1, max_size=6), st.integers(0, 40))
def test_segments_of_forks_at_inherited_versions(points: list[int], until: int):
    """An ancestor that was forked below its own fork point gives nothing."""
    lineage = [(str(index), point) for index, point in enumerate(points)] + [("root", 0)]

    found = core.segments(lineage, 0, until)

    assert list(range(1, until + 1)) == [v for _, a, b in found for v in range(a + 1, b + 1)]
    for (_, _, end), (_, begin, _) in pairwise(found):
        assert end == begin


# Checks


@pytest.mark.parametrize(
    ("order", "version"),
    [
        ([1, 3, 2], 2),
        ([2, 1, 3], 1),
        ([2, 3], 1),
        ([1, 3], 2),
        ([1, 1, 2], 2),
        ([1, 2, 2], 3),
    ],
)
def test_verified_names_the_place(order: list[int], version: int):
    """A chain out of order is found at the first place where another event should stand."""
    facts = chain(3)

    with pytest.raises(CorruptLog) as caught:
        list(core.verified([facts[n - 1] for n in order], stream="a"))

    assert ("a", version) == (caught.value.stream, caught.value.version)


def test_swapped_siblings_are_found():
    """Events of equal versions cannot be exchanged between two streams."""
    facts = chain(3)
    others = record([started("b"), *facts[1:]], stream="b", after=None)

    with pytest.raises(CorruptLog) as caught:
        list(core.verified([facts[0], others[1], facts[2]], stream="a"))

    assert caught.value.version == 2


def test_an_empty_chain_verifies():
    """Nothing to verify is fine."""
    assert list(core.verified([], stream="a")) == []
