"""Persisting a plain turn on SQLite (FULL), against raw sqlite3 inserts of the same rows.

Both make two commits a turn. Ours also encodes, checks, hashes and places the events; the raw side
has the same columns and key, without checks, triggers or foreign keys.
"""

import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from agent.engine.sources import Sources
from agent.eventstore.backends.sqlite import SQLiteLog
from agent.eventstore.events import Event
from agent.eventstore.record import Head, Recorded
from agent.stores import SQLiteStore
from tests.benchmarks.given import Figure, cpu_ms, filled, median

LENGTHS = (0, 5000)
ROUNDS, TURNS = 9, 100
PLAY = [["turn.started", "model.requested"], ["model.responded", "turn.completed"]]
TABLE = """
CREATE TABLE events (
    position INTEGER PRIMARY KEY, stream INTEGER, version INTEGER, type TEXT, schema INTEGER,
    recorded_at INTEGER, codec INTEGER, hash BLOB, salt BLOB, payload TEXT,
    UNIQUE (stream, version)
)
"""
INSERT = (
    "INSERT INTO events (stream, version, type, schema, recorded_at, codec, hash, salt, payload) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)

Commit = Sequence[Recorded]


def figures() -> Iterator[Figure]:
    """CPU of both at each length, measured in turn, round after round."""
    with tempfile.TemporaryDirectory() as folder:
        pairs = {turns: _Pair(Path(folder), turns) for turns in LENGTHS}
        samples = [(turns, pairs[turns].measured()) for _ in range(ROUNDS) for turns in LENGTHS]
    ours = {turns: median([pair[0] for at, pair in samples if at == turns]) for turns in LENGTHS}
    raw = {turns: median([pair[1] for at, pair in samples if at == turns]) for turns in LENGTHS}
    for turns in LENGTHS:
        yield Figure(f"raw inserts after {turns:,} turns", raw[turns], "ms CPU a turn")
        yield Figure(f"the log after {turns:,} turns", ours[turns], "ms CPU a turn")
        yield Figure("of raw inserts", ours[turns] / raw[turns], "times", 2)
    yield Figure("at 5,000 turns", ours[5000] / ours[0], "times at 0", 1.2)


class _Pair:
    """A log with a session of so many turns, and a raw table with the same rows."""

    def __init__(self, folder: Path, turns: int) -> None:
        path = folder / f"{turns}.db"
        with SQLiteStore(path) as store:
            filled(store, "session", max(turns, 1))
            known = list(store.log.read("session"))
        self._head: Head = known[-1].head
        self._turn = _commits(known[-4:])
        self._log = SQLiteLog(path)
        self._sources = Sources()
        self._raw = sqlite3.connect(folder / f"{turns} raw.db", isolation_level=None)
        for statement in (
            "PRAGMA page_size = 8192",
            "PRAGMA journal_mode = WAL",
            "PRAGMA synchronous = FULL",
            TABLE,
        ):
            self._raw.execute(statement)
        self._raw.executemany(INSERT, [row(fact, fact.version) for fact in known])

    def measured(self) -> tuple[float, float]:
        """CPU milliseconds a turn: the log's, and the raw table's."""
        rows = self._rows()
        raw = cpu_ms(lambda: self._insert(rows)) / TURNS
        return cpu_ms(self._append) / TURNS, raw

    def _append(self) -> None:
        for _ in range(TURNS):
            for events in self._turn:
                prepared = [self._sources.prepare(event) for event in events]
                self._head = self._log.append("session", prepared, expected=self._head)

    def _rows(self) -> list[list[tuple[Any, ...]]]:
        facts = list(self._log.read("session", after=self._head.version - 4))
        first = self._raw.execute("SELECT max(version) + 1 FROM events").fetchone()[0]
        return [
            [row(facts[2 * half + place], first + 4 * turn + 2 * half + place) for place in (0, 1)]
            for turn in range(TURNS)
            for half in (0, 1)
        ]

    def _insert(self, commits: list[list[tuple[Any, ...]]]) -> None:
        for rows in commits:
            self._raw.execute("BEGIN IMMEDIATE")
            self._raw.executemany(INSERT, rows)
            self._raw.execute("COMMIT")


def _commits(turn: Commit) -> list[list[Event]]:
    assert [fact.type for fact in turn] == [kind for kinds in PLAY for kind in kinds]
    return [[fact.event for fact in turn[:2]], [fact.event for fact in turn[2:]]]


def row(fact: Recorded, version: int, stream: int = 1) -> tuple[Any, ...]:
    """An event as the raw table keeps it."""
    payload = fact.payload.decode()
    fields = (fact.type, fact.schema, fact.recorded_at, fact.codec, fact.hash, fact.salt, payload)
    return (stream, version, *fields)
