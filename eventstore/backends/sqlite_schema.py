"""The tables of a log in SQLite, and their migrations.

Ordinary tables that any SQLite tool can read; triggers keep facts from being changed by accident.
What is asked of each event costs each event: ``events.stream`` is no foreign key, because whoever
writes has just found the stream and streams are never removed; ``position`` needs no AUTOINCREMENT,
because the last event of a log is never removed either, a deletion being an event itself.
Imported only when a file is new or old: sqlite-utils takes long to import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlite_utils import Database, Migrations

if TYPE_CHECKING:
    import sqlite3

migrations = Migrations("agent")

_TABLES = """
CREATE TABLE streams (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL CHECK (name <> ''),
    parent INTEGER REFERENCES streams (id) CHECK (parent < id),
    forked_at INTEGER CHECK ((forked_at IS NULL) = (parent IS NULL)),
    deleted INTEGER NOT NULL DEFAULT 0 CHECK (deleted IN (0, 1))
) STRICT;

CREATE UNIQUE INDEX streams_name ON streams (name) WHERE deleted = 0;
CREATE INDEX streams_parent ON streams (parent, forked_at) WHERE parent IS NOT NULL;

CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    stream INTEGER NOT NULL,
    version INTEGER NOT NULL CHECK (version > 0),
    type TEXT NOT NULL,
    schema INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL,
    codec INTEGER NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32),
    digest BLOB,
    salt BLOB,
    payload TEXT NOT NULL,
    UNIQUE (stream, version),
    CHECK ((salt IS NULL) = (digest IS NOT NULL))
) STRICT;

CREATE INDEX events_identity ON events (stream, version)
    WHERE type IN ('session.forked', 'metadata.changed', 'session.started');

CREATE TABLE blobs (
    digest TEXT PRIMARY KEY,
    data BLOB NOT NULL
) STRICT;

CREATE TABLE attachments (
    digest TEXT NOT NULL REFERENCES blobs (digest),
    position INTEGER NOT NULL REFERENCES events (position) ON DELETE CASCADE,
    PRIMARY KEY (digest, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX attachments_position ON attachments (position);
"""

_GUARDS = (
    """
CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events
WHEN NOT (
    OLD.digest IS NULL AND NEW.digest IS NOT NULL
    AND (NEW.position, NEW.stream, NEW.version, NEW.type, NEW.schema, NEW.recorded_at,
         NEW.codec, NEW.hash)
     IS (OLD.position, OLD.stream, OLD.version, OLD.type, OLD.schema, OLD.recorded_at,
         OLD.codec, OLD.hash)
)
BEGIN SELECT RAISE(ABORT, 'events are never changed, except that they are erased'); END
""",
    """
CREATE TRIGGER events_are_never_removed BEFORE DELETE ON events
WHEN OLD.type = 'session.deleted'
  OR NOT EXISTS (SELECT 1 FROM streams WHERE id = OLD.stream AND deleted = 1)
  OR EXISTS (SELECT 1 FROM streams WHERE parent = OLD.stream AND forked_at >= OLD.version)
BEGIN SELECT RAISE(ABORT, 'events are never removed while a session needs them'); END
""",
    """
CREATE TRIGGER streams_are_never_removed BEFORE DELETE ON streams
BEGIN SELECT RAISE(ABORT, 'streams are never removed'); END
""",
    # INSERT OR REPLACE removes rows without asking the trigger above.
    """
CREATE TRIGGER events_are_never_replaced BEFORE INSERT ON events
WHEN EXISTS (SELECT 1 FROM events WHERE position = NEW.position)
  OR EXISTS (SELECT 1 FROM events WHERE stream = NEW.stream AND version = NEW.version)
BEGIN SELECT RAISE(ABORT, 'events are never replaced'); END
""",
)


@migrations()
def m001_log(db: Database) -> None:
    """Streams, events, attachments, and the triggers that guard them."""
    for statement in _TABLES.split(";\n"):
        if statement.strip():
            db.conn.execute(statement)
    for guard in _GUARDS:
        db.conn.execute(guard)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the tables to the newest schema, inside the caller's ``BEGIN IMMEDIATE``."""
    migrations.apply(Database(connection, execute_plugins=False))
