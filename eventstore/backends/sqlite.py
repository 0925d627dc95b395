"""A log in one SQLite file: the embedded default.

WAL, one writer connection a process, ``BEGIN IMMEDIATE`` always, one row an event. With
``durability="fsync"`` (``synchronous=FULL``) an acknowledged event survives power loss.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from agent.eventstore import core
from agent.eventstore.backends import sqlite_reading as reading
from agent.eventstore.backends import sqlite_writing as writing
from agent.eventstore.backends.sqlite_connection import Shared, open_connection
from agent.eventstore.backends.sqlite_file import MEMORY, LogFile
from agent.eventstore.backends.sqlite_writer import Writer
from agent.eventstore.errors import (
    AttachmentMissing,
    CorruptLog,
    StoreBusy,
    StoreFull,
    StoreUnusable,
)
from agent.eventstore.log import Durability, StreamInfo
from agent.eventstore.processes import renewed_in_children
from agent.eventstore.record import Head, Prepared, Recorded

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Generator, Iterator, Mapping, Sequence

    from agent.eventstore.core import ToErase
    from agent.eventstore.verify import Finding


class SQLiteLog:
    """An :class:`~agent.eventstore.log.EventLog` in a SQLite file, made when first used.

    ``durability="os"`` gives up power loss for speed. ``busy_timeout`` (seconds) bounds the wait
    for writers of other processes; past it :class:`~agent.eventstore.errors.StoreBusy` is raised.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Literal["fsync", "os"] = "fsync",
        busy_timeout: float = 30.0,
    ) -> None:
        self.path = os.fsdecode(path)
        if not self.path or "\0" in self.path:
            raise StoreUnusable("a log needs a file name; ':memory:' keeps it in memory")
        # Opened later, and maybe twice: the working directory may be another one by then.
        name = MEMORY if self.path == MEMORY else str(Path(self.path).absolute())
        self.durability = Durability(durability)
        synchronous = "FULL" if self.durability is Durability.FSYNC else "NORMAL"
        connect = partial(open_connection, name, synchronous=synchronous, busy_timeout=busy_timeout)
        file = LogFile(name)
        self._writer = Writer(Shared(file, connect))
        self._reader = Shared(file, connect)
        self._copier = Shared(file, connect)
        if self.path == MEMORY:
            self.durability = Durability.MEMORY
            self._reader = self._copier = self._writer.shared
        renewed_in_children(self)

    def append(self, stream: str, prepared: Sequence[Prepared], *, expected: Head | None) -> Head:
        recorded = core.to_append(stream, prepared, expected)
        attached = core.attachments(recorded)

        def job(db: sqlite3.Connection) -> Head:
            known = reading.find(db, stream)
            done = _settle(db, known, recorded, expected)
            if done:
                return done
            core.check_attachments(attached, lambda digest: reading.blob_size(db, digest))
            owner = known.id if known else writing.new_stream(db, stream)
            writing.insert(db, owner, recorded)
            if attached:
                writing.attach(db, owner, attached)
            return recorded[-1].head

        return self._writer.run(job)

    def fork(self, parent: str, child: str, *, at: int, prepared: Prepared) -> Head:
        def job(db: sqlite3.Connection) -> Head:
            source = reading.find(db, parent)
            core.check_fork_point(parent, at, source and source.head)
            owner, point = reading.owner_at(db, parent, at)
            recorded = core.to_fork(child, prepared, Head(at, point))
            done = _settle(db, reading.find(db, child), [recorded], None)
            if done:
                return done
            writing.insert(db, writing.new_stream(db, child, owner, at), [recorded])
            return recorded.head

        return self._writer.run(job)

    def head(self, stream: str) -> Head | None:
        with self._reader.exclusive() as db:
            known = reading.find(db, stream)
        return known.head if known else None

    def read(
        self,
        stream: str,
        *,
        after: int = 0,
        until: int | None = None,
        types: Collection[str] | None = None,
    ) -> Iterator[Recorded]:
        with self._reader.exclusive(place=(stream, 1)) as db:
            known = reading.find(db, stream)
            lineage = reading.lineage(db, stream)
        if known and known.head.version <= lineage[0][1]:
            raise CorruptLog("its own events are gone", stream=stream, version=known.head.version)
        last = known.head.version if known else 0
        last = last if until is None else min(until, last)
        for owner, low, high in core.segments(lineage, after, last):
            yield from self._read_own(owner, low, high, types)

    def _read_own(
        self, owner: reading.Owner, after: int, until: int, types: Collection[str] | None
    ) -> Iterator[Recorded]:
        while after < until:
            with self._reader.exclusive(place=(owner.name, after + 1)) as db:
                page = reading.page(db, owner, after, until, types)
            yield from page
            if len(page) < reading.PAGE:
                return
            after = page[-1].version

    def read_all(self, *, after: int = 0) -> Iterator[Recorded]:
        while True:
            with self._reader.exclusive() as db:
                page = reading.feed_page(db, after)
            yield from page
            if len(page) < reading.PAGE:
                return
            after = page[-1].position or 0

    def streams(self) -> Iterator[StreamInfo]:
        with self._reader.exclusive() as db:
            found = reading.listing(db)
        yield from found

    def delete(self, stream: str, prepared: Prepared) -> bool:
        def job(db: sqlite3.Connection) -> bool:
            known = reading.find(db, stream)
            if known is None:
                return False
            writing.insert(db, known.id, [core.to_delete(stream, prepared, known.head)])
            writing.delete(db, known.id)
            return True

        return self._writer.run(job)

    def erase(self, streams: Sequence[ToErase], residues: Mapping[str, bytes]) -> None:
        placed = core.to_erase(streams, residues)

        def job(db: sqlite3.Connection) -> None:
            known = [reading.find(db, one.stream) for one in placed]
            if core.all_done(
                _settle(db, stream, one.recorded, one.expected)
                for stream, one in zip(known, placed, strict=True)
            ):
                return
            left: dict[tuple[int, int], bytes] = {}
            for one in placed:
                for erasure in one.erasures:
                    owner, found = reading.owner_at(db, one.stream, erasure.version)
                    core.check_erasure(one.stream, erasure, found)
                    left[owner, erasure.version] = residues[erasure.hash]
            listed = [(info.stream, info.head) for info in reading.listing(db) if info.head]
            core.check_told(placed, listed, lambda name, at: reading.owner_at(db, name, at)[1])
            for (owner, version), residue in left.items():
                writing.erase(db, owner, version, residue)
            for stream, one in zip(known, placed, strict=True):
                if stream:
                    writing.insert(db, stream.id, one.recorded)

        self._writer.run(job)

    def vacuum(self) -> None:
        """Write the file anew without what was deleted or erased, so that no byte of it is left.

        Others may read and write meanwhile, but for a moment at its end. Raises
        :class:`StoreBusy` if they don't let go; whatever was erased is then to be vacuumed again.
        """
        try:
            with self._writer.shared.exclusive() as db:
                db.execute("VACUUM")
                busy, _, _ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except StoreFull as error:
            raise StoreFull(
                f"no room for a copy of {self.path}; free some space and vacuum again, because "
                "bytes of what was erased are in it until then"
            ) from error
        if busy:
            raise StoreBusy(
                f"{self.path}: somebody is reading an older state, which holds what was erased; "
                "vacuum again when that is over"
            )

    def put_blob(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        self._writer.run(lambda db: writing.put_blob(db, digest, data))
        return digest

    def get_blob(self, digest: str) -> bytes:
        with self._reader.exclusive() as db:
            data = reading.blob(db, digest)
        if data is None or hashlib.sha256(data).hexdigest() != digest:
            raise AttachmentMissing(digest)
        return data

    def strays(self) -> Iterator[Finding]:
        """Events and attachments that belong to nothing: no stream, no event, no bytes."""
        with self._reader.exclusive() as db:
            found = reading.strays(db)
        yield from found

    @contextmanager
    def snapshot(self) -> Generator[sqlite3.Connection]:
        """A connection that sees the log as it is now; others read and write meanwhile."""
        with self._copier.exclusive() as db:
            db.execute("BEGIN")
            try:
                db.execute("SELECT max(id) FROM streams").fetchone()  # what is read first fixes it
                yield db
            finally:
                db.execute("ROLLBACK")

    def close(self) -> None:
        self._copier.close()
        self._reader.close()
        self._writer.shared.close()

    def after_fork(self) -> None:
        """Begin anew in a child process: the parent's connections are left alone."""
        self._writer.forget()
        if self._reader is not self._writer.shared:
            self._reader.forget()
            self._copier.forget()


def _settle(
    db: sqlite3.Connection,
    known: reading.Known | None,
    recorded: Sequence[Recorded],
    expected: Head | None,
) -> Head | None:
    return core.settle(
        recorded,
        expected=expected,
        actual=known and known.head,
        hash_at=lambda version: reading.owner_at(db, recorded[-1].stream, version)[1],
    )
