"""A log in one SQLite file: the embedded default.

WAL, one writer connection a process, ``BEGIN IMMEDIATE`` always, one row an event. With
``durability="fsync"`` (``synchronous=FULL``) an acknowledged event survives power loss.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from agent.eventstore import core
from agent.eventstore.backends.sqlite_connection import (
    Shared,
    Writer,
    open_connection,
    primary_code,
)
from agent.eventstore.backends.sqlite_file import MEMORY, LogFile
from agent.eventstore.errors import AttachmentMissing, CorruptLog, StoreUnusable
from agent.eventstore.log import Durability, StreamInfo
from agent.eventstore.processes import renewed_in_children
from agent.eventstore.record import Head, Prepared, Recorded

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from agent.eventstore.messages import Blob

_PAGE = 512
_COLUMNS = "version, position, hash, type, schema, recorded_at, codec, salt, payload, digest"


_STREAM = (
    "SELECT s.name, last.version, last.hash, first.recorded_at, last.recorded_at "
    "FROM streams s "
    "LEFT JOIN events first ON first.stream = s.id "
    "AND first.version = coalesce(s.forked_at, 0) + 1 "
    "LEFT JOIN events last ON last.stream = s.id "
    "AND last.version = (SELECT max(version) FROM events WHERE stream = s.id) "
    "WHERE s.deleted = 0 "
)


class _Known(NamedTuple):
    """A stream as the tables have it."""

    id: int
    head: Head


class _Owner(NamedTuple):
    """A stream that holds a range of another's events."""

    id: int
    name: str


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
        self._file = MEMORY if self.path == MEMORY else str(Path(self.path).absolute())
        self.durability = Durability(durability)
        synchronous = "FULL" if self.durability is Durability.FSYNC else "NORMAL"

        connect = partial(
            open_connection, self._file, synchronous=synchronous, busy_timeout=busy_timeout
        )
        file = LogFile(self._file)
        self._writer = Writer(Shared(file, connect))
        self._reader = Shared(file, connect)
        if self.path == MEMORY:
            self.durability = Durability.MEMORY
            self._reader = self._writer.shared
        renewed_in_children(self)

    def append(self, stream: str, prepared: Sequence[Prepared], *, expected: Head | None) -> Head:
        recorded = core.to_append(stream, prepared, expected)
        attached = core.attachments(recorded)

        def job(db: sqlite3.Connection) -> Head:
            known = _find(db, stream)
            done = core.settle(
                recorded,
                expected=expected,
                actual=known and known.head,
                hash_at=lambda version: _hash_at(db, stream, version),
            )
            if done:
                return done
            core.check_attachments(attached, lambda digest: _blob_size(db, digest))
            owner = known.id if known else _new_stream(db, stream)
            _insert(db, owner, recorded)
            if attached:
                _attach(db, owner, attached)
            return recorded[-1].head

        return self._writer.run(job)

    def fork(self, parent: str, child: str, *, at: int, prepared: Prepared) -> Head:
        def job(db: sqlite3.Connection) -> Head:
            source = _find(db, parent)
            core.check_fork_point(parent, at, source and source.head)
            owner, point = _owner_at(db, parent, at)
            recorded = core.to_fork(child, prepared, Head(at, point))
            known = _find(db, child)
            done = core.settle(
                [recorded],
                expected=None,
                actual=known and known.head,
                hash_at=lambda version: _hash_at(db, child, version),
            )
            if done:
                return done
            _insert(db, _new_stream(db, child, owner, at), [recorded])
            return recorded.head

        return self._writer.run(job)

    def head(self, stream: str) -> Head | None:
        with self._reader.exclusive() as db:
            known = _find(db, stream)
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
            known = _find(db, stream)
            lineage = _lineage(db, stream)
        if known and known.head.version <= lineage[0][1]:
            raise CorruptLog("its own events are gone", stream=stream, version=known.head.version)
        last = known.head.version if known else 0
        last = last if until is None else min(until, last)
        for owner, low, high in core.segments(lineage, after, last):
            yield from self._pages(owner, low, high, types)

    def read_all(self, *, after: int = 0) -> Iterator[Recorded]:
        query = (
            f"SELECT name, {_COLUMNS} FROM events JOIN streams ON streams.id = events.stream "
            "WHERE position > ? ORDER BY position LIMIT ?"
        )
        while True:
            with self._reader.exclusive() as db:
                rows = db.execute(query, (after, _PAGE)).fetchall()
            for name, *row in rows:
                yield _recorded(_text(name), row)
            if len(rows) < _PAGE:
                return
            after = rows[-1][2]

    def streams(self) -> Iterator[StreamInfo]:
        with self._reader.exclusive() as db:
            try:
                rows = db.execute(_STREAM + "ORDER BY s.name").fetchall()
            except sqlite3.DatabaseError as error:
                _check_damage(error)
                rows = _listed_one_by_one(db)
        for name, version, digest, created, updated in rows:
            head = Head(version, digest) if version else None
            yield StreamInfo(_text(name), head, created or 0, updated or 0)

    def delete(self, stream: str, prepared: Prepared) -> bool:
        def job(db: sqlite3.Connection) -> bool:
            known = _find(db, stream)
            if known is None:
                return False
            _insert(db, known.id, [core.to_delete(stream, prepared, known.head)])
            db.execute("UPDATE streams SET deleted = 1 WHERE id = ?", (known.id,))
            _purge(db, known.id)
            return True

        return self._writer.run(job)

    def put_blob(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()

        def job(db: sqlite3.Connection) -> str:
            _put_blob(db, digest, data)
            return digest

        return self._writer.run(job)

    def get_blob(self, digest: str) -> bytes:
        with self._reader.exclusive() as db:
            query = "SELECT CAST(data AS BLOB) FROM blobs WHERE digest = ?"
            row = db.execute(query, (digest,)).fetchone()
        if row is None or hashlib.sha256(row[0] or b"").hexdigest() != digest:
            raise AttachmentMissing(digest)
        return row[0]

    def close(self) -> None:
        self._reader.close()
        self._writer.shared.close()

    def _pages(
        self, owner: _Owner, low: int, high: int, types: Collection[str] | None
    ) -> Iterator[Recorded]:
        # Short reads only: a long read transaction would keep the WAL from being checkpointed.
        # The list of types is spelled out so that it matches the partial index.
        names = ", ".join(map(_quoted, types)) if types is not None else ""
        only = f"AND type IN ({names}) " if types is not None else ""
        query = (
            f"SELECT {_COLUMNS} FROM events WHERE stream = ? AND version > ? AND version <= ? "
            f"{only}ORDER BY version LIMIT ?"
        )
        while low < high:
            place = (owner.name, low + 1)
            with self._reader.exclusive(place=place) as db:
                rows = db.execute(query, (owner.id, low, high, _PAGE)).fetchall()
            for row in rows:
                yield _recorded(owner.name, row)
            if len(rows) < _PAGE:
                return
            low = rows[-1][0]

    def after_fork(self) -> None:
        """Begin anew in a child process: the parent's connections are left alone."""
        self._writer.forget()
        if self._reader is not self._writer.shared:
            self._reader.forget()


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _text(value: bytes) -> str:
    """Text of a row. In a damaged one it may be no text: what is replaced matches no hash."""
    return value.decode(errors="replace")


def _recorded(stream: str, row: Sequence[Any]) -> Recorded:
    """A row of ``_COLUMNS`` as an event."""
    version, position, hash_, type_, schema, recorded_at, codec, salt, payload, digest = row
    return Recorded(
        _text(type_),
        schema,
        recorded_at,
        codec,
        salt,
        payload,
        digest,
        stream=stream,
        version=version,
        hash=hash_,
        position=position,
    )


def _find(db: sqlite3.Connection, stream: str) -> _Known | None:
    row = db.execute(
        "SELECT id, version, hash FROM streams LEFT JOIN events ON stream = id "
        "WHERE name = ? AND deleted = 0 ORDER BY version DESC LIMIT 1",
        (stream,),
    ).fetchone()
    if row and row[1] is None:
        raise CorruptLog("it has lost its events", stream=stream, version=1)
    return _Known(row[0], Head(row[1], row[2])) if row else None


def _check_damage(error: sqlite3.DatabaseError) -> None:
    if primary_code(error) != sqlite3.SQLITE_CORRUPT:
        raise error


def _listed_one_by_one(db: sqlite3.Connection) -> list[Any]:
    """The listing of a file in which some streams are damaged: of those it tells the name."""
    rows: list[Any] = []
    for id_, name in db.execute("SELECT id, name FROM streams WHERE deleted = 0").fetchall():
        try:
            rows += db.execute(_STREAM + "AND s.id = ?", (id_,)).fetchall()
        except sqlite3.DatabaseError as error:
            _check_damage(error)
            rows.append((name, None, None, None, None))
    return sorted(rows)


def _lineage(db: sqlite3.Connection, stream: str) -> list[tuple[_Owner, int]]:
    """The stream and its ancestors, each with the version up to which it inherits."""
    rows = db.execute(
        "WITH RECURSIVE line (id, name, parent, inherited) AS ("
        " SELECT id, name, parent, coalesce(forked_at, 0) FROM streams"
        " WHERE name = ? AND deleted = 0"
        " UNION"
        " SELECT s.id, s.name, s.parent, coalesce(s.forked_at, 0) FROM streams s JOIN line"
        " ON s.id = line.parent"
        ") SELECT id, name, inherited FROM line",
        (stream,),
    )
    lineage = [(_Owner(id_, _text(name)), inherited) for id_, name, inherited in rows]
    # UNION stops where a circle closes. A foreign key alone would not notice one.
    if lineage and lineage[-1][1]:
        raise CorruptLog("its parents lead to no root", stream=stream, version=1)
    return lineage


def _owner_at(db: sqlite3.Connection, stream: str, version: int) -> tuple[int, bytes]:
    """Which stream of the lineage holds this version, and the event's hash."""
    lineage = _lineage(db, stream)
    ((owner, _, _),) = core.segments(lineage, version - 1, version)
    row = db.execute(
        "SELECT hash FROM events WHERE stream = ? AND version = ?", (owner.id, version)
    ).fetchone()
    if row is None:
        raise CorruptLog("the event is missing", stream=stream, version=version)
    return owner.id, row[0]


def _hash_at(db: sqlite3.Connection, stream: str, version: int) -> bytes:
    return _owner_at(db, stream, version)[1]


def _new_stream(
    db: sqlite3.Connection, name: str, parent: int | None = None, at: int | None = None
) -> int:
    cursor = db.execute(
        "INSERT INTO streams (name, parent, forked_at) VALUES (?, ?, ?)", (name, parent, at)
    )
    return cursor.lastrowid or 0


def _insert(db: sqlite3.Connection, stream: int, recorded: Sequence[Recorded]) -> None:
    db.executemany(
        "INSERT INTO events (stream, version, type, schema, recorded_at, codec, hash, digest,"
        " salt, payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, CAST(? AS TEXT))",
        [
            (
                stream,
                fact.version,
                fact.type,
                fact.schema,
                fact.recorded_at,
                fact.codec,
                fact.hash,
                fact.erased_digest,
                fact.salt,
                fact.payload,
            )
            for fact in recorded
        ],
    )


def _blob_size(db: sqlite3.Connection, digest: str) -> int | None:
    row = db.execute("SELECT length(data) FROM blobs WHERE digest = ?", (digest,)).fetchone()
    return row and row[0]


def _put_blob(db: sqlite3.Connection, digest: str, data: bytes) -> None:
    # What was damaged since it was stored is mended.
    db.execute(
        "INSERT INTO blobs (digest, data) VALUES (?, ?) ON CONFLICT (digest) DO "
        "UPDATE SET data = excluded.data WHERE data <> excluded.data",
        (digest, data),
    )


def _attach(db: sqlite3.Connection, stream: int, attached: Sequence[tuple[Recorded, Blob]]) -> None:
    for _, blob in attached:
        if blob.data is not None:
            _put_blob(db, blob.digest, blob.data)
    db.executemany(
        "INSERT INTO attachments (digest, position) "
        "SELECT ?, position FROM events WHERE stream = ? AND version = ?",
        [(blob.digest, stream, fact.version) for fact, blob in attached],
    )


def _purge(db: sqlite3.Connection, stream: int) -> None:
    """Drop what no fork needs; go on to the parent when nothing is left to need it."""
    while True:
        row = db.execute(
            "SELECT parent, deleted, (SELECT max(forked_at) FROM streams WHERE parent = s.id)"
            " FROM streams s WHERE id = ?",
            (stream,),
        ).fetchone()
        parent, deleted, needed = row or (None, 0, None)
        if not deleted:
            return
        _drop(db, stream, needed or 0)
        if needed or parent is None:
            return
        db.execute("UPDATE streams SET parent = NULL, forked_at = NULL WHERE id = ?", (stream,))
        stream = parent


def _drop(db: sqlite3.Connection, stream: int, needed: int) -> None:
    doomed = "stream = ? AND version > ? AND type <> ?"
    where = (stream, needed, core.DELETED)
    blobs = db.execute(
        f"SELECT DISTINCT a.digest FROM attachments a JOIN events USING (position) WHERE {doomed}",
        where,
    ).fetchall()
    db.execute(f"DELETE FROM events WHERE {doomed}", where)
    db.executemany(
        "DELETE FROM blobs WHERE digest = :digest "
        "AND NOT EXISTS (SELECT 1 FROM attachments WHERE digest = :digest)",
        [{"digest": digest.decode()} for (digest,) in blobs],
    )
