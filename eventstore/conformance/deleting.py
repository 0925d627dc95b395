"""Deleting: the name is free at once, the events go when no fork needs them."""

from __future__ import annotations

from agent.eventstore import core
from agent.eventstore.conformance.contract import Contract
from agent.eventstore.conformance.expectations import ConformanceFailure, expect, refused
from agent.eventstore.conformance.facts import deleted, forked, places, positions, said, started
from agent.eventstore.errors import ConflictError, InvalidAppend, UnknownStream
from agent.eventstore.events import SessionDeleted


class Deleting(Contract):
    """Tests 46 to 60."""

    def test_46_a_deleted_stream_is_gone(self) -> None:
        """A deleted stream has no head, no events, and is not listed."""
        self.grow("a", to=3)
        self.grow("b", to=1)

        expect("the answer", True, self.delete("a"))  # noqa: FBT003 - the answer, not a flag

        expect("the head", None, self.log.head("a"))
        expect("the events", [], self.events("a"))
        expect("the streams", ["b"], self.names())

    def test_47_a_missing_stream_is_not_deleted(self) -> None:
        """To delete what does not exist, or no longer, answers False and records nothing."""
        expect("never made", False, self.delete("a"))  # noqa: FBT003 - the answer, not a flag
        self.grow("a", to=1)
        self.delete("a")

        expect("deleted before", False, self.delete("a"))  # noqa: FBT003 - the answer, not a flag
        expect("the feed", [("a", 2)], places(self.feed()))

    def test_48_a_deletion_is_in_the_feed(self) -> None:
        """Of a deleted stream the feed keeps the ``session.deleted``, chained to what was there.

        It names the hash that it follows, and the first version that was the stream's own.
        """
        head = self.grow("a", to=3)

        self.log.delete("a", deleted("on request"))

        (tombstone,) = self.feed()
        expect("the place", ("a", 4), (tombstone.stream, tombstone.version))
        told = SessionDeleted(reason="on request", previous=head.hash.hex(), since=1)
        expect("the event", told, tombstone.event)
        expect("the chain", [tombstone], list(core.verified([tombstone], stream="a", after=head)))

    def test_49_a_deletion_is_recorded_as_such(self) -> None:
        """Only ``session.deleted`` deletes a stream."""
        head = self.grow("a", to=2)

        refused(InvalidAppend, lambda: self.log.delete("a", said("gone")))

        expect("the head", head, self.log.head("a"))

    def test_50_a_name_can_be_used_again(self) -> None:
        """A stream made under a freed name begins at version 1 and has only its own events."""
        self.grow("a", to=3)
        self.delete("a")

        first = started("a", recorded_at=1)
        head = self.log.append("a", [first, said("new")], expected=None)

        expect(
            "the events",
            [first.payload, said("new").payload],
            [f.payload for f in self.events("a")],
        )
        expect("the head", head, self.log.head("a"))
        expect("the streams", ["a"], self.names())
        expect("the feed", [("a", 4), ("a", 1), ("a", 2)], places(self.feed()))

    def test_51_an_append_to_a_deleted_stream_conflicts(self) -> None:
        """A writer that missed the deletion conflicts, also when the name is in use again."""
        head = self.grow("a", to=2)
        self.delete("a")

        error = refused(ConflictError, lambda: self.log.append("a", [said("x")], expected=head))
        expect("the actual head", None, error.actual)

        again = self.log.append("a", [started("a", recorded_at=1), said("new")], expected=None)
        error = refused(ConflictError, lambda: self.log.append("a", [said("x")], expected=head))
        expect("the actual head", again, error.actual)

    def test_52_a_deleted_stream_cannot_be_forked(self) -> None:
        """A deleted stream is no parent, even while another fork keeps its events."""
        point = self.grow("a", to=2)
        self.fork("a", "b", at=2)
        self.delete("a")

        refused(
            UnknownStream, lambda: self.log.fork("a", "c", at=2, prepared=forked("c", "a", point))
        )

        expect("the streams", ["b"], self.names())

    def test_53_a_child_outlives_its_parent(self) -> None:
        """A child reads, verifies and grows on after its parent was deleted."""
        self.grow("a", to=4)
        self.fork("a", "b", at=3)
        before = self.events("b")

        self.delete("a")

        expect("the events", before, self.events("b"))
        self.grow("b", to=6)
        chain = core.verified(self.log.read("b"), stream="b")
        expect("the versions", [1, 2, 3, 4, 5, 6], [fact.version for fact in chain])
        expect(
            "a range", [3, 4, 5], [fact.version for fact in self.log.read("b", after=2, until=5)]
        )

    def test_54_what_no_fork_needs_goes_at_once(self) -> None:
        """Of a deleted parent only the versions that living forks share are kept."""
        self.grow("a", to=6)
        self.fork("a", "b", at=2)
        self.fork("a", "c", at=4)

        self.delete("a")

        kept = [("a", 1), ("a", 2), ("a", 3), ("a", 4), ("b", 3), ("c", 5), ("a", 7)]
        expect("the feed", kept, places(self.feed()))

    def test_55_the_rest_goes_with_the_last_fork(self) -> None:
        """Each deleted fork takes along what only it needed of its deleted parent."""
        self.grow("a", to=6)
        self.fork("a", "b", at=2)
        self.fork("a", "c", at=4)
        self.delete("a")

        self.delete("c")
        kept = [("a", 1), ("a", 2), ("b", 3), ("a", 7), ("c", 6)]
        expect("without one fork", kept, places(self.feed()))
        self.delete("b")
        expect("without forks", [("a", 7), ("c", 6), ("b", 4)], places(self.feed()))

    def test_56_a_deleted_child_leaves_its_parent_whole(self) -> None:
        """To delete a fork changes nothing of the parent or of its other forks."""
        self.grow("a", to=3)
        self.fork("a", "b", at=2)
        self.fork("a", "c", at=2)
        before = self.events("a"), self.events("c")

        self.delete("b")

        expect("the others", before, (self.events("a"), self.events("c")))
        expect("the streams", ["a", "c"], self.names())

    def test_57_a_grandchild_outlives_all(self) -> None:
        """A fork of a fork keeps what it shares of each ancestor, and takes it along at its end."""
        self.grow("a", to=4)
        self.fork("a", "b", at=3)
        self.grow("b", to=6)
        self.fork("b", "c", at=5)
        before = self.events("c")

        self.delete("a")
        self.delete("b")
        expect("the events", before, self.events("c"))
        expect("the kept", before, [f for f in self.feed() if f.type != core.DELETED])

        self.delete("c")
        expect("the rest", {core.DELETED}, {fact.type for fact in self.feed()})

    def test_58_a_grandchild_needs_only_what_it_shares(self) -> None:
        """A fork at an inherited version keeps nothing of the stream that it went through."""
        self.grow("a", to=4)
        self.fork("a", "b", at=3)
        self.grow("b", to=6)
        self.fork("b", "c", at=2)

        self.delete("b")
        expect("without the middle", [("a", 1), ("a", 2), ("c", 3)], places(self.events("c")))
        expect(
            "the middle", [("b", 7)], [place for place in places(self.feed()) if place[0] == "b"]
        )
        self.delete("a")
        kept = [("a", 1), ("a", 2), ("c", 3), ("b", 7), ("a", 5)]
        expect("without the root", kept, places(self.feed()))

    def test_59_a_child_keeps_to_its_parent_under_a_reused_name(self) -> None:
        """A new stream under the parent's name is none of the child's business."""
        self.grow("a", to=3)
        self.fork("a", "b", at=2)
        before = self.events("b")
        self.delete("a")
        first = started("a", recorded_at=1)

        self.log.append("a", [first, said("new"), said("newer")], expected=None)

        expect("the child", before, self.events("b"))
        self.delete("b")
        expect("the new one", [1, 2, 3], [fact.version for fact in self.events("a")])

    def test_60_no_position_is_used_twice(self) -> None:
        """Positions only increase, whatever was purged; a checkpoint stays good."""
        self.grow("a", to=3)
        self.grow("b", to=3)
        seen = positions(self.feed())
        self.delete("b")
        self.delete("a")
        (before, last) = positions(self.feed())

        self.grow("c", to=2)

        later = positions(self.log.read_all(after=last))
        expect("the new ones", 2, len(later))
        order = [*seen, before, last, *later]
        if order != sorted(set(order)):
            raise ConformanceFailure(f"positions do not only increase: {order}")
