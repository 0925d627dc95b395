"""Erasing: texts are gone from every stream that shares them, and all else stays as it was."""

from __future__ import annotations

from agent.eventstore import core
from agent.eventstore.conformance.contract import Contract
from agent.eventstore.conformance.expectations import expect, refused
from agent.eventstore.conformance.facts import attached, bringing, erasing, places, said
from agent.eventstore.core import ToErase
from agent.eventstore.errors import AttachmentMissing, ConflictError, InvalidAppend
from agent.eventstore.messages import Blob


class Erasing(Contract):
    """Tests 78 to 87."""

    def erase(self, version: int, *streams: str) -> None:
        """Erase one version in all of these streams."""
        fact, residue = erasing(self.event(streams[0], version))
        told = [ToErase(stream, self.known(stream), [fact]) for stream in streams]
        self.log.erase(told, residue)

    def test_78_an_erased_event_keeps_its_place(self) -> None:
        """What is left of an event stands where it was, with its hash, and the chain verifies."""
        self.grow("a", to=4)
        before = self.events("a")

        self.erase(2, "a")

        after = self.events("a")
        expect("the places", [fact.position for fact in before], [f.position for f in after[:4]])
        expect("the hashes", [fact.hash for fact in before], [fact.hash for fact in after[:4]])
        expect("the salt", None, after[1].salt)
        expect("the digest", before[1].digest, after[1].erased_digest)
        expect("the others", [before[0], *before[2:]], [after[0], *after[2:4]])
        expect("the chain", after, list(core.verified(after, stream="a")))

    def test_79_an_erasure_is_an_event(self) -> None:
        """The stream ends with the ``payload.erased``, and the feed has it."""
        self.grow("a", to=3)
        fact, _ = erasing(self.event("a", 2))

        self.erase(2, "a")

        expect("the event", fact.event, self.events("a")[-1].event)
        expect("the head", 4, self.known("a").version)
        expect("the feed", [("a", 1), ("a", 2), ("a", 3), ("a", 4)], places(self.feed()))
        expect("what is left, in the feed", True, self.feed()[1].erased)  # noqa: FBT003 - what is found

    def test_80_forks_lose_the_text_too(self) -> None:
        """Every stream that shares the event is told, and reads what is left of it."""
        self.grow("a", to=3)
        self.fork("a", "b", at=2)
        self.fork("b", "c", at=3)

        self.erase(2, "a", "b", "c")

        for stream in ("a", "b", "c"):
            events = self.events(stream)
            expect(f"the event in {stream}", True, events[1].erased)  # noqa: FBT003 - what is found
            expect(f"the end of {stream}", "payload.erased", events[-1].type)

    def test_81_an_untold_fork_is_refused(self) -> None:
        """An erasure that a stream is not told of conflicts, and changes nothing."""
        self.grow("a", to=3)
        self.fork("a", "b", at=2)
        before = self.feed()

        error = refused(ConflictError, lambda: self.erase(2, "a"))

        expect("who was not told", "b", error.stream)
        expect("the feed", before, self.feed())
        self.erase(3, "a")
        expect("what b does not share", 4, self.known("a").version)

    def test_82_a_stream_that_moved_on_conflicts(self) -> None:
        """All streams or none: one that is not where it was expected keeps its text, and all."""
        self.grow("a", to=3)
        self.fork("a", "b", at=2)
        fact, residue = erasing(self.event("a", 2))
        told = [ToErase(stream, self.known(stream), [fact]) for stream in ("a", "b")]
        self.grow("b", to=4)
        before = self.feed()

        error = refused(ConflictError, lambda: self.log.erase(told, residue))

        expect("which one", "b", error.stream)
        expect("the feed", before, self.feed())

    def test_83_a_retry_of_an_erasure_is_recognised(self) -> None:
        """The same erasure again changes nothing, also when the stream has grown since."""
        self.grow("a", to=3)
        fact, residue = erasing(self.event("a", 2))
        told = [ToErase("a", self.known("a"), [fact])]
        self.log.erase(told, residue)
        self.grow("a", to=6)
        before = self.feed()

        self.log.erase(told, residue)

        expect("the feed", before, self.feed())

    def test_84_another_event_is_not_erased(self) -> None:
        """What is left has to be that of the event at its version, as the events say."""
        self.grow("a", to=3)
        self.grow("b", to=3)
        before = self.feed()
        fact, residue = erasing(self.event("a", 2))
        key = self.event("a", 2).hash.hex()

        for attempt in (
            lambda: self.log.erase([ToErase("b", self.known("b"), [fact])], residue),
            lambda: self.log.erase([ToErase("a", self.known("a"), [fact])], {key: b"{}"}),
            lambda: self.log.erase([ToErase("a", self.known("a"), [fact])], {}),
            lambda: self.log.erase([ToErase("a", self.known("a"), [said("x")])], residue),
        ):
            refused(InvalidAppend, attempt)

        expect("the feed", before, self.feed())

    def test_85_attachments_go_with_the_last_event(self) -> None:
        """An attachment is gone once nothing names it any more, and not before."""
        head = self.grow("a", to=1)
        self.log.append("a", [bringing(b"x", b"y"), attached(b"x")], expected=head)

        self.erase(2, "a")

        expect("still named", b"x", self.log.get_blob(Blob.of(b"x").digest))
        refused(AttachmentMissing, lambda: self.log.get_blob(Blob.of(b"y").digest))

    def test_86_copies_are_found_by_their_hash(self) -> None:
        """A stream that holds the same events as rows of its own is told as a fork is."""
        self.grow("a", to=3)
        self.log.append("b", self.events("a"), expected=None)

        error = refused(ConflictError, lambda: self.erase(2, "a"))
        self.erase(2, "a", "b")

        expect("who was not told", "b", error.stream)
        expect("the copy", True, self.event("b", 2).erased)  # noqa: FBT003 - what is found

    def test_87_an_erasure_is_durable(self) -> None:
        """Opened anew, the log has what is left, and nothing else."""
        self.grow("a", to=3)
        self.erase(2, "a")
        before = self.feed()

        again = self.reopen(self.log)

        if again is not None:
            self._log = again
            expect("the feed", before, self.feed())
