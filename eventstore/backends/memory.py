"""A log in memory: the default for a session without a store, and for tests."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from agent.eventstore import core
from agent.eventstore.errors import AttachmentMissing, StoreBusy
from agent.eventstore.log import Durability, StreamInfo
from agent.eventstore.processes import renewed_in_children
from agent.eventstore.record import Head, Prepared, Recorded

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterator, Mapping, Sequence

    from agent.eventstore.core import ToErase

_PAGE = 512


class _Stream:
    """A stream's own events, and where the rest of them lies."""

    def __init__(self, name: str, parent: _Stream | None = None, at: int = 0) -> None:
        self.name = name
        self.parent = parent
        self.at = at
        self.own: list[Recorded] = []
        self.forks: list[_Stream] = []
        self.deleted = False

    def lineage(self) -> list[tuple[_Stream, int]]:
        """This stream and its ancestors, each with the version up to which it inherits."""
        found: list[tuple[_Stream, int]] = []
        stream: _Stream | None = self
        while stream:
            found.append((stream, stream.at))
            stream = stream.parent
        return found

    def range(self, after: int, until: int) -> list[Recorded]:
        """The events ``after < version <= until``, from whoever owns them."""
        return [
            fact
            for owner, low, high in core.segments(self.lineage(), after, until)
            for fact in owner.own[low - owner.at : high - owner.at]
        ]

    def at_version(self, version: int) -> Recorded:
        """One event."""
        return self.range(version - 1, version)[0]

    @property
    def head(self) -> Head:
        return self.own[-1].head


class MemoryLog:
    """An :class:`~agent.eventstore.log.EventLog` that ends with the process."""

    durability = Durability.MEMORY

    def __init__(self) -> None:
        self._streams: dict[str, _Stream] = {}
        self._feed: list[Recorded | None] = []
        self._blobs: dict[str, bytes] = {}
        self._references: Counter[str] = Counter()
        self.after_fork()
        renewed_in_children(self)

    def after_fork(self) -> None:
        """Begin anew in a child process: a thread of its parent's may have held the lock."""
        self._lock = threading.RLock()
        self._busy = False

    def append(self, stream: str, prepared: Sequence[Prepared], *, expected: Head | None) -> Head:
        recorded = core.to_append(stream, prepared, expected)
        with self._exclusive():
            known = self._streams.get(stream)
            done = _settle(known, recorded, expected)
            if done:
                return done
            attached = core.attachments(recorded)
            core.check_attachments(attached, self._size_of)
            for _, blob in attached:
                if blob.data is not None:
                    self._blobs[blob.digest] = blob.data
            self._write(known or _Stream(stream), recorded)
            return recorded[-1].head

    def fork(self, parent: str, child: str, *, at: int, prepared: Prepared) -> Head:
        with self._exclusive():
            source = self._streams.get(parent)
            core.check_fork_point(parent, at, source and source.head)
            assert source is not None  # noqa: S101 - check_fork_point has refused None
            point = source.at_version(at)
            recorded = core.to_fork(child, prepared, point.head)
            done = _settle(self._streams.get(child), [recorded], None)
            if done:
                return done
            owner = next(o for o, inherited in source.lineage() if at > inherited)
            fork = _Stream(child, owner, at)
            owner.forks.append(fork)
            self._write(fork, [recorded])
            return recorded.head

    def head(self, stream: str) -> Head | None:
        with self._exclusive():
            known = self._streams.get(stream)
            return known.head if known else None

    def read(
        self,
        stream: str,
        *,
        after: int = 0,
        until: int | None = None,
        types: Collection[str] | None = None,
    ) -> Iterator[Recorded]:
        with self._exclusive():
            known = self._streams.get(stream)
            last = known.head.version if known else 0
            last = last if until is None else min(until, last)
            found = known.range(after, last) if known else []
        return (fact for fact in found if types is None or fact.type in types)

    def read_all(self, *, after: int = 0) -> Iterator[Recorded]:
        position = max(after, 0)
        while True:
            with self._exclusive():
                page = self._feed[position : position + _PAGE]
            if not page:
                return
            position += len(page)
            yield from (fact for fact in page if fact is not None)

    def streams(self) -> Iterator[StreamInfo]:
        with self._exclusive():
            found = sorted(self._streams.items())
        for name, stream in found:
            first, last = stream.own[0], stream.own[-1]
            yield StreamInfo(name, last.head, first.recorded_at, last.recorded_at)

    def delete(self, stream: str, prepared: Prepared) -> bool:
        with self._exclusive():
            known = self._streams.get(stream)
            if known is None:
                return False
            self._write(known, [core.to_delete(stream, prepared, known.head)])
            del self._streams[stream]
            known.deleted = True
            self._purge(known)
            return True

    def erase(self, streams: Sequence[ToErase], residues: Mapping[str, bytes]) -> None:
        placed = core.to_erase(streams, residues)
        with self._exclusive():
            known = [self._streams.get(one.stream) for one in placed]
            if core.all_done(
                _settle(stream, one.recorded, one.expected)
                for stream, one in zip(known, placed, strict=True)
            ):
                return
            left: dict[int, Recorded] = {}
            for one in placed:
                for erasure in one.erasures:
                    fact = self._event(one.stream, erasure.version)
                    core.check_erasure(one.stream, erasure, fact.hash)
                    if not fact.erased and fact.position is not None:
                        left[fact.position] = fact.as_erased(residues[erasure.hash])
            listed = [(name, stream.head) for name, stream in self._streams.items()]
            core.check_told(placed, listed, lambda name, at: self._event(name, at).hash)
            self._erase(left)
            for one in placed:
                self._write(self._streams[one.stream], one.recorded)

    def _event(self, stream: str, version: int) -> Recorded:
        return self._streams[stream].at_version(version)

    def _erase(self, left: Mapping[int, Recorded]) -> None:
        """Put what is left into the place of events, by position."""
        gone = [fact for position in left if (fact := self._feed[position - 1])]
        lineages = [stream.lineage() for stream in self._streams.values()]
        for owner in {id(owner): owner for line in lineages for owner, _ in line}.values():
            owner.own = [left.get(fact.position or 0, fact) for fact in owner.own]
        for position, fact in left.items():
            self._feed[position - 1] = fact
        self._drop_attachments(gone)

    def put_blob(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        self._blobs.setdefault(digest, bytes(data))
        return digest

    def get_blob(self, digest: str) -> bytes:
        try:
            return self._blobs[digest]
        except KeyError:
            raise AttachmentMissing(digest) from None

    def close(self) -> None:
        """Nothing is held that the garbage collector would not free."""

    @contextmanager
    def _exclusive(self) -> Generator[None]:
        # A generator finalized by the garbage collector may call in while this very thread
        # holds the lock: a plain lock would wait for itself for ever.
        with self._lock:
            if self._busy:
                raise StoreBusy(
                    "the log was called from inside one of its own operations, as by a signal "
                    "handler; call it again when that is over"
                )
            self._busy = True
            try:
                yield
            finally:
                self._busy = False

    def _size_of(self, digest: str) -> int | None:
        data = self._blobs.get(digest)
        return None if data is None else len(data)

    def _write(self, stream: _Stream, recorded: Sequence[Recorded]) -> None:
        first = len(self._feed) + 1
        placed = [fact.at_position(place) for place, fact in enumerate(recorded, first)]
        self._references.update(blob.digest for _, blob in core.attachments(recorded))
        # No calls from here on: Ctrl-C and forks come in between calls, and must not halve this.
        stream.own += placed
        self._feed += placed
        self._streams[stream.name] = stream

    def _purge(self, stream: _Stream) -> None:
        """Drop what no fork needs; go on to the parent when nothing is left to need it."""
        doomed = stream
        while doomed.deleted:
            needed = max((fork.at for fork in doomed.forks), default=0)
            purged = [f for f in doomed.own if f.version > needed and f.type != core.DELETED]
            doomed.own = [f for f in doomed.own if f.version <= needed or f.type == core.DELETED]
            self._forget(purged)
            parent = doomed.parent
            if needed or parent is None:
                return
            parent.forks.remove(doomed)
            doomed.parent, doomed = None, parent

    def _forget(self, purged: Sequence[Recorded]) -> None:
        for fact in purged:
            if fact.position is not None:
                self._feed[fact.position - 1] = None
        self._drop_attachments(purged)

    def _drop_attachments(self, gone: Sequence[Recorded]) -> None:
        for _, blob in core.attachments(gone):
            self._references[blob.digest] -= 1
            if not self._references[blob.digest]:
                del self._references[blob.digest]
                self._blobs.pop(blob.digest, None)


def _settle(
    known: _Stream | None, recorded: Sequence[Recorded], expected: Head | None
) -> Head | None:
    return core.settle(
        recorded,
        expected=expected,
        actual=known and known.head,
        hash_at=lambda version: known.at_version(version).hash if known else None,
    )
