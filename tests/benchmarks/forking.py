"""A fork of a long session: its CPU, and the bytes that it adds to the file."""

import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

from agent import Agent
from agent.stores import SQLiteStore
from tests.benchmarks.given import cpu_ms, filled, parrot

LENGTHS = (10, 1000, 5000)
FORKS = 500


def lines() -> Iterator[str]:
    """CPU and file growth per fork at each length."""
    for turns in LENGTHS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "log.db")
            with SQLiteStore(path) as store:
                filled(store, "parent", turns)
                session = Agent(parrot(), store=store).session("parent")
                before = _size(path)
                _ = session.messages
                milliseconds = cpu_ms(session.fork, FORKS)
                grown = (_size(path) - before) / FORKS
            yield f"{turns:>5} turns: {milliseconds:.3f} ms CPU and {grown:.0f} bytes a fork"


def _size(path: Path) -> int:
    """Bytes of the file once everything is in it."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path.stat().st_size
