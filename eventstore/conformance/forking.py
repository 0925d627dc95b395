"""Forking: a child shares its parent's events up to a version, at no cost."""

from __future__ import annotations

from agent.eventstore import core
from agent.eventstore.conformance.contract import Contract
from agent.eventstore.conformance.expectations import expect, refused
from agent.eventstore.conformance.facts import forked, places, said
from agent.eventstore.errors import ConflictError, InvalidAppend, UnknownStream
from agent.eventstore.log import StreamInfo
from agent.eventstore.record import Head


class Forking(Contract):
    """Tests 31 to 45."""

    def test_31_a_fork_shares_events(self) -> None:
        """A child's first events are its parent's own: same names, hashes and positions."""
        self.grow("a", to=4)

        head = self.fork("a", "b", at=3)

        events = self.events("b")
        expect("the places", [("a", 1), ("a", 2), ("a", 3), ("b", 4)], places(events))
        expect("the shared", self.events("a")[:3], events[:3])
        expect("the answer", events[-1].head, head)
        expect("the head", head, self.log.head("b"))

    def test_32_a_fork_stores_one_event(self) -> None:
        """A fork adds one event to the log, however long its parent is."""
        self.grow("a", to=50)

        self.fork("a", "b", at=50)

        expect("the feed", [*[("a", n) for n in range(1, 51)], ("b", 51)], places(self.feed()))

    def test_33_a_fork_verifies(self) -> None:
        """The hash chain of a child holds across its fork points."""
        self.grow("a", to=3)
        self.fork("a", "b", at=2)
        self.grow("b", to=5)
        self.fork("b", "c", at=4)

        for name, versions in (("b", 5), ("c", 5)):
            chain = list(core.verified(self.log.read(name), stream=name))
            expect(name, list(range(1, versions + 1)), [fact.version for fact in chain])

    def test_34_parent_and_child_go_their_ways(self) -> None:
        """After a fork, an append to one is not seen in the other."""
        self.grow("a", to=2)
        self.fork("a", "b", at=2)
        self.grow("a", to=4)
        self.grow("b", to=5)

        expect("the parent", [("a", n) for n in (1, 2, 3, 4)], places(self.events("a")))
        expect(
            "the child",
            [("a", 1), ("a", 2), ("b", 3), ("b", 4), ("b", 5)],
            places(self.events("b")),
        )

    def test_35_a_child_is_read_by_ranges(self) -> None:
        """Ranges and types count the inherited events as the child's own."""
        self.grow("a", to=3)
        self.fork("a", "b", at=3)
        self.grow("b", to=6)

        for after, until in ((0, 2), (1, 3), (2, 4), (2, 6), (3, 4), (4, 9), (3, None)):
            found = [fact.version for fact in self.log.read("b", after=after, until=until)]
            last = 6 if until is None else min(until, 6)
            expect(f"after={after}, until={until}", list(range(after + 1, last + 1)), found)
        kept = self.log.read("b", types=core.IDENTITY_TYPES)
        expect("the types", [("a", 1), ("b", 4)], places(kept))

    def test_36_a_fork_point_lies_in_the_parent(self) -> None:
        """A fork at no version of its parent is refused and makes no stream."""
        head = self.grow("a", to=2)

        for at in (-1, 0, 3):
            fact = forked("b", "a", Head(at, head.hash))
            error = refused(
                UnknownStream,
                lambda at=at, fact=fact: self.log.fork("a", "b", at=at, prepared=fact),
            )
            expect("the stream", "a", error.stream)

        expect("the streams", ["a"], self.names())

    def test_37_a_missing_stream_cannot_be_forked(self) -> None:
        """A fork of a stream that does not exist is refused."""
        fact = forked("b", "a", Head(1, bytes(32)))

        error = refused(UnknownStream, lambda: self.log.fork("a", "b", at=1, prepared=fact))

        expect("the stream", "a", error.stream)
        expect("the streams", [], self.names())

    def test_38_a_fork_retried_is_answered_with_its_head(self) -> None:
        """The same fork again stores nothing, also after parent and child moved on."""
        point = self.grow("a", to=2)
        fact = forked("b", "a", point)
        head = self.log.fork("a", "b", at=2, prepared=fact)
        expect("at once", head, self.log.fork("a", "b", at=2, prepared=fact))
        self.grow("a", to=4)
        self.grow("b", to=5)

        expect("later", head, self.log.fork("a", "b", at=2, prepared=fact))
        expect("the number of events", 7, len(self.feed()))

    def test_39_a_child_needs_a_free_name(self) -> None:
        """A fork into a name that is taken conflicts and changes nothing."""
        self.grow("a", to=2)
        head = self.grow("b", to=1)

        error = refused(ConflictError, lambda: self.fork("a", "b", at=2))
        expect("the heads", (None, head), (error.expected, error.actual))
        refused(ConflictError, lambda: self.fork("a", "a", at=1))

        self.fork("a", "c", at=1)
        refused(ConflictError, lambda: self.fork("a", "c", at=2))
        expect("the number of events", 4, len(self.feed()))

    def test_40_a_fork_names_its_point(self) -> None:
        """The forked event must name version and hash of the fork point, or it is refused."""
        self.grow("a", to=3)
        first = self.event("a", 1).head

        for fact in (forked("b", "a", first), forked("b", "a", Head(2, bytes(32)))):
            refused(InvalidAppend, lambda fact=fact: self.log.fork("a", "b", at=2, prepared=fact))
        refused(InvalidAppend, lambda: self.log.fork("a", "b", at=2, prepared=said("x")))

        expect("the streams", ["a"], self.names())

    def test_41_a_child_needs_a_name(self) -> None:
        """A fork into an empty name is refused."""
        self.grow("a", to=1)

        refused(InvalidAppend, lambda: self.fork("a", "", at=1))

        expect("the streams", ["a"], self.names())

    def test_42_a_fork_can_be_forked(self) -> None:
        """Forks nest; each ancestor gives its own part of the history."""
        self.grow("a", to=2)
        for parent, child in zip("abcdefgh", "bcdefghi", strict=True):
            self.fork(parent, child, at=self.known(parent).version)
            self.grow(child, to=self.known(child).version + 1)

        owners = "aabbccddeeffgghhii"
        expect("the owners", owners, "".join(fact.stream for fact in self.events("i")))
        expect(
            "a range",
            owners[3:11],
            "".join(fact.stream for fact in self.log.read("i", after=3, until=11)),
        )
        list(core.verified(self.log.read("i"), stream="i"))

    def test_43_a_fork_point_may_be_inherited(self) -> None:
        """A child can be forked at any version that it shares with its ancestors."""
        self.grow("a", to=4)
        self.fork("a", "b", at=3)
        self.grow("b", to=6)

        for at in (1, 2, 3, 4, 5):
            child = f"c{at}"
            self.fork("b", child, at=at)
            self.grow(child, to=at + 2)
            expect(child, self.events("b")[:at], self.events(child)[:at])
            expect(
                f"{child}'s own",
                [(child, at + 1), (child, at + 2)],
                places(self.log.read(child, after=at)),
            )

    def test_44_a_child_is_listed_by_its_own_times(self) -> None:
        """A listing tells when the child was forked, not when its parent began."""
        point = self.grow("a", to=2)
        head = self.log.fork("a", "b", at=2, prepared=forked("b", "a", point, recorded_at=30))
        end = self.log.append("b", [said("x", recorded_at=40)], expected=head)

        expect("the listing", StreamInfo("b", end, 30, 40), list(self.log.streams())[1])

    def test_45_a_child_keeps_its_own_head(self) -> None:
        """An append to a child is checked against the child's head, not its parent's."""
        self.grow("a", to=2)
        self.fork("a", "b", at=2)
        parent, child = self.grow("a", to=3), self.known("b")

        refused(ConflictError, lambda: self.log.append("b", [said("x")], expected=parent))

        end = self.log.append("b", [said("x")], expected=child)
        expect("the heads", (parent, end), (self.log.head("a"), self.log.head("b")))
