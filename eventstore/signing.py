"""Signed heads: notes to keep elsewhere, against truncation and rewriting.

A note is a checkpoint (:mod:`agent.eventstore.checkpoints`) with a signature
(:mod:`agent.eventstore.notes`). Needs the extra ``sign``: ``pip install 'agent-sessions[sign]'``.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from agent.eventstore import core
from agent.eventstore.checkpoints import (
    Mark,
    Tree,
    checkpoint_of_log,
    checkpoint_of_stream,
    hashed,
    opened,
    origin_of,
    placed,
)
from agent.eventstore.errors import CorruptLog, InvalidExport, UnknownEvent, UnknownStream
from agent.eventstore.events import SessionDeleted
from agent.eventstore.export import parse_entries
from agent.eventstore.findings import Finding, Level, Reached, Verification
from agent.eventstore.verify import verify_export, verify_log, verify_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from agent.eventstore.checkpoints import Checkpoint
    from agent.eventstore.log import EventLog
    from agent.eventstore.notes import SigningKey, VerifyingKey
    from agent.eventstore.record import Recorded

SHORTER = "the end is missing that a signed head covers"
OTHER = "it holds other events than a signed head covers"
GONE = "the session is missing that a signed head covers"


def sign_log(log: EventLog, key: SigningKey, *, progress: Reached | None = None) -> str:
    """Check a whole log and sign it. Raises :class:`CorruptLog` for the first thing found."""
    _refuse(verify_log(log, progress=progress))
    return key.sign(checkpoint_of_log(key.name, log.read_all()).text)


def sign_stream(log: EventLog, stream: str, key: SigningKey) -> str:
    """Check a stream and sign it. Raises :class:`CorruptLog`, :class:`UnknownStream`."""
    found = verify_stream(log, stream)
    _refuse(found)
    if found.head is None:
        raise UnknownStream(f"there is no session {stream!r} to sign", stream=stream)
    facts = log.read(stream, until=found.head.version)
    return key.sign(checkpoint_of_stream(origin_of(key.name, stream), stream, facts).text)


def verify_signed_log(
    log: EventLog,
    note: str,
    key: VerifyingKey,
    *,
    level: Level = "chain",
    progress: Reached | None = None,
) -> Verification:
    """Check a log, and that it begins with what a note signed. Raises :class:`InvalidNote`.

    After a session was deleted, the others are held against their heads in the note: ``deleted``
    names it, and how the others follow each other is proven no more.
    """
    signed = opened(note, key, key.name)
    found = verify_log(log, level=level, progress=progress)
    differs = _difference(signed, log.read_all(), placed)
    return _Marks(log, signed).explained(found, differs) if differs else found


def verify_signed_stream(
    log: EventLog, stream: str, note: str, key: VerifyingKey, *, level: Level = "chain"
) -> Verification:
    """Check a stream, and that it begins with what a note signed. Raises :class:`InvalidNote`."""
    signed = opened(note, key, origin_of(key.name, stream))
    found = verify_stream(log, stream, level=level)
    differs = _difference(signed, log.read(stream), hashed)
    return _Marks(log, signed).explained(found, differs) if differs else found


def verify_signed_export(
    data: Mapping[str, Any], stream: str, note: str, key: VerifyingKey
) -> Verification:
    """Check an export against the note of the stream that it is of. Raises :class:`InvalidNote`."""
    signed = opened(note, key, origin_of(key.name, stream))
    found = verify_export(data)
    try:
        recorded = list(parse_entries(data))
    except InvalidExport:
        return found
    differs = _difference(signed, recorded, hashed)
    hashes = {fact.version: fact.hash for fact in recorded}
    broken = _first_broken(signed.marks, hashes.get) if differs else None
    if broken and broken.reason == SHORTER:
        last = max(hashes, default=0)
        broken = msgspec.structs.replace(broken, version=last, actual=str(last))
    return _with(found, [broken or differs]) if differs else found


def _difference(
    signed: Checkpoint, recorded: Iterable[Recorded], leaf: Callable[[Recorded], bytes]
) -> Finding | None:
    """What the root of the tree tells: whether anything is missing, or other than it was."""
    tree, last, reason = Tree(), None, ""
    try:
        for fact in recorded:
            if tree.size == signed.size:
                break
            tree.add(leaf(fact))
            last = fact
    except CorruptLog as error:
        reason = error.reason
    position = (last.position or 0) if last else 0
    if tree.size < signed.size:
        size = str(signed.size), str(tree.size)
        return Finding("", 0, position, reason or SHORTER, *size)
    if tree.root() != signed.root:
        return Finding("", 0, position, OTHER, signed.root.hex(), tree.root().hex())
    return None


class _Marks:
    """Holds a log against the marks of a note."""

    def __init__(self, log: EventLog, signed: Checkpoint) -> None:
        self._log = log
        self._signed: dict[str, list[Mark]] = {}
        self._ended: list[Mark] = []
        self._last = max((mark.position for mark in signed.marks), default=0)
        for mark in signed.marks:
            kept = self._ended if mark.ended else self._signed.setdefault(mark.stream, [])
            kept.append(mark)

    def explained(self, found: Verification, differs: Finding) -> Verification:
        """Where the difference is; a deletion since then explains one, if all else is as it was."""
        ends = {
            fact.position or 0: fact for fact in self._log.read_all() if fact.type == core.DELETED
        }
        placed = [*self._other_ends(ends)]
        later = (fact for position, fact in ends.items() if position > self._last)
        deleted = {fact.stream for fact in later if self._could_end(fact)}
        streams = (stream for stream in self._signed if stream not in deleted)
        placed += [finding for stream in streams if (finding := self._broken(stream))]
        if placed or not deleted:
            return _with(found, placed or [differs])
        return msgspec.structs.replace(found, deleted=sorted(deleted))

    def _other_ends(self, ends: Mapping[int, Recorded]) -> Iterator[Finding]:
        """What is said otherwise now of streams that had been deleted."""
        for mark in self._ended:
            fact = ends.get(mark.position)
            if fact is None or (fact.stream, fact.hash) != (mark.stream, mark.hash):
                actual = (fact.hash.hex(), fact.stream) if fact else ("nothing", "")
                words = f"{mark.hash.hex()} {mark.stream}", " ".join(filter(None, actual))
                yield Finding(mark.stream, mark.version, mark.position, OTHER, *words)

    def _could_end(self, fact: Recorded) -> bool:
        """Whether a deletion is one of a stream as it was signed, or of what became of it."""
        last = self._signed[fact.stream][-1] if fact.stream in self._signed else None
        if last is None or fact.version != last.version + 1:
            return last is not None
        try:
            event = fact.event
        except (CorruptLog, UnknownEvent):
            return False
        told = event.previous if isinstance(event, SessionDeleted) else ""
        return told in ("", last.hash.hex())

    def _broken(self, stream: str) -> Finding | None:
        marks = self._signed[stream]
        try:
            head = self._log.head(stream)
            if head is None:
                last = marks[-1]
                place = (stream, last.version, last.position)
                return Finding(*place, GONE, stream, self._renamed(last))
            finding = _first_broken(marks, lambda version: self._hash(stream, version))
        except CorruptLog as error:
            return Finding(stream, error.version, 0, error.reason)
        if finding and finding.reason == SHORTER:
            actual = str(head.version)
            return msgspec.structs.replace(finding, version=head.version, actual=actual)
        return finding

    def _hash(self, stream: str, version: int) -> bytes | None:
        facts = self._log.read(stream, after=version - 1, until=version)
        return next((fact.hash for fact in facts), None)

    def _renamed(self, mark: Mark) -> str:
        """The stream that has the events of another one that is gone, if there is one."""
        for info in self._log.streams():
            if info.stream not in self._signed and info.head:
                with suppress(CorruptLog):
                    if self._hash(info.stream, mark.version) == mark.hash:
                        return info.stream
        return "nothing"


def _first_broken(marks: Iterable[Mark], hash_at: Callable[[int], bytes | None]) -> Finding | None:
    """The first mark that does not hold; ``version`` is where the stream may differ from on."""
    good = 0
    for mark in marks:
        actual = hash_at(mark.version)
        if actual is None:
            return Finding(mark.stream, good, 0, SHORTER, str(mark.version))
        if actual != mark.hash:
            hashes = mark.hash.hex(), actual.hex()
            return Finding(mark.stream, good + 1, 0, OTHER, *hashes)
        good = mark.version
    return None


def _with(found: Verification, findings: list[Finding]) -> Verification:
    return msgspec.structs.replace(found, findings=[*found.findings, *findings])


def _refuse(found: Verification) -> None:
    for finding in found.findings[:1]:
        raise CorruptLog(finding.reason, stream=finding.stream, version=finding.version)
