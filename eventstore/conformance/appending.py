"""Appending: all or none, after the expected head, and safe to call again."""

from __future__ import annotations

import msgspec

from agent.eventstore.conformance.contract import Contract
from agent.eventstore.conformance.expectations import expect, refused
from agent.eventstore.conformance.facts import (
    attached,
    deleted,
    forked,
    places,
    said,
    started,
)
from agent.eventstore.errors import AttachmentMissing, ConflictError, InvalidAppend
from agent.eventstore.events import MetadataChanged
from agent.eventstore.record import Head, Prepared, prepare

NAMES = (
    "it's",
    'say "yes"',
    "a/b",
    "../a",
    "a\\b",
    "a b",
    " a",
    "a",
    "A",
    "%",
    "_",
    "*",
    "?",
    "a\nb",
    "a\x00b",
    "'; DROP TABLE events; --",
    "\N{SLIGHTLY SMILING FACE}",
    "\N{LATIN SMALL LETTER E WITH ACUTE}",
    "e\N{COMBINING ACUTE ACCENT}",
    "\N{LATIN SMALL LETTER SHARP S}",
    "ss",
    "0",
    "0.0",
    "long" * 200,
)


class Appending(Contract):
    """Tests 01 to 19."""

    def test_01_an_append_makes_a_stream(self) -> None:
        """The first append makes the stream and answers with the head of the last event."""
        head = self.log.append("a", [started("a"), said("one")], expected=None)

        first, last = self.events("a")
        expect("places", [("a", 1), ("a", 2)], places([first, last]))
        expect("the answer", last.head, head)
        expect("the head", head, self.log.head("a"))

    def test_02_an_append_goes_after_the_expected_head(self) -> None:
        """An append at the stream's head adds its events there, in their order."""
        head = self.grow("a", to=1)

        self.log.append("a", [said("one"), said("two")], expected=head)

        added = [fact.payload for fact in self.log.read("a", after=1)]
        expect("the events", [said("one").payload, said("two").payload], added)

    def test_03_an_append_is_atomic(self) -> None:
        """When one event of an append is refused, none of them is stored."""
        head = self.grow("a", to=1)
        facts = [said("one"), attached(b"never stored"), said("two")]

        refused(AttachmentMissing, lambda: self.log.append("a", facts, expected=head))

        expect("the head", head, self.log.head("a"))
        expect("the feed", [("a", 1)], places(self.feed()))

    def test_04_a_stale_version_conflicts(self) -> None:
        """An append behind the stream's head is refused, with both heads, and changes nothing."""
        stale = self.grow("a", to=2)
        head = self.grow("a", to=4)

        error = refused(ConflictError, lambda: self.log.append("a", [said("late")], expected=stale))

        expect("the error", ("a", stale, head), (error.stream, error.expected, error.actual))
        expect("the head", head, self.log.head("a"))
        expect("the feed", [("a", version) for version in (1, 2, 3, 4)], places(self.feed()))

    def test_05_a_version_to_come_conflicts(self) -> None:
        """An append ahead of the stream's head is refused."""
        head = self.grow("a", to=2)
        ahead = Head(3, bytes(32))

        error = refused(
            ConflictError, lambda: self.log.append("a", [said("early")], expected=ahead)
        )

        expect("the actual head", head, error.actual)

    def test_06_another_hash_at_the_same_version_conflicts(self) -> None:
        """An append after other events than the stream's is refused, at an equal version too."""
        head = self.grow("a", to=2)
        other = Head(2, bytes(32))

        error = refused(
            ConflictError, lambda: self.log.append("a", [said("astray")], expected=other)
        )

        expect("the heads", (other, head), (error.expected, error.actual))
        expect("the head", head, self.log.head("a"))

    def test_07_none_expects_that_there_is_no_stream(self) -> None:
        """A stream is made once: other first events than the stored ones conflict."""
        head = self.grow("a", to=1)
        other = started("a", recorded_at=1)

        error = refused(ConflictError, lambda: self.log.append("a", [other], expected=None))

        expect("the heads", (None, head), (error.expected, error.actual))

    def test_08_a_head_expects_that_there_is_a_stream(self) -> None:
        """An append after a head conflicts when there is no stream."""
        head = self.grow("a", to=1)

        error = refused(ConflictError, lambda: self.log.append("b", [said("x")], expected=head))

        expect("the heads", (head, None), (error.expected, error.actual))

    def test_09_a_retry_is_answered_with_its_head(self) -> None:
        """The same append again stores nothing and answers as the first time."""
        first = [started("a"), said("one")]
        head = self.log.append("a", first, expected=None)
        then = [said("two"), said("three")]
        end = self.log.append("a", then, expected=head)

        expect("the retry", end, self.log.append("a", then, expected=head))
        expect("the feed", [("a", version) for version in (1, 2, 3, 4)], places(self.feed()))

    def test_10_a_late_retry_is_answered_with_its_head(self) -> None:
        """A retry is known for one also after the stream moved on."""
        first = [started("a"), said("one")]
        head = self.log.append("a", first, expected=None)
        second = self.log.append("a", [said("two")], expected=head)
        end = self.grow("a", to=6)

        expect("the first", head, self.log.append("a", first, expected=None))
        expect("the second", second, self.log.append("a", [said("two")], expected=head))
        expect("the head", end, self.log.head("a"))

    def test_11_half_a_retry_conflicts(self) -> None:
        """Events that begin as the stored ones and go on differently are no retry."""
        head = self.grow("a", to=1)
        end = self.log.append("a", [said("one"), said("two")], expected=head)
        other = [said("one"), said("other")]
        longer = [said("one"), said("two"), said("three")]

        refused(ConflictError, lambda: self.log.append("a", other, expected=head))
        refused(ConflictError, lambda: self.log.append("a", longer, expected=head))

        expect("the head", end, self.log.head("a"))

    def test_12_an_empty_append_is_refused(self) -> None:
        """An append of no events is refused, for a new stream as for an old one."""
        head = self.grow("a", to=1)

        refused(InvalidAppend, lambda: self.log.append("a", [], expected=head))
        refused(InvalidAppend, lambda: self.log.append("b", [], expected=None))

        expect("the streams", ["a"], self.names())

    def test_13_a_stream_begins_with_its_start(self) -> None:
        """Version 1 is ``session.started``, and no other version is."""
        head = self.grow("a", to=1)

        refused(InvalidAppend, lambda: self.log.append("b", [said("x")], expected=None))
        refused(InvalidAppend, lambda: self.log.append("a", [started("a")], expected=head))
        twice = [started("b"), started("b")]
        refused(InvalidAppend, lambda: self.log.append("b", twice, expected=None))

        expect("the feed", [("a", 1)], places(self.feed()))

    def test_14_an_appended_fork_names_its_point(self) -> None:
        """``session.forked`` is appended only where it names the event before it."""
        self.grow("a", to=2)
        first = self.event("a", 1).head
        head = self.known("a")
        elsewhere = forked("b", "a", first)
        astray = forked("b", "a", Head(2, bytes(32)))

        refused(InvalidAppend, lambda: self.log.append("a", [elsewhere], expected=head))
        refused(InvalidAppend, lambda: self.log.append("a", [astray], expected=head))
        self.log.append("a", [forked("b", "a", head)], expected=head)

        expect("the types", ["session.forked"], [f.type for f in self.log.read("a", after=2)])

    def test_15_an_append_deletes_nothing(self) -> None:
        """``session.deleted`` is not for append: delete records it."""
        head = self.grow("a", to=1)

        refused(InvalidAppend, lambda: self.log.append("a", [deleted()], expected=head))

        expect("the head", head, self.log.head("a"))

    def test_16_what_was_prepared_comes_back_unchanged(self) -> None:
        """Bytes, salt and time of an event are stored and read as they were prepared."""
        raw = b'{ "b" : 1.50e2,\t"a":"\\u0000\\u00e9\xc3\xa9\xf0\x9f\x99\x82", "b":[ ] }'
        event = MetadataChanged(metadata=msgspec.Raw(raw))
        times = (0, 1, -1, 2**63 - 1, -(2**63))
        facts = [
            prepare(event, recorded_at=t, salt=bytes(range(n, n + 16))) for n, t in enumerate(times)
        ]

        self.log.append("a", [started("a"), *facts], expected=None)

        expect(
            "the prepared",
            [_content(f) for f in facts],
            [_content(f) for f in self.log.read("a", after=1)],
        )

    def test_17_a_large_event_comes_back_unchanged(self) -> None:
        """An event of a megabyte is stored as any other."""
        large = said("\N{SNOWMAN}" * 350_000)

        self.log.append("a", [started("a"), large], expected=None)

        expect("the prepared", _content(large), _content(self.event("a", 2)))

    def test_18_names_are_taken_literally(self) -> None:
        """Names that differ in anything name different streams: quotes, slashes, case, form."""
        for name in NAMES:
            self.log.append(name, [started(name)], expected=None)

        expect("the streams", sorted(NAMES), self.names())
        found = [fact.event for name in NAMES for fact in self.log.read(name)]
        expect("the events", [started(name).event for name in NAMES], found)

    def test_19_a_name_is_text(self) -> None:
        """An empty name, or one that no UTF-8 can hold, names no stream."""
        for name in ("", "\ud800"):
            fact = started("a")
            refused(
                InvalidAppend,
                lambda name=name, fact=fact: self.log.append(name, [fact], expected=None),
            )

        expect("the streams", [], self.names())


def _content(fact: Prepared) -> tuple[object, ...]:
    return fact.type, fact.schema, fact.recorded_at, fact.codec, fact.salt, fact.payload
