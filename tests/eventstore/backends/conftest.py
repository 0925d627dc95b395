from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agent.eventstore.backends.sqlite import SQLiteLog
from agent.eventstore.conformance.facts import attached, said, started
from agent.eventstore.record import Head


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of the log under test."""
    return tmp_path / "log.db"


@pytest.fixture
def log(path: Path) -> Iterator[SQLiteLog]:
    """A log in a file, closed after the test."""
    with closing(SQLiteLog(path)) as opened:
        yield opened


@pytest.fixture
def head(log: SQLiteLog) -> Head:
    """The head of a stream "a" of three events."""
    log.put_blob(b"x")
    return log.append("a", [started("a"), attached(b"x"), said("end")], expected=None)
