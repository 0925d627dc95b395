"""A log, or some sessions of it, as lines: each event once, however many forks share it."""

from __future__ import annotations

import hashlib
import io
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from agent.eventstore import core
from agent.eventstore.errors import CorruptLog, UnknownEvent, UnknownStream
from agent.eventstore.events import SessionForked
from agent.eventstore.export import entry_of, fetched
from agent.eventstore.files import new_file
from agent.eventstore.jsonl.lines import (
    FORMAT,
    FORMAT_VERSION,
    AttachmentLine,
    Counts,
    Ending,
    EndLine,
    EventLine,
    Header,
    Progress,
    SessionLine,
    encoder,
)
from agent.eventstore.version import library_version

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from agent.eventstore.log import EventLog
    from agent.eventstore.record import Head, Recorded

_OFTEN = 256
"""Events from one call of ``progress`` to the next."""


@dataclass
class _Section:
    """A session to write: its own events, after those that ``parent`` holds."""

    name: str
    head: Head
    points: list[Recorded]
    parent: _Section | None = None
    after: Head | None = None
    forks: set[int] = field(default_factory=set[int])

    @property
    def at(self) -> int:
        return self.after.version if self.after else 0

    def owner(self, version: int) -> _Section:
        """Who holds one of its versions."""
        section = self
        while section.parent and version <= section.at:
            section = section.parent
        return section


def write_log(
    log: EventLog,
    file: str | os.PathLike[str] | BinaryIO,
    sessions: Iterable[str] | None = None,
    *,
    progress: Progress | None = None,
) -> Counts:
    """Write sessions as they are now, all of them unless some are named; answers what was written.

    A path names a new file, which is there once it is whole. The same sessions always give the
    same bytes. ``progress`` is told events. Raises :class:`UnknownStream` for a name that is none
    and for a session that was deleted meanwhile, :class:`CorruptLog` for what is damaged,
    :class:`AttachmentMissing`, and for a path :class:`StoreUnusable` and :class:`StoreFull`.
    """
    sections = _planned(log, _heads(log, sessions))
    total = sum(section.head.version - section.at for section in sections)
    with _opened(file) as out:
        writing = _Writing(log, out, total, progress)
        writing.line(encoder.encode(Header(FORMAT, FORMAT_VERSION, library_version())))
        for section in sections:
            writing.section(section)
        return writing.end(sections)


@contextmanager
def _opened(file: str | os.PathLike[str] | BinaryIO) -> Generator[BinaryIO]:
    if isinstance(file, str | os.PathLike):
        with new_file(file) as path, Path(path).open("xb") as made:
            yield made
    elif isinstance(file, io.RawIOBase):  # which may take a part of what it is given
        buffered = io.BufferedWriter(file)
        yield buffered
        buffered.flush()
        buffered.detach()
    else:
        yield file
        file.flush()


def _heads(log: EventLog, sessions: Iterable[str] | None) -> dict[str, Head]:
    if sessions is None:
        wanted = {info.stream: info.head for info in log.streams()}
    else:
        names = [sessions] if isinstance(sessions, str) else sessions
        wanted = {name: log.head(name) for name in names}
    heads: dict[str, Head] = {}
    for name, head in wanted.items():
        if head is None and sessions is not None:
            raise UnknownStream(f"there is no session {name!r}", stream=name)
        if head is None:
            raise CorruptLog("the stream has no head", stream=name, version=1)
        heads[name] = head
    return heads


def _planned(log: EventLog, heads: dict[str, Head]) -> list[_Section]:
    """The sections, each after the one that holds what it inherits.

    Of two that part, the one that goes on without a fork there comes first, so that it can hold
    what both share; where a parent was deleted, the fork that inherits the most.
    """
    sections = [
        _Section(name, head, list(log.read(name, until=head.version, types=[core.FORKED])))
        for name, head in heads.items()
    ]
    sections.sort(key=lambda one: ([1 - point.version for point in one.points], one.name))
    planned: dict[str, _Section] = {}
    first: dict[bytes, _Section] = {}
    for section in sections:
        root = next(iter(log.read(section.name, until=1)), None)
        turns = [root.hash if root else b"", *(point.hash for point in section.points)]
        for place in range(len(section.points), 0, -1):
            named = planned.get(_parent_of(section.points[place - 1]) or "")
            if _shares(log, section, place, [named, first.get(turns[place - 1])]):
                break
        for turn in turns:
            first.setdefault(turn, section)
        planned[section.name] = section
    return sections


def _parent_of(fork: Recorded) -> str | None:
    try:
        event = fork.event
    except (CorruptLog, UnknownEvent):
        return None
    return event.parent if isinstance(event, SessionForked) else None


def _shares(
    log: EventLog, section: _Section, place: int, candidates: list[_Section | None]
) -> bool:
    """Let a section begin at its fork point number ``place`` if one of these holds that."""
    at = section.points[place - 1].version - 1
    point = _head_at(log, section.name, at)
    for one in candidates:
        if point and one and one.head.version >= at and _head_at(log, one.name, at) == point:
            section.parent, section.after = one.owner(at), point
            section.parent.forks.add(at)
            return True
    return False


def _head_at(log: EventLog, stream: str, version: int) -> Head | None:
    fact = next(iter(log.read(stream, after=version - 1, until=version)), None)
    return fact and fact.head


class _Writing:
    """Lines that have been written, and what was in them."""

    def __init__(self, log: EventLog, out: BinaryIO, total: int, progress: Progress | None) -> None:
        self._log = log
        self._out = out
        self._total = total
        self._progress = progress
        self._sum = hashlib.sha256()
        self._attached: set[str] = set()
        self._events = 0

    def line(self, line: bytes) -> None:
        line += b"\n"
        self._sum.update(line)
        self._out.write(line)

    def section(self, section: _Section) -> None:
        head = section.after
        self.line(
            encoder.encode(
                SessionLine(
                    session=section.name,
                    parent=section.parent and section.parent.name,
                    at=section.at,
                    forks=tuple(sorted(section.forks)),
                )
            )
        )
        own = self._log.read(section.name, after=section.at, until=section.head.version)
        for fact in core.verified(own, stream=section.name, after=head):
            self._event(fact)
            head = fact.head
        if head != section.head:
            message = f"session {section.name!r} was deleted while it was written; export again"
            raise UnknownStream(message, stream=section.name)

    def _event(self, fact: Recorded) -> None:
        for digest, data in fetched([fact], self._log, self._attached):
            self.line(encoder.encode(AttachmentLine(digest=digest, data=data)))
        self.line(encoder.encode(entry_of(fact, EventLine)))
        self._events += 1
        if self._progress and self._events % _OFTEN == 0:
            self._progress(self._events, self._total)

    def end(self, sections: list[_Section]) -> Counts:
        endings = {one.name: Ending(one.head.version, one.head.hash.hex()) for one in sections}
        last = EndLine(
            sessions=endings,
            events=self._events,
            attachments=len(self._attached),
            sha256=self._sum.hexdigest(),
        )
        self._out.write(encoder.encode(last) + b"\n")
        if self._progress:
            self._progress(self._events, self._total)
        return Counts(len(sections), self._events, len(self._attached))
