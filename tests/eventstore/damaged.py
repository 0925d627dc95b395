"""A log file with forks and an attachment, and ways to damage it."""

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from random import Random

from agent.eventstore import erasing
from agent.eventstore.backends.sqlite import SQLiteLog
from agent.eventstore.conformance.facts import bringing, deleted, fixed, forked, said, started
from agent.eventstore.log import EventLog

COLUMNS = (
    "position",
    "stream",
    "version",
    "type",
    "schema",
    "recorded_at",
    "codec",
    "hash",
    "digest",
    "salt",
    "payload",
)
WAYS = ("flip", "remove", "swap", "add", "move")


def fill(log: EventLog) -> None:
    """Three roots, a fork of a fork, an attachment."""
    for stream in "abc":
        log.append(stream, [started(stream)], expected=None)
    for number in range(4):
        for stream in "abc":
            log.append(stream, [said(f"{stream} {number}")], expected=log.head(stream))
    log.append("a", [bringing(b"x")], expected=log.head("a"))
    fork(log, "a", "d", 3)
    fork(log, "d", "e", 4)
    log.append("e", [said("last")], expected=log.head("e"))


def erase_some(log: EventLog) -> None:
    """Erase what a fork shares with its parent, and what is a stream's own."""
    for stream, versions in (("d", (2,)), ("c", (3, 5))):
        erasing.erase(log, erasing.plan(log, stream, versions), "asked", fixed)


def fork(log: EventLog, parent: str, child: str, at: int) -> None:
    """Fork a stream."""
    point = next(iter(log.read(parent, after=at - 1, until=at))).head
    log.fork(parent, child, at=at, prepared=forked(child, parent, point))


def erase(log: EventLog, stream: str) -> None:
    """Delete a stream."""
    log.delete(stream, deleted())


@dataclass(frozen=True)
class Damage:
    """What was done to which rows."""

    way: str
    column: str
    positions: tuple[int, ...]


def opened(path: Path) -> sqlite3.Connection:
    """A raw connection past all guards."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA ignore_check_constraints = ON")
    for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
        db.execute(f"DROP TRIGGER {name}")
    return db


def damage(path: Path, random: Random) -> Damage:
    """Damage the events of a closed log in one way."""
    db = opened(path)
    try:
        while True:
            way = random.choice(WAYS)
            try:
                done = _damage(db, way, random)
            except (sqlite3.IntegrityError, OverflowError):
                continue  # the tables refuse it: draw again
            if done:
                return done
    finally:
        db.close()


def _damage(db: sqlite3.Connection, way: str, random: Random) -> Damage | None:
    # The very last event is left: without a signed head a cut tail is a shorter log.
    positions = [row[0] for row in db.execute("SELECT position FROM events")][:-1]
    here, there = random.sample(positions, 2)
    match way:
        case "flip":
            column = random.choice(COLUMNS)
            return Damage(way, column, (here,)) if flip(db, column, here, random) else None
        case "remove":
            db.execute("PRAGMA foreign_keys = OFF")
            db.execute("DELETE FROM events WHERE position = ?", (here,))
        case "swap":
            names = "stream, version"
            query = f"SELECT {names} FROM events WHERE position = ?"
            places = [db.execute(query, (position,)).fetchone() for position in (here, there)]
            update = f"UPDATE events SET ({names}) = (?, ?) WHERE position = ?"
            for place, position in ((99, 1), here), (places[0], there), (places[1], here):
                db.execute(update, (*place, position))
        case "add":
            rest = ", ".join(COLUMNS[3:])
            db.execute(
                f"INSERT INTO events (stream, version, {rest}) SELECT stream, (SELECT "
                f"max(version) + 1 FROM events WHERE stream = e.stream), {rest} FROM events e "
                "WHERE position = ?",
                (here,),
            )
        case _:
            db.execute(
                "UPDATE events SET stream = (SELECT stream FROM events WHERE position = ?), "
                "version = (SELECT max(version) + 1 FROM events WHERE stream = (SELECT stream "
                "FROM events WHERE position = ?)) WHERE position = ? AND stream <> "
                "(SELECT stream FROM events WHERE position = ?)",
                (there, there, here, there),
            )
            if db.execute("SELECT changes()").fetchone() == (0,):
                return None
    return Damage(way, "", (here, there))


def cut(path: Path, random: Random) -> Damage:
    """Cut the newest events of a closed log, or swap the positions of two."""
    db = opened(path)
    try:
        positions = [row[0] for row in db.execute("SELECT position FROM events ORDER BY position")]
        if random.random() < 0.5:
            last = random.choice(positions[1:])
            db.execute("DELETE FROM events WHERE position >= ?", (last,))
            db.execute("DELETE FROM streams WHERE id NOT IN (SELECT stream FROM events)")
            return Damage("cut", "", (last,))
        here, there = random.sample(positions, 2)
        for old, new in ((here, -1), (there, here), (-1, there)):
            db.execute("UPDATE events SET position = ? WHERE position = ?", (new, old))
        return Damage("reorder", "position", (here, there))
    finally:
        db.close()


def flip(db: sqlite3.Connection, column: str, position: int, random: Random) -> bool:
    """Flip one bit of a field; False for one that holds nothing."""
    query = f"SELECT {column}, CAST({column} AS BLOB) FROM events WHERE position = ?"
    db.text_factory = bytes
    value, data = db.execute(query, (position,)).fetchone()
    if value is None or data == b"":
        return False
    if isinstance(value, int):
        changed: object = value ^ (1 << random.randrange(62))
        db.execute(f"UPDATE events SET {column} = ? WHERE position = ?", (changed, position))
        return True
    raw = bytearray(data)
    raw[random.randrange(len(raw))] ^= 1 << random.randrange(8)
    cast = "TEXT" if column in ("type", "payload") else "BLOB"
    db.execute(
        f"UPDATE events SET {column} = CAST(? AS {cast}) WHERE position = ?",
        (bytes(raw), position),
    )
    return True


def made(path: Path) -> None:
    """A filled log in a file."""
    log = SQLiteLog(path, durability="os")
    fill(log)
    log.close()
