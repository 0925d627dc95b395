"""What is written to the tables, and purged from them when nobody needs it any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.eventstore import core
from agent.eventstore.chain import payload_digest

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from agent.eventstore.messages import Blob
    from agent.eventstore.record import Recorded


def new_stream(
    db: sqlite3.Connection, name: str, parent: int | None = None, at: int | None = None
) -> int:
    """Make a stream, a fork if it has a parent; returns its id."""
    cursor = db.execute(
        "INSERT INTO streams (name, parent, forked_at) VALUES (?, ?, ?)", (name, parent, at)
    )
    return cursor.lastrowid or 0


def insert(db: sqlite3.Connection, stream: int, recorded: Sequence[Recorded]) -> None:
    """Add events to a stream."""
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


def put_blob(db: sqlite3.Connection, digest: str, data: bytes) -> None:
    """Store an attachment, and mend one that was damaged since it was stored."""
    db.execute(
        "INSERT INTO blobs (digest, data) VALUES (?, ?) ON CONFLICT (digest) DO "
        "UPDATE SET data = excluded.data WHERE data <> excluded.data",
        (digest, data),
    )


def attach(db: sqlite3.Connection, stream: int, attached: Sequence[tuple[Recorded, Blob]]) -> None:
    """Store what events brought along, and which attachments each of them names."""
    for _, blob in attached:
        if blob.data is not None:
            put_blob(db, blob.digest, blob.data)
    db.executemany(
        "INSERT INTO attachments (digest, position) "
        "SELECT ?, position FROM events WHERE stream = ? AND version = ?",
        [(blob.digest, stream, fact.version) for fact, blob in attached],
    )


def erase(db: sqlite3.Connection, stream: int, version: int, residue: bytes) -> None:
    """Put what is left of an event in the place of its payload; drop its salt and attachments."""
    position, salt, payload = db.execute(
        "SELECT position, salt, payload FROM events WHERE stream = ? AND version = ?",
        (stream, version),
    ).fetchone()
    if salt is None:
        return
    db.execute(
        "UPDATE events SET salt = NULL, payload = CAST(? AS TEXT), digest = ? WHERE position = ?",
        (residue, payload_digest(salt, payload), position),
    )
    named = "FROM attachments WHERE position = ?"
    blobs = db.execute(f"SELECT digest {named}", (position,)).fetchall()
    db.execute(f"DELETE {named}", (position,))
    _drop_unnamed(db, blobs)


def delete(db: sqlite3.Connection, stream: int) -> None:
    """Free the name, and drop what no fork needs: of its parents too, when it was the last."""
    db.execute("UPDATE streams SET deleted = 1 WHERE id = ?", (stream,))
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
    _drop_unnamed(db, blobs)


def _drop_unnamed(db: sqlite3.Connection, blobs: Sequence[tuple[bytes]]) -> None:
    db.executemany(
        "DELETE FROM blobs WHERE digest = :digest "
        "AND NOT EXISTS (SELECT 1 FROM attachments WHERE digest = :digest)",
        [{"digest": digest.decode()} for (digest,) in blobs],
    )
