"""Opening a session of 10,000 messages (20,000 events), whole and at half its length.

The raw side selects the same rows, every column, and decodes each payload with msgspec.
"""

import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from agent import Agent
from agent.eventstore.events import Event
from agent.stores import SQLiteStore
from tests.benchmarks.given import Figure, cpu_ms, filled, median, parrot

TURNS, ROUNDS = 5000, 9
EVERYTHING = (
    "stream, version, position, type, schema, recorded_at, codec, hash, digest, salt, payload"
)


def figures() -> Iterator[Figure]:
    """CPU of each, measured in turn."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "log.db")
        with SQLiteStore(path) as store:
            filled(store, "long", TURNS)
            agent = Agent(parrot(), store=store)
            head = store.log.head("long")
            half = head.version // 2 if head else 0
            rounds = [
                (
                    cpu_ms(lambda: _raw(path, "payload")),
                    cpu_ms(lambda: _raw(path, EVERYTHING)),
                    cpu_ms(lambda: agent.session("long").messages),
                    _view(agent, half),
                    _prefix(agent, store, half),
                )
                for _ in range(ROUNDS)
            ]
    medians = [median(list(column)) for column in zip(*rounds, strict=True)]
    payloads, rows, ours, view, prefix = medians
    yield Figure("rows and decode", rows, "ms CPU")
    yield Figure("a session", ours, "ms CPU")
    yield Figure("a session", ours / rows, "times rows and decode", 2)
    yield Figure("a session", ours / payloads, "times payloads and decode")
    yield Figure("session.at(half), first access", view, "ms CPU")
    yield Figure("session.at(half)", view / prefix, "times resuming that prefix", 1)


def _raw(path: Path, columns: str) -> list[Event]:
    decoder = msgspec.json.Decoder(Event)
    connection = sqlite3.connect(path)
    rows = connection.execute(
        f"SELECT {columns} FROM events WHERE stream = 1 ORDER BY version"
    ).fetchall()
    connection.close()
    return [decoder.decode(row[-1]) for row in rows]


def _view(agent: Agent, version: int) -> float:
    session = agent.session("long")
    _ = session.version
    return cpu_ms(lambda: session.at(version).messages)


def _prefix(agent: Agent, store: SQLiteStore, version: int) -> float:
    """Resuming a session that has just these events, as the fork at their end has."""
    key = "half"
    store.delete(key)
    agent.session("long").fork(key, at=version)
    return cpu_ms(lambda: agent.session(key).messages)
