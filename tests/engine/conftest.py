from collections.abc import Generator, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from agent.stores import LogStore, MemoryStore, SessionStore, SQLiteStore
from tests.engine.rebuilding import rebuilding
from tests.engine.replaying import replaying
from tests.engine.stores import DictStore


def pytest_configure(config: pytest.Config) -> None:
    """Declare what tests can say of themselves."""
    config.addinivalue_line("markers", "forged: its log holds what no engine would have written")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Hold what every test has recorded against what can be rebuilt of it, and replay it."""
    forged = item.get_closest_marker("forged") is not None
    with (
        pytest.MonkeyPatch.context() as patch,
        rebuilding(patch),
        nullcontext() if forged else replaying(patch),
    ):
        return (yield)


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
