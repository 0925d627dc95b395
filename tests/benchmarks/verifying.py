"""Verifying a log's chain, beside reading and hashing its raw rows with nothing else."""

import hashlib
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from agent.eventstore.backends.sqlite import SQLiteLog
from agent.eventstore.verify import verify_log
from tests.benchmarks.given import Figure
from tests.benchmarks.large_log import fill

EVENTS = 40_000


def figures(events: int = EVENTS) -> Iterator[Figure]:
    """Events a second of CPU both ways, the best of five each, and how they compare."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "log.db")
        log = SQLiteLog(path, durability="os")
        fill(log, events)
        count = sum(1 for _ in log.read_all())
        raw = count / min(_seconds(lambda: _read_and_hash(path)) for _ in range(5))
        chain = count / min(_seconds(lambda: verify_log(log)) for _ in range(5))
        full = count / min(_seconds(lambda: verify_log(log, level="full")) for _ in range(5))
        log.close()
    yield Figure("reading and hashing the raw rows", raw, "events/s CPU")
    yield Figure("verifying the chain", chain, "events/s CPU")
    yield Figure("verifying in full", full, "events/s CPU")
    yield Figure("the chain's speed to that of the raw rows", chain / raw, "", 0.5, least=True)


def _read_and_hash(path: Path) -> None:
    db = sqlite3.connect(path)
    db.text_factory = bytes
    previous = bytes(32)
    for row in db.execute("SELECT * FROM events ORDER BY position"):
        digest = hashlib.sha256(row[9] + row[10]).digest()
        previous = hashlib.sha256(previous + row[7] + digest).digest()
    db.close()


def _seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start
