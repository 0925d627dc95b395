"""Attachments: stored once by their content, kept as long as an event names them."""

from __future__ import annotations

import hashlib

from agent.eventstore.conformance.contract import Contract
from agent.eventstore.conformance.expectations import expect, refused
from agent.eventstore.conformance.facts import (
    attached,
    attached_as,
    attached_to_result,
    bringing,
    said,
    started,
)
from agent.eventstore.errors import AttachmentMissing, ConflictError


class Attachments(Contract):
    """Tests 61 to 70."""

    def test_61_an_attachment_is_known_by_its_content(self) -> None:
        """Put twice, an attachment is one; its name is the SHA-256 of its bytes."""
        for data in (b"", b"\x00\xff\n'\"", b"data" * 300_000):
            name = hashlib.sha256(data).hexdigest()
            expect("the name", (name, name), (self.log.put_blob(data), self.log.put_blob(data)))
            expect("the bytes", data, self.log.get_blob(name))

    def test_62_an_attachment_that_was_never_put_is_missing(self) -> None:
        """To get what the log does not hold is refused, with its name."""
        name = hashlib.sha256(b"x").hexdigest()

        error = refused(AttachmentMissing, lambda: self.log.get_blob(name))

        expect("the name", name, error.digest)

    def test_63_an_attachment_comes_before_the_event(self) -> None:
        """An event that only names an attachment is refused until the log has it, of that size."""
        facts = [started("a"), attached(b"x")]
        error = refused(AttachmentMissing, lambda: self.log.append("a", facts, expected=None))
        expect("the name", hashlib.sha256(b"x").hexdigest(), error.digest)

        lying = [started("a"), attached_as(error.digest, 2)]
        self.log.put_blob(b"x")

        refused(AttachmentMissing, lambda: self.log.append("a", lying, expected=None))
        expect("the feed", [], self.feed())
        expect("the version", 2, self.log.append("a", facts, expected=None).version)

    def test_64_an_attachment_inside_a_result_counts(self) -> None:
        """What a tool's result names must be there too, and is kept for it."""
        facts = [started("a"), attached_to_result(b"x")]
        refused(AttachmentMissing, lambda: self.log.append("a", facts, expected=None))
        name = self.log.put_blob(b"x")
        self.log.append("a", facts, expected=None)

        expect("the bytes", b"x", self.log.get_blob(name))
        self.delete("a")
        refused(AttachmentMissing, lambda: self.log.get_blob(name))

    def test_65_an_attachment_goes_with_its_last_event(self) -> None:
        """An attachment is purged when the last event that names it is."""
        name, other = self.log.put_blob(b"x"), self.log.put_blob(b"y")
        self.log.append(
            "a", [started("a"), attached(b"x", b"x"), attached(b"x", b"y")], expected=None
        )
        self.log.append("b", [started("b"), attached(b"x")], expected=None)

        self.delete("a")
        refused(AttachmentMissing, lambda: self.log.get_blob(other))
        expect("still named", b"x", self.log.get_blob(name))
        self.delete("b")
        refused(AttachmentMissing, lambda: self.log.get_blob(name))

    def test_66_a_fork_keeps_what_it_shares(self) -> None:
        """An attachment of a deleted parent stays as long as a fork shares its event."""
        name = self.log.put_blob(b"x")
        self.log.append("a", [started("a"), attached(b"x")], expected=None)
        self.fork("a", "b", at=2)

        self.delete("a")
        expect("while forked", b"x", self.log.get_blob(name))
        self.delete("b")
        refused(AttachmentMissing, lambda: self.log.get_blob(name))

    def test_67_a_fork_keeps_nothing_else(self) -> None:
        """An attachment past every fork point goes with the parent."""
        name = self.log.put_blob(b"x")
        self.log.append("a", [started("a"), said("one"), attached(b"x")], expected=None)
        self.fork("a", "b", at=2)

        self.delete("a")

        refused(AttachmentMissing, lambda: self.log.get_blob(name))

    def test_68_a_purged_attachment_can_be_put_again(self) -> None:
        """After a purge the same bytes can be stored anew."""
        name = self.log.put_blob(b"x")
        self.log.append("a", [started("a"), attached(b"x")], expected=None)
        self.delete("a")
        self.log.put_blob(b"x")

        self.log.append("a", [started("a"), attached(b"x")], expected=None)

        expect("the bytes", b"x", self.log.get_blob(name))

    def test_69_an_attachment_may_come_with_its_event(self) -> None:
        """Bytes that an event brings along are stored with it, or not at all."""
        name = hashlib.sha256(b"x").hexdigest()
        head = self.log.append("a", [started("a")], expected=None)
        late = [started("a"), bringing(b"x", b"y")]
        refused(ConflictError, lambda: self.log.append("a", late, expected=None))
        refused(AttachmentMissing, lambda: self.log.get_blob(name))

        self.log.append("a", [bringing(b"x", b"y"), attached(b"x")], expected=head)

        expect("the bytes", b"x", self.log.get_blob(name))
        self.delete("a")
        refused(AttachmentMissing, lambda: self.log.get_blob(name))

    def test_70_a_retry_needs_no_attachment_again(self) -> None:
        """A retried append counts an attachment once: it still goes with the stream."""
        name = self.log.put_blob(b"x")
        facts = [started("a"), attached(b"x")]
        self.log.append("a", facts, expected=None)
        self.log.append("a", facts, expected=None)

        self.delete("a")

        refused(AttachmentMissing, lambda: self.log.get_blob(name))
