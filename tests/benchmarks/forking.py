"""A fork of a long session: its CPU, its time, and the bytes that it adds to the file."""

import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from agent import Agent, Session
from agent.stores import SQLiteStore
from tests.benchmarks.given import Figure, cpu_ms, filled, median, parrot

LENGTHS = (10, 1000, 5000)
FORKS = 1000


def figures() -> Iterator[Figure]:
    """CPU and file growth per fork at each length, in the middle and at the end."""
    for turns in LENGTHS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "log.db")
            with SQLiteStore(path) as store:
                filled(store, "parent", turns)
                session = Agent(parrot(), store=store).session("parent")
                middle = session.version // 2
                before = _size(path)
                inside = cpu_ms(lambda session=session, at=middle: session.fork(at=at), FORKS)
                grown = (_size(path) - before) / FORKS
                handle = median([_elapsed_ms(session) for _ in range(100)])
        yield Figure(f"a fork at half of {2 * turns:,} messages", inside, "ms CPU", 1)
        yield Figure(f"a fork at half of {2 * turns:,} messages", grown, "bytes", 1000)
        yield Figure("session.fork() to a usable handle, fsync included", handle, "ms", 2)


def _elapsed_ms(session: Session) -> float:
    start = time.perf_counter()
    _ = session.fork().messages
    return (time.perf_counter() - start) * 1000


def _size(path: Path) -> int:
    """Bytes of the file once everything is in it."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path.stat().st_size
