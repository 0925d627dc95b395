from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from agent.stores import LogStore, MemoryStore, SessionStore, SQLiteStore
from tests.engine.stores import DictStore


def log_store_of(kind: str, folder: Path) -> LogStore:
    """A new store over one of the event logs."""
    return MemoryStore() if kind == "memory" else SQLiteStore(folder / "sessions.db")


@pytest.fixture(params=["memory", "sqlite"])
def log_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[LogStore]:
    """A store over each event log."""
    with log_store_of(request.param, tmp_path) as made:
        yield made


@pytest.fixture(params=["memory", "sqlite", "custom"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SessionStore]:
    """A store of each kind."""
    custom = request.param == "custom"
    with nullcontext(DictStore()) if custom else log_store_of(request.param, tmp_path) as made:
        yield made
