from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.eventstore.backends.memory import MemoryLog
from agent.eventstore.backends.sqlite import SQLiteLog
from agent.eventstore.log import EventLog


@pytest.fixture(params=["memory", "sqlite"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EventLog]:
    """An empty log of each kind."""
    opened = MemoryLog() if request.param == "memory" else SQLiteLog(tmp_path / "log.db")
    yield opened
    opened.close()
