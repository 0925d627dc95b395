"""What is read of the tables: streams and their lineage, pages of events, attachments."""

from __future__ import annotations

import hashlib
import sqlite3
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.eventstore import core
from agent.eventstore.backends.sqlite_connection import primary_code
from agent.eventstore.errors import CorruptLog
from agent.eventstore.findings import Finding
from agent.eventstore.log import StreamInfo
from agent.eventstore.record import Head, Recorded

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

PAGE = 512
"""How many events are read at once: a long read would keep the WAL from being checkpointed."""

_COLUMNS = "version, position, hash, type, schema, recorded_at, codec, salt, payload, digest"

_LISTED = (
    "SELECT s.name, last.version, last.hash, first.recorded_at, last.recorded_at "
    "FROM streams s "
    "LEFT JOIN events first ON first.stream = s.id "
    "AND first.version = coalesce(s.forked_at, 0) + 1 "
    "LEFT JOIN events last ON last.stream = s.id "
    "AND last.version = (SELECT max(version) FROM events WHERE stream = s.id) "
    "WHERE s.deleted = 0 "
)


class Known(NamedTuple):
    """A stream as the tables have it."""

    id: int
    head: Head


class Owner(NamedTuple):
    """A stream that holds a range of another's events."""

    id: int
    name: str


def find(db: sqlite3.Connection, stream: str) -> Known | None:
    """A stream by its name. Raises :class:`CorruptLog` for one without events."""
    row = db.execute(
        "SELECT id, version, hash FROM streams LEFT JOIN events ON stream = id "
        "WHERE name = ? AND deleted = 0 ORDER BY version DESC LIMIT 1",
        (stream,),
    ).fetchone()
    if row and row[1] is None:
        raise CorruptLog("it has lost its events", stream=stream, version=1)
    return Known(row[0], Head(row[1], row[2])) if row else None


def lineage(db: sqlite3.Connection, stream: str) -> list[tuple[Owner, int]]:
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
    found = [(Owner(id_, _text(name)), inherited) for id_, name, inherited in rows]
    # UNION stops where a circle closes. A foreign key alone would not notice one.
    if found and found[-1][1]:
        raise CorruptLog("its parents lead to no root", stream=stream, version=1)
    return found


def inherited(db: sqlite3.Connection, stream: int) -> int:
    """How many events a stream shares with its parent."""
    row = db.execute("SELECT forked_at FROM streams WHERE id = ?", (stream,)).fetchone()
    return row[0] or 0


def owner_at(db: sqlite3.Connection, stream: str, version: int) -> tuple[int, bytes]:
    """Which stream of the lineage holds this version, and the event's hash."""
    ((owner, _, _),) = core.segments(lineage(db, stream), version - 1, version)
    row = db.execute(
        "SELECT hash FROM events WHERE stream = ? AND version = ?", (owner.id, version)
    ).fetchone()
    if row is None:
        raise CorruptLog("the event is missing", stream=stream, version=version)
    return owner.id, row[0]


def page(
    db: sqlite3.Connection, owner: Owner, after: int, until: int, types: Collection[str] | None
) -> list[Recorded]:
    """The first :data:`PAGE` of an owner's events ``after < version <= until``."""
    only = "" if types is None else f"AND type IN ({_among(types)}) "
    rows = db.execute(
        f"SELECT {_COLUMNS} FROM events WHERE stream = ? AND version > ? AND version <= ? "
        f"{only}ORDER BY version LIMIT ?",
        (owner.id, after, until, PAGE),
    )
    return [_recorded(owner.name, *row) for row in rows]


def counts(
    db: sqlite3.Connection, owner: Owner, after: int, until: int
) -> list[tuple[str, int, int]]:
    """How many of an owner's events ``after < version <= until`` are of each type, and erased."""
    rows = db.execute(
        "SELECT type, count(*), count(digest) FROM events "
        "WHERE stream = ? AND version > ? AND version <= ? GROUP BY type",
        (owner.id, after, until),
    )
    return [(_text(kind), count, erased) for kind, count, erased in rows]


def identities(db: sqlite3.Connection) -> dict[str, list[Recorded]]:
    """The events that tell whose stream it is, of all streams that are whole."""
    try:
        streams = {
            id_: _Stream(Owner(id_, _text(name)), parent, inherited, bool(deleted))
            for id_, name, parent, inherited, deleted in db.execute(
                "SELECT id, name, parent, coalesce(forked_at, 0), deleted FROM streams"
            )
        }
        own: dict[int, list[Recorded]] = {id_: [] for id_ in streams}
        rows = db.execute(
            f"SELECT stream, {_COLUMNS} FROM events "
            f"WHERE type IN ({_among(core.IDENTITY_TYPES)}) ORDER BY stream, version"
        )
        for id_, *row in rows:
            if id_ in own:
                own[id_].append(_recorded(streams[id_].owner.name, *row))
    except sqlite3.DatabaseError as error:
        _check_damage(error)
        return {}
    living = [stream for stream in streams.values() if not stream.deleted]
    found = {stream.owner.name: _with_inherited(stream, streams, own) for stream in living}
    return {name: facts for name, facts in found.items() if facts}


class _Stream(NamedTuple):
    owner: Owner
    parent: int | None
    inherited: int
    deleted: bool


def _with_inherited(
    stream: _Stream, streams: Mapping[int, _Stream], own: Mapping[int, Sequence[Recorded]]
) -> list[Recorded]:
    """The events of a stream and its ancestors; none if it cannot be told which those are."""
    first = own[stream.owner.id][:1]
    if not first or first[0].version != stream.inherited + 1:
        return []
    lineage = [(stream.owner, stream.inherited)]
    last = stream
    while last.parent is not None:
        parent = streams.get(last.parent)
        if parent is None or parent.owner.id >= last.owner.id:
            return []
        last = parent
        lineage.append((last.owner, last.inherited))
    ranges = core.segments(lineage, 0, sys.maxsize) if not last.inherited else ()
    return [
        fact for owner, low, high in ranges for fact in own[owner.id] if low < fact.version <= high
    ]


def feed_page(db: sqlite3.Connection, after: int) -> list[Recorded]:
    """The first :data:`PAGE` events of the log after a position."""
    rows = db.execute(
        f"SELECT name, {_COLUMNS} FROM events JOIN streams ON streams.id = events.stream "
        "WHERE position > ? ORDER BY position LIMIT ?",
        (after, PAGE),
    )
    return [_recorded(_text(row[0]), *row[1:]) for row in rows]


def listing(db: sqlite3.Connection) -> list[StreamInfo]:
    """Every stream; where some are damaged, only the name of those."""
    try:
        rows = db.execute(_LISTED + "ORDER BY s.name").fetchall()
    except sqlite3.DatabaseError as error:
        _check_damage(error)
        rows = _listed_one_by_one(db)
    return [
        StreamInfo(_text(name), Head(version, digest) if version else None, created or 0, end or 0)
        for name, version, digest, created, end in rows
    ]


def _listed_one_by_one(db: sqlite3.Connection) -> list[Any]:
    rows: list[Any] = []
    for id_, name in db.execute("SELECT id, name FROM streams WHERE deleted = 0").fetchall():
        try:
            rows += db.execute(_LISTED + "AND s.id = ?", (id_,)).fetchall()
        except sqlite3.DatabaseError as error:
            _check_damage(error)
            rows.append((name, None, None, None, None))
    return sorted(rows)


def _check_damage(error: sqlite3.DatabaseError) -> None:
    if primary_code(error) != sqlite3.SQLITE_CORRUPT:
        raise error


def blob_size(db: sqlite3.Connection, digest: str) -> int | None:
    """How many bytes an attachment has, None if it is not there."""
    row = db.execute("SELECT length(data) FROM blobs WHERE digest = ?", (digest,)).fetchone()
    return row and row[0]


def blob(db: sqlite3.Connection, digest: str) -> bytes | None:
    """An attachment's bytes, None if it is not there."""
    row = db.execute("SELECT CAST(data AS BLOB) FROM blobs WHERE digest = ?", (digest,)).fetchone()
    return row and row[0]


_STRAYS = {
    "the event belongs to no stream": (
        "SELECT '', version, position FROM events WHERE stream NOT IN (SELECT id FROM streams)"
    ),
    "it names no event or attachment": (
        "SELECT '', 0, position FROM attachments WHERE digest NOT IN (SELECT digest FROM blobs) "
        "OR position NOT IN (SELECT position FROM events)"
    ),
    "no event says that the stream was deleted": (
        "SELECT name, 0, 0 FROM streams WHERE deleted <> 0 AND (deleted <> 1 OR NOT EXISTS "
        f"(SELECT 1 FROM events WHERE stream = streams.id AND type = '{core.DELETED}'))"
    ),
}
_STRAY_CONTENTS = {
    "the event does not name an attachment of its": (
        "SELECT name, version, position FROM attachments JOIN events USING (position) "
        "JOIN streams ON id = stream WHERE instr(payload, attachments.digest) = 0"
    ),
}


def strays(db: sqlite3.Connection, *, contents: bool) -> list[Finding]:
    """What belongs to nothing; with its contents, what is damaged though nothing needs it."""
    queries = {**_STRAYS, **(_STRAY_CONTENTS if contents else {})}
    found = [
        Finding(_text(name), version, position, reason)
        for reason, query in queries.items()
        for name, version, position in db.execute(f"{query} LIMIT {PAGE}")
    ]
    if contents:
        found += _damaged_blobs(db)
        for (words,) in db.execute(f"PRAGMA integrity_check({PAGE})"):
            if words != b"ok":
                found.append(Finding("", 0, 0, _text(words)))
    return found


def _damaged_blobs(db: sqlite3.Connection) -> list[Finding]:
    """Attachments that no event has, and that are not what their name says."""
    rows = db.execute(
        "SELECT digest, CAST(data AS BLOB) FROM blobs "
        "WHERE digest NOT IN (SELECT digest FROM attachments)"
    )
    actual = ((_text(digest), hashlib.sha256(data).hexdigest()) for digest, data in rows)
    reason = "an attachment without an event is damaged"
    return [Finding("", 0, 0, reason, named, is_) for named, is_ in actual if named != is_]


def links(db: sqlite3.Connection, position: int) -> set[str]:
    """The attachments that an event is said to have."""
    rows = db.execute("SELECT digest FROM attachments WHERE position = ?", (position,))
    return {_text(digest) for (digest,) in rows}


def _among(types: Collection[str]) -> str:
    """A list of types, spelled out so that it matches the partial index."""
    return ", ".join("'" + one.replace("'", "''") + "'" for one in types)


@lru_cache(maxsize=1024)  # types and names come again and again
def _text(value: bytes) -> str:
    """Text of a row. In a damaged one it may be no text: what is replaced matches no hash."""
    return value.decode(errors="replace")


def _recorded(  # noqa: PLR0917 - the columns of a row
    stream: str,
    version: int,
    position: int,
    hash_: bytes,
    type_: bytes,
    schema: int,
    recorded_at: int,
    codec: int,
    salt: bytes | None,
    payload: bytes,
    digest: bytes | None,
) -> Recorded:
    """``_COLUMNS`` of a row as an event."""
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
