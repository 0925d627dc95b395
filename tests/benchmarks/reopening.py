"""Opening a session of 10,000 messages, against reading and decoding the same rows."""

import sqlite3
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from agent import Agent
from agent.eventstore.events import Event
from agent.stores import SQLiteStore
from tests.benchmarks.given import cpu_ms, filled, parrot, spread

TURNS, ROUNDS = 5000, 7


def lines() -> Iterator[str]:
    """CPU of both, measured in turn."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "log.db")
        with SQLiteStore(path) as store:
            filled(store, "long", TURNS)
            agent = Agent(parrot(), store=store)
            ours, raw = [], []
            for _ in range(ROUNDS):
                raw.append(cpu_ms(lambda: _raw(path)))
                ours.append(cpu_ms(lambda: agent.session("long").messages))
    ratio = statistics.median(ours) / statistics.median(raw)
    yield f"rows and decode: {spread(raw)} ms CPU"
    yield f"a session:       {spread(ours)} ms CPU, {ratio:.2f} of that"


def _raw(path: Path) -> list[Event]:
    decoder = msgspec.json.Decoder(Event)
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT payload FROM events ORDER BY position").fetchall()
    connection.close()
    return [decoder.decode(payload) for (payload,) in rows]
