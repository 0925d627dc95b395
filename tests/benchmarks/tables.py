"""Tables for SQL: following the feed, and searching it."""

import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from agent.eventstore.backends.sqlite import SQLiteLog
from agent.tables import Tables
from tests.benchmarks.given import Figure, median
from tests.benchmarks.large_log import fill

EVENTS = 50_000
"""The figures in docs/performance.md are those of 1,000,000."""

ROUNDS = 15


def figures(events: int = EVENTS) -> Iterator[Figure]:
    """Building from nothing, catching up with one turn, and searches, each as a user calls it."""
    with tempfile.TemporaryDirectory() as folder:
        log = SQLiteLog(Path(folder, "log.db"), durability="os")
        fill(log, events)
        tables = Tables(log, Path(folder, "tables.db"))
        start = time.perf_counter()
        count = tables.catch_up()
        yield Figure("building them", count / (time.perf_counter() - start), "events a second")
        yield from _sizes(log, tables)
        yield from _searches(tables)
        yield Figure("catching up with nothing", _ms(tables.catch_up), "ms")
        log.close()


def _sizes(log: SQLiteLog, tables: Tables) -> Iterator[Figure]:
    with closing(sqlite3.connect(log.path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = Path(tables.path).stat().st_size / Path(log.path).stat().st_size
    yield Figure("their bytes per byte of the log", size, "bytes")


def _searches(tables: Tables) -> Iterator[Figure]:
    for what, words in (
        ("a word that is in one text", "needle1"),
        ("a word that is in most", "the"),
        ("two words that are in many", "coffee weather"),
        ("the beginning of a word", "need*"),
        ("a phrase", '"order of a"'),
        ("a word that is in none", "nowhere"),
    ):
        yield Figure(f"search: {what}", _ms(lambda words=words: tables.search(words)), "ms", 100)
    listing = "SELECT * FROM sessions ORDER BY updated DESC LIMIT 50"
    yield Figure("listing the last 50 sessions", _ms(lambda: tables.sql(listing)), "ms", 100)
    usage = "SELECT * FROM usage"
    yield Figure("usage by model and day", _ms(lambda: tables.sql(usage, seconds=60)), "ms")


def _ms(work: Callable[[], object]) -> float:
    """Milliseconds of one call, the median of several."""
    samples: list[float] = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        samples.append((time.perf_counter() - start) * 1000)
    return median(samples)
