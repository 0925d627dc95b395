"""Whether a log, a stream or an export is intact: all that is wrong in it, as data.

Three levels, each with what the one before it checks. ``heads``: versions without gaps, heads,
positions. ``chain``: the hash of each event, recomputed from the stored bytes, and that forks go on
from their parents. ``full``: payloads decode, attachments are there.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Protocol, runtime_checkable

import msgspec

from agent.eventstore import core
from agent.eventstore.chain import GENESIS, SALT_BYTES
from agent.eventstore.errors import (
    AttachmentMissing,
    CorruptLog,
    InvalidExport,
    StoreError,
    UnknownEvent,
)
from agent.eventstore.events import SessionForked
from agent.eventstore.export import parse_entries, parse_export
from agent.eventstore.findings import LEVELS, MOST, Finding, Verification
from agent.eventstore.record import Head, Recorded
from agent.eventstore.residue import PAYLOAD_ERASED, Residues, residue_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from agent.eventstore.findings import Level, Reached
    from agent.eventstore.log import EventLog, StreamInfo

START = Head(0, GENESIS)


@runtime_checkable
class Inspectable(Protocol):
    """A log that can show rows which no reading of streams or of the feed reaches."""

    def strays(self, *, contents: bool) -> Iterator[Finding]:
        """The rows that belong to nothing; with ``contents`` also what is damaged in them."""
        ...

    def links(self, position: int) -> set[str]:
        """The attachments that the log has noted for the event at a position."""
        ...


class Walk:
    """What is counted and found along the way."""

    def __init__(self, level: Level, log: EventLog | None) -> None:
        if level not in LEVELS:
            raise ValueError(f"level= is one of {', '.join(LEVELS)}, not {level!r}")
        self.level: Level = level
        self.log = log
        self.events = self.attachments = self.omitted = self.unread = self.unlinked = 0
        self.findings: list[Finding] = []
        self._residues = Residues()
        self.line = 0

    def find(self, finding: Finding) -> None:
        """Keep a finding, with the line that is read."""
        if len(self.findings) < MOST:
            self.findings.append(msgspec.structs.replace(finding, line=self.line))
        else:
            self.omitted += 1

    def at(self, fact: Recorded, reason: str, expected: object = "", actual: object = "") -> None:
        """Find something about an event."""
        place = (fact.stream, fact.version, fact.position or 0)
        self.find(Finding(*place, reason, str(expected), str(actual)))

    def corrupt(self, error: CorruptLog) -> None:
        """Find what an error says."""
        self.find(Finding(error.stream, error.version, 0, error.reason))

    def step(self, fact: Recorded, previous: Head) -> Head:
        """Check one event after the one before it; returns where the next one must go on."""
        self.events += 1
        if fact.version != previous.version + 1:
            wanted = previous.version + 1
            self.at(fact, "the version does not follow", wanted, fact.version)
        elif self.level != "heads":
            self._hash(fact, previous.hash)
            if fact.erased_digest is not None or fact.type == PAYLOAD_ERASED:
                for place, reason in self._residues.see(fact):
                    self.at(place, reason)
        if self.level == "full":
            self._content(fact)
        return Head(fact.version, fact.hash)

    def _hash(self, fact: Recorded, previous: bytes) -> None:
        salt = fact.salt
        if salt is not None and len(salt) != SALT_BYTES:
            self.at(fact, "the salt has a wrong length", SALT_BYTES, len(salt))
        if (salt is None) is (fact.erased_digest is None):
            self.at(fact, "it needs either a salt or a digest")
        try:
            actual = fact.hash_after(previous, fact.version)
        except ValueError as error:
            self.at(fact, f"the event cannot be hashed: {error}")
            return
        if actual != fact.hash:
            self.at(fact, "the event does not match its hash", fact.hash.hex(), actual.hex())

    def _content(self, fact: Recorded) -> None:
        try:
            attached = core.attachments([fact])
            event = fact.event
        except UnknownEvent:
            self.unread += 1
            return
        except CorruptLog as error:
            self.at(fact, error.reason)
            return
        if fact.erased and residue_of(event) != event:
            self.at(fact, "the event was erased, and still holds a text")
        linked = None
        if attached and isinstance(self.log, Inspectable):
            linked = self.log.links(fact.position or 0)
        for _, blob in attached:
            self.attachments += 1
            if linked is not None and blob.digest not in linked:
                self.at(fact, "an attachment is not noted for its event", blob.digest)
            try:
                data = self.log.get_blob(blob.digest) if self.log else blob.data
            except AttachmentMissing:
                data = None
            if self.log and (data is None or len(data) != blob.size):
                self.at(fact, "an attachment is missing or not whole", blob.digest)

    def result(self, streams: int, head: Head | None = None) -> Verification:
        """What came of it."""
        return Verification(
            self.level,
            streams,
            self.events,
            self.attachments,
            head,
            self.findings,
            self.omitted,
            self.unread,
            self.unlinked,
            self._residues.unwitnessed,
        )


def verify_stream(log: EventLog, stream: str, *, level: Level = "chain") -> Verification:
    """Check one stream, the inherited events included. One that does not exist has no head."""
    walk = Walk(level, log)
    previous, head = START, None
    try:
        head = log.head(stream)
        for fact in log.read(stream, until=head.version if head else 0):
            previous = walk.step(fact, previous)
    except CorruptLog as error:
        walk.corrupt(error)
    else:
        if (head or START) != previous:
            reason = "the stream does not end at its head"
            walk.find(Finding(stream, previous.version, 0, reason, _said(head), _said(previous)))
    return walk.result(1 if head else 0, head)


def verify_log(
    log: EventLog, *, level: Level = "chain", progress: Reached | None = None
) -> Verification:
    """Check a whole log, each event once. Memory grows with the streams, not with the events.

    A log that is written to meanwhile is checked as far as it was at the start. ``progress`` is
    told the position of each event.
    """
    walk = Walk(level, log)
    listed = {info.stream: info for info in log.streams()}
    feed = _Feed(walk, listed)
    try:
        for fact in log.read_all():
            feed.step(fact)
            if progress:
                progress(fact.position or 0)
    except CorruptLog as error:
        walk.corrupt(error)
    feed.end(log)
    if isinstance(log, Inspectable):
        for stray in log.strays(contents=level == "full"):
            walk.find(stray)
    return walk.result(len(listed))


class _Told(msgspec.Struct, frozen=True):
    """What a deletion tells of what it followed."""

    previous: Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{64})?$")] = ""
    since: int = 0


class _Feed:
    """The feed of a log: many streams at once, each gone on with where it was left."""

    def __init__(self, walk: Walk, listed: dict[str, StreamInfo]) -> None:
        self._walk = walk
        self._listed = listed
        self._heads: dict[str, Head] = {}
        self._position = 0
        self._missing = 0
        self._gap: Recorded | None = None
        self._purged = range(1)

    def step(self, fact: Recorded) -> None:
        if fact.position == self._position + 1:
            self._position += 1
        else:
            self._place(fact)
        previous = self._heads.get(fact.stream)
        if fact.type != core.DELETED:
            self._heads[fact.stream] = self._walk.step(fact, previous or self._beginning(fact))
            return
        self._heads.pop(fact.stream, None)
        if previous and previous.version >= fact.version - 1:
            self._walk.step(fact, previous)
        else:
            self._purge(fact, previous.version if previous else 0)

    def _purge(self, fact: Recorded, kept: int) -> None:
        """A deletion: what it followed is purged, and only itself tells what that was."""
        told = self._told(fact)
        most = fact.version - 1 - (kept or max(told.since - 1, 0))
        least = most if kept or told.since else 1  # of a fork the first logs do not tell
        self._purged = range(self._purged.start + least, self._purged.stop + most)
        if told.previous:
            self._walk.step(fact, Head(fact.version - 1, bytes.fromhex(told.previous)))
            return
        self._walk.unlinked += 1
        self._walk.events += 1

    def _told(self, fact: Recorded) -> _Told:
        """What a deletion tells, also one of a later release."""
        try:
            with suppress(UnknownEvent):
                _ = fact.event
            return msgspec.json.decode(fact.payload, type=_Told)
        except CorruptLog as error:
            self._walk.at(fact, error.reason)
        except (msgspec.MsgspecError, UnicodeError) as error:
            self._walk.at(fact, f"what it follows cannot be told: {error}")
        return _Told()

    def _place(self, fact: Recorded) -> None:
        position = fact.position or 0
        if position <= self._position:
            self._walk.at(fact, "the position does not follow", self._position + 1, position)
        if position > self._position + 1:
            self._gap = self._gap or fact
        self._missing += position - self._position - 1
        self._position = position

    def _beginning(self, fact: Recorded) -> Head:
        """What a stream's own first event must follow: nothing, or its fork point."""
        if fact.type != core.FORKED:
            return START
        try:
            event = fact.event
            if isinstance(event, SessionForked):
                return Head(event.at, bytes.fromhex(event.parent_hash))
        except (CorruptLog, UnknownEvent, ValueError):
            return self._inherited(fact)
        return START

    def _inherited(self, fact: Recorded) -> Head:
        """The fork point as the log has it, where the fork itself does not tell."""
        log = self._walk.log
        assert log is not None  # noqa: S101 - a feed is of a log
        try:
            points = list(log.read(fact.stream, after=fact.version - 2, until=fact.version - 1))
        except CorruptLog:
            points = []
        return points[0].head if points else START

    def end(self, log: EventLog) -> None:
        """Compare what was walked with what the log lists, and how forks hang together."""
        for stream, head in self._heads.items():
            if stream not in self._listed and log.head(stream) is None:
                place = (stream, head.version, 0)
                self._walk.find(Finding(*place, "the log does not list the stream of this event"))
        for stream, info in self._listed.items():
            self._listing(log, stream, info)
        if self._missing not in self._purged:
            reason = "positions are missing before it, or taken by what was moved"
            least, most = self._purged.start, self._purged.stop - 1
            wanted = str(least) if least == most else f"{least} to {most}"
            gap = self._gap
            place = (gap.stream, gap.version, gap.position or 0) if gap else ("", 0, 0)
            self._walk.find(Finding(*place, reason, wanted, str(self._missing)))

    def _listing(self, log: EventLog, stream: str, info: StreamInfo) -> None:
        head = self._heads.get(stream)
        if head is None and info.head and log.head(stream) is None:
            return  # deleted meanwhile
        if info.head is None or head is None or head.version < info.head.version:
            reason = "the stream does not end at its head"
            place = (stream, head.version if head else 0, 0)
            self._walk.find(Finding(*place, reason, _said(info.head), _said(head)))
            return
        try:
            for fact in log.read(stream, types=[core.FORKED]):
                self._lineage(log, stream, fact)
            first = next(iter(log.read(stream, until=1)), None)
        except CorruptLog as error:
            self._walk.corrupt(error)
            return
        if first is None or first.version != 1:
            self._walk.find(Finding(stream, 1, 0, "the stream has lost its beginning"))

    def _lineage(self, log: EventLog, stream: str, fact: Recorded) -> None:
        before = fact.version - 1
        point = next(iter(log.read(stream, after=before - 1, until=before)), None)
        try:
            event = fact.event
        except (CorruptLog, UnknownEvent):
            return
        wanted = event.parent_hash if isinstance(event, SessionForked) else ""
        found = point.hash.hex() if point else "nothing"
        if found != wanted:
            self._walk.at(fact, "the fork does not go on from its parent", wanted, found)


def verify_export(data: Mapping[str, Any], *, level: Level = "full") -> Verification:
    """Check an export, as ``session.to_dict()`` gives it. It needs no log."""
    walk = Walk("chain" if level == "full" else level, None)
    previous = START
    try:
        entries = parse_entries(data)
        for fact in entries:
            previous = walk.step(fact, previous)
    except InvalidExport as error:
        walk.find(_of_export(data, error))
    if not walk.findings:
        try:
            parse_export(data)
        except InvalidExport as error:
            walk.find(_of_export(data, error))
    found = walk.result(1, previous)
    return msgspec.structs.replace(found, level=level)


def _of_export(data: Mapping[str, Any], error: StoreError) -> Finding:
    version = error.version if isinstance(error, InvalidExport) else 0
    reason = error.reason if isinstance(error, InvalidExport) else str(error)
    session = data.get("session_id") if isinstance(data, dict) else None
    return Finding(session if isinstance(session, str) else "", version, 0, reason)


def _said(head: Head | None) -> str:
    return f"{head.version} {head.hash.hex()}" if head else "nothing"
