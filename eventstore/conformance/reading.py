"""Reading: a stream by version, the log by position."""

from __future__ import annotations

from agent.eventstore import core
from agent.eventstore.conformance.contract import Contract
from agent.eventstore.conformance.expectations import ConformanceFailure, expect
from agent.eventstore.conformance.facts import fixed, places, positions, said, started
from agent.eventstore.events import HistoryCleared
from agent.eventstore.log import StreamInfo


class Reading(Contract):
    """Tests 20 to 30."""

    def test_20_a_stream_verifies(self) -> None:
        """Read back, a stream is contiguous and its hash chain holds."""
        head = self.grow("a", to=5)

        chain = list(core.verified(self.log.read("a"), stream="a"))

        expect("the versions", [1, 2, 3, 4, 5], [fact.version for fact in chain])
        expect("the head", head, chain[-1].head)

    def test_21_read_begins_after_a_version(self) -> None:
        """``after=n`` leaves out the first n events."""
        self.grow("a", to=5)

        for after, versions in ((0, [1, 2, 3, 4, 5]), (3, [4, 5]), (5, []), (9, [])):
            found = [fact.version for fact in self.log.read("a", after=after)]
            expect(f"after={after}", versions, found)

    def test_22_read_ends_with_a_version(self) -> None:
        """``until=n`` leaves out what comes after version n; an empty range has no events."""
        self.grow("a", to=5)

        for after, until, versions in (
            (0, 2, [1, 2]),
            (1, 3, [2, 3]),
            (3, 9, [4, 5]),
            (3, 3, []),
            (4, 2, []),
            (0, 0, []),
        ):
            found = [fact.version for fact in self.log.read("a", after=after, until=until)]
            expect(f"after={after}, until={until}", versions, found)

    def test_23_read_keeps_the_types_asked_for(self) -> None:
        """``types`` keeps only events of these types; of no types, none."""
        head = self.log.append(
            "a", [started("a"), said("one"), fixed(HistoryCleared())], expected=None
        )
        self.log.append("a", [said("two")], expected=head)

        for types, versions in (
            (("message.added",), [2, 4]),
            (core.IDENTITY_TYPES, [1]),
            ({"history.cleared", "message.added"}, [2, 3, 4]),
            (["it's none"], []),
            ((), []),
        ):
            found = [fact.version for fact in self.log.read("a", types=types)]
            expect(f"types={types!r}", versions, found)
        ranged = self.log.read("a", after=2, until=3, types=["message.added", "history.cleared"])
        expect("in a range", [3], [fact.version for fact in ranged])

    def test_24_a_missing_stream_has_no_events(self) -> None:
        """A stream that does not exist has no head and no events; asking makes no stream."""
        self.grow("a", to=1)

        expect("the head", None, self.log.head("b"))
        expect("the events", [], self.events("b"))
        expect("the streams", ["a"], self.names())

    def test_25_a_long_stream_is_read_whole(self) -> None:
        """However long a stream is, it is read whole and in order, and so is the feed."""
        facts = [started("a"), *(said(str(number)) for number in range(1299))]
        head = self.log.append("a", facts, expected=None)

        expect("the events", list(range(1, 1301)), [fact.version for fact in self.events("a")])
        expect(
            "a range",
            list(range(101, 1201)),
            [fact.version for fact in self.log.read("a", after=100, until=1200)],
        )
        expect("the feed", list(range(1, 1301)), [fact.version for fact in self.feed()])
        expect("the head", head, self.log.head("a"))

    def test_26_the_feed_has_each_event_once(self) -> None:
        """The feed is every event of the log once, in the order of their appends."""
        self.grow("a", to=2)
        self.grow("b", to=2)
        self.grow("a", to=3)

        expected = [("a", 1), ("a", 2), ("b", 1), ("b", 2), ("a", 3)]
        expect("the feed", expected, places(self.feed()))

    def test_27_an_event_is_the_same_in_stream_and_feed(self) -> None:
        """The feed and the stream tell the same of an event, its position included."""
        self.grow("a", to=3)
        self.grow("b", to=2)

        expect("the events", self.events("a"), self.feed()[:3])
        expect("the events", self.events("b"), self.feed()[3:])

    def test_28_the_feed_goes_on_after_a_checkpoint(self) -> None:
        """``after=position`` gives what came later; from any checkpoint on, nothing is missed."""
        self.grow("a", to=4)
        self.grow("b", to=3)
        feed = self.feed()

        expect("from the start", feed, list(self.log.read_all(after=0)))
        for index, fact in enumerate(feed, start=1):
            found = list(self.log.read_all(after=fact.position or 0))
            expect(f"after event {index}", feed[index:], found)

    def test_29_positions_are_contiguous(self) -> None:
        """As long as nothing was purged, each event has the position after the one before it."""
        self.grow("a", to=3)
        self.grow("b", to=2)
        self.fork("a", "c", at=2)
        self.grow("c", to=5)

        found = positions(self.feed())
        expect("the positions", list(range(found[0], found[0] + 8)), found)
        if found[0] < 1:
            raise ConformanceFailure(f"positions begin at {found[0]}, not after 0")

    def test_30_streams_are_listed_by_name(self) -> None:
        """A listing has each stream once, by name, with its head and its first and last time."""
        expect("an empty log", [], list(self.log.streams()))
        facts = [
            started("b", recorded_at=5),
            said("one", recorded_at=9),
            said("two", recorded_at=7),
        ]
        b = self.log.append("b", facts, expected=None)
        a = self.log.append("a", [started("a", recorded_at=6)], expected=None)

        expected = [StreamInfo("a", a, 6, 6), StreamInfo("b", b, 5, 7)]
        expect("the listing", expected, list(self.log.streams()))
