"""Taking the sessions of a file of lines into a log: checked whole first, then event by event."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO

from agent.eventstore import core
from agent.eventstore.errors import AttachmentMissing, InvalidExport, StoreError
from agent.eventstore.importing import check_erased, check_prefix, holds
from agent.eventstore.jsonl.checking import opened, reporting, size_of
from agent.eventstore.jsonl.lines import Counts, Progress
from agent.eventstore.jsonl.reading import Reader, Section
from agent.eventstore.verify import Walk

if TYPE_CHECKING:
    from agent.eventstore.log import EventLog
    from agent.eventstore.record import Head, Recorded

_EVENTS, _BYTES = 512, 2**22
"""What is appended at once."""


def import_log(
    log: EventLog,
    file: str | os.PathLike[str] | BinaryIO,
    *,
    check_name: Callable[[str], object],
    progress: Progress | None = None,
) -> Counts:
    """Take the sessions of a file into a log; answers what was new to it.

    Existing sessions get the events that they miss. Forks stay forks where the log has, or gets,
    what they were forked from. Nothing is written before all was checked: raises
    :class:`InvalidExport`, :class:`UnknownEvent` for an event of a later release,
    :class:`ConflictError` where a stored session is ahead or different, and what ``check_name``
    raises. What interrupted it may be repeated. ``progress`` is told bytes, of twice those of the
    file.
    """
    with opened(file, twice=True) as lines:
        start = lines.tell()
        advanced = reporting(progress, 2 * size_of(lines) if progress else 0)
        importing = _Importing(log, *_checked(log, lines, check_name, advanced))
        lines.seek(start)
        walk = Walk("heads", None)
        reader = Reader(lines, walk, payloads=True, advanced=advanced)
        for section, fact in reader.events():
            _refuse_change(walk)
            importing.event(section, fact)
        _refuse_change(walk)
        return importing.end()


def _checked(
    log: EventLog,
    lines: BinaryIO,
    check_name: Callable[[str], object],
    advanced: Callable[[int], object] | None,
) -> tuple[dict[str, Section], dict[str, Head | None]]:
    """Check a file whole; answers its sessions, and the heads that the log has."""
    heads = {info.stream: info.head for info in log.streams()}
    known = {head.hash for head in heads.values() if head}
    seen: set[tuple[str, bytes]] = set()
    walk = Walk("chain", None)
    reader = Reader(lines, walk, payloads=True, advanced=advanced)
    for section, fact in reader.events():
        if walk.findings:
            break
        if fact.hash in known:
            seen.add((section.name, fact.hash))
        actual = heads.get(section.name)
        if actual and fact.version > actual.version:
            check_erased(log, section.name, fact, fact.head)
    for found in walk.findings:
        raise InvalidExport(found.reason, line=found.line)
    if reader.unknown:
        raise reader.unknown
    for name, section in reader.sections.items():
        check_name(name)
        actual = heads.get(name)
        if actual and section.head:
            leads = (section.owner(actual.version).name, actual.hash) in seen
            check_prefix(log, name, actual, section.head, known=leads)
    return reader.sections, heads


def _refuse_change(walk: Walk) -> None:
    for found in walk.findings:
        raise StoreError(
            f"line {found.line}: the file was changed while it was imported ({found.reason}), and "
            "only a part is in the log; import a whole file again"
        )


class _Importing:
    """Appends what a log misses, session by session, some events at a time."""

    def __init__(
        self, log: EventLog, sections: dict[str, Section], heads: dict[str, Head | None]
    ) -> None:
        self._log = log
        self._sections = sections
        self._heads = heads
        self._name = ""
        self._head: Head | None = None
        self._parent: str | None = None
        self._next = 0
        self._batch: list[Recorded] = []
        self._bytes = 0
        self._missing: dict[str, bytes] = {}
        self._changed: set[str] = set()
        self._events = 0
        self._attachments = 0

    def event(self, section: Section, fact: Recorded) -> None:
        """Take one event, unless the log has it."""
        if section.name != self._name:
            self._flush()
            self._begin(self._sections[section.name])
        if fact.version > self._next:
            self._add(fact)
            return
        self._keep_missing(fact)
        if fact.erased and self._parent and not self._is_erased(self._parent, fact.version):
            self._part(self._parent, fact)

    def end(self) -> Counts:
        """Append the rest; answers what was new."""
        self._flush()
        return Counts(len(self._changed), self._events, self._attachments)

    def _begin(self, section: Section) -> None:
        self._name = section.name
        self._head = self._heads.get(section.name)
        self._parent = None if self._head else self._joint(section)
        self._next = self._head.version if self._head else 0
        if section.parent and self._next < section.at:  # it is there as rows of its own, up to here
            for fact in self._log.read(section.parent.name, after=self._next, until=section.at):
                self._add(fact)

    def _joint(self, section: Section) -> str | None:
        """The session to fork from, as late as the log has it; sets the head to that point."""
        for point, named in reversed(section.joints):
            parent = (
                section.parent.name if section.parent and point.version == section.at else named
            )
            if holds(self._log, parent, point):
                self._head = point
                return parent
        return None

    def _keep_missing(self, fact: Recorded) -> None:
        """Keep attachments that the log has erased: what follows may name them too."""
        for _, blob in core.attachments([fact]):
            if blob.data is not None:
                try:
                    self._log.get_blob(blob.digest)
                except AttachmentMissing:
                    self._missing[blob.digest] = blob.data

    def _is_erased(self, stream: str, version: int) -> bool:
        return all(fact.erased for fact in self._log.read(stream, after=version - 1, until=version))

    def _part(self, parent: str, fact: Recorded) -> None:
        """Share nothing after all: the log still holds there what was erased of this session."""
        self._parent = self._head = None
        for held in self._log.read(parent, until=fact.version - 1):
            self._add(held)
        self._add(fact)

    def _add(self, fact: Recorded) -> None:
        self._batch.append(fact)
        self._next = fact.version
        self._bytes += len(fact.payload)
        for _, blob in core.attachments([fact]):
            if blob.data is None and blob.digest in self._missing:
                blob.bringing(self._missing.pop(blob.digest))
            if blob.data is not None:
                self._attachments += 1
                self._bytes += blob.size
        if len(self._batch) >= _EVENTS or self._bytes >= _BYTES:
            self._flush()

    def _flush(self) -> None:
        batch, self._batch, self._bytes = self._batch, [], 0
        if not batch:
            return
        self._events += len(batch)
        self._changed.add(self._name)
        if self._parent is not None and self._head:
            fork = batch.pop(0)
            self._head = self._log.fork(
                self._parent, self._name, at=self._head.version, prepared=fork
            )
            self._parent = None
        if batch:
            self._head = self._log.append(self._name, batch, expected=self._head)
