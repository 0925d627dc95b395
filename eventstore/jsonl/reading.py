"""Lines as events, one at a time, with all that is wrong in them as findings.

Memory grows with the sessions, fork points and names of attachments, not with the events.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from agent.eventstore import core
from agent.eventstore.errors import CorruptLog, InvalidAppend, InvalidExport, UnknownEvent
from agent.eventstore.events import SessionForked
from agent.eventstore.export import check_payload, recorded_of
from agent.eventstore.jsonl.lines import (
    FORMAT,
    FORMAT_VERSION,
    LONGEST,
    LONGEST_HEADER,
    AttachmentLine,
    EndLine,
    EventLine,
    Header,
    Line,
    SessionLine,
    decoder,
)
from agent.eventstore.record import Head, Recorded
from agent.eventstore.verify import START, Finding, Walk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CHUNK = 2**16


@dataclass
class Section:
    """A session of the file: where it begins, the fork points among its own events, its head."""

    name: str
    parent: Section | None
    at: int
    forks: frozenset[int]
    head: Head | None
    joints: list[tuple[Head, str]] = field(default_factory=list[tuple[Head, str]])

    def owner(self, version: int) -> Section:
        """Who holds one of its versions."""
        section = self
        while section.parent and version <= section.at:
            section = section.parent
        return section


class Reader:
    """A file that is read from its first line to its last.

    Findings go to ``walk``, which hashes as far as its level says. With ``payloads`` attachments
    come with the events that name them, and on a level above ``heads`` payloads are checked.
    ``advanced`` is told the bytes of each line.
    """

    def __init__(
        self,
        file: BinaryIO,
        walk: Walk,
        *,
        payloads: bool,
        advanced: Callable[[int], object] | None = None,
    ) -> None:
        self.sections: dict[str, Section] = {}
        self.unknown: UnknownEvent | None = None
        self._file = file
        self._walk = walk
        self._payloads = payloads
        self._advanced = advanced
        self._sum = hashlib.sha256()
        self._section: Section | None = None
        self._points: dict[tuple[str, int], Head] = {}
        self._pending: dict[str, AttachmentLine] = {}
        self._sizes: dict[str, int] = {}
        self._ended = False

    def events(self) -> Iterator[tuple[Section, Recorded]]:
        """Every event that can be read, with the session that it belongs to."""
        line = self._raw(LONGEST_HEADER)
        if line is None and not self._walk.findings:
            self._find("it is empty")
        if line is None or not self._is_header(line):
            return
        self._sum.update(line)
        while (line := self._raw(LONGEST)) is not None:
            if self._ended:
                self._find("something follows the last line")
                return
            read = self._decoded(line)
            if isinstance(read, EventLine):
                yield from self._event(read)
            else:
                self._between(read)
            self._sum.update(line)
        if not self._ended:
            self._find("the last line is missing: the file was cut")

    # Lines

    def _raw(self, longest: int) -> bytes | None:
        """A line, the next of those that are whole; None at the end of the file."""
        while line := self._file.readline(longest + 1):
            self._walk.line += 1
            if line.endswith(b"\n"):
                self._advance(line)
                return line
            self._sum.update(line)
            more = len(line) > longest
            self._find(
                f"it is longer than {longest} bytes" if more else "it was cut: it has no end"
            )
            if longest == LONGEST_HEADER:
                return None
            while more and line and not line.endswith(b"\n"):
                self._advance(line)
                line = self._file.readline(_CHUNK)
                self._sum.update(line)
            self._lose()
        self._walk.line += 1
        return None

    def _advance(self, line: bytes) -> None:
        if self._advanced:
            self._advanced(len(line))

    def _is_header(self, line: bytes) -> bool:
        try:
            found = msgspec.json.decode(line)
            if not isinstance(found, dict) or found.get("format") != FORMAT:  # pyright: ignore[reportUnknownMemberType]
                self._find(f"this is no {FORMAT!r} file, which store.export() makes")
                return False
            header = msgspec.convert(found, Header)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            self._find(f"this is no {FORMAT!r} file, which store.export() makes: {error}")
            return False
        if header.format_version > FORMAT_VERSION:
            self._find(
                f"format version {header.format_version} is later than {FORMAT_VERSION}; "
                "use the release that wrote it, or a later one"
            )
        return header.format_version <= FORMAT_VERSION

    def _decoded(self, line: bytes) -> Line | None:
        try:
            return decoder.decode(line)
        except UnicodeError as error:
            self._find(f"it is no UTF-8: {error}")
        except (msgspec.MsgspecError, RecursionError) as error:
            self._find(str(error))
        return None

    def _find(self, reason: str, expected: object = "", actual: object = "") -> None:
        name = self._section.name if self._section else ""
        self._walk.find(Finding(name, 0, 0, reason, str(expected), str(actual)))

    def _lose(self) -> None:
        """A line is unreadable: what comes next has nothing to be compared with."""
        if self._section:
            self._section.head = None

    # Sessions

    def _between(self, line: SessionLine | AttachmentLine | EndLine | None) -> None:
        match line:
            case None:
                self._lose()
            case SessionLine():
                self._begin(line)
            case AttachmentLine():
                self._attach(line)
            case EndLine():
                self._end(line)

    def _begin(self, line: SessionLine) -> None:
        self._close()
        parent = self.sections.get(line.parent) if line.parent is not None else None
        head = START if line.parent is None else self._points.get((line.parent, line.at))
        self._section = Section(line.session, parent, line.at, frozenset(line.forks), head)
        if line.session in self.sections:
            self._find("the session is there twice")
        if head is None or head.version != line.at:
            self._find("what it was forked from does not come before it, or not as far")
        self.sections[line.session] = self._section

    def _close(self) -> None:
        """The session ends here, and the next begins, or the last line comes."""
        self._unnamed()
        if self._section and self._section.head and self._section.head.version <= self._section.at:
            self._find("the session has no events")

    def _end(self, line: EndLine) -> None:
        self._close()
        self._ended = True
        self._section = None
        actual = self._sum.hexdigest()
        if line.sha256 != actual:
            self._find("the bytes before it are not those that were written", line.sha256, actual)
        for name in sorted(line.sessions.keys() | self.sections.keys()):
            wanted, section = line.sessions.get(name), self.sections.get(name)
            self._section = section
            found = section and section.head
            said = f"{found.version} {found.hash.hex()}" if found else "nothing"
            named = f"{wanted.version} {wanted.hash}" if wanted else "nothing"
            if said != named:
                self._walk.find(
                    Finding(name, 0, 0, "the session does not end at its head", named, said)
                )
        self._section = None
        for what, named, counted in (
            ("events", line.events, self._walk.events),
            ("attachments", line.attachments, self._walk.attachments),
        ):
            if named != counted:
                self._find(f"there are not as many {what} as it says", named, counted)

    # Events

    def _event(self, line: EventLine) -> Iterator[tuple[Section, Recorded]]:
        section = self._section
        if section is None:
            self._find("the event belongs to no session")
            return
        try:
            fact = recorded_of(line, section.name)
        except ValueError as error:
            self._find(f"a field does not decode: {error}")
            self._lose()
            return
        previous, section.head = section.head, fact.head
        if previous is None:
            self._walk.events += 1
        else:
            self._walk.step(fact, previous)
            self._place(section, fact, previous)
        if fact.version in section.forks:
            self._points[section.name, fact.version] = fact.head
        if self._payloads:
            self._content(fact)
        self._unnamed()
        yield section, fact

    def _place(self, section: Section, fact: Recorded, previous: Head) -> None:
        if fact.version != previous.version + 1:
            return
        try:
            core.check_place(fact, previous.hash)
            if fact.type == core.FORKED:
                event = fact.event
                assert isinstance(event, SessionForked)  # noqa: S101 - check_place has looked
                section.joints.append((previous, event.parent))
            elif section.parent and fact.version == section.at + 1:
                self._walk.at(fact, f"a fork begins with {core.FORKED}, not with {fact.type}")
        except (InvalidAppend, CorruptLog, UnknownEvent) as error:
            self._walk.at(fact, str(error))

    def _content(self, fact: Recorded) -> None:
        """Look into a payload, and give the attachments that it names to the event."""
        try:
            if self._walk.level != "heads":
                check_payload(fact)
            named = core.attachments([fact])
        except UnknownEvent as error:
            self._walk.unread += 1
            self.unknown = self.unknown or error
            self._pending.clear()
            return
        except (CorruptLog, InvalidExport) as error:
            self._walk.at(fact, error.reason)
            return
        for _, blob in named:
            if self._sizes.get(blob.digest) != blob.size:
                self._walk.at(fact, "an attachment is missing or not whole", blob.digest)
            elif blob.digest in self._pending:
                blob.bringing(self._pending.pop(blob.digest).data)

    def _attach(self, line: AttachmentLine) -> None:
        self._walk.attachments += 1
        if line.digest in self._sizes:
            self._find("the attachment is there twice")
        if self._payloads and hashlib.sha256(line.data).hexdigest() != line.digest:
            self._find("the attachment has other content than its name says")
        self._sizes[line.digest] = len(line.data)
        if self._payloads:
            self._pending[line.digest] = line

    def _unnamed(self) -> None:
        """Attachments come right before the event that names them."""
        if self._pending:
            self._find(f"it does not name the attachment {min(self._pending)} before it")
            self._pending.clear()
