"""Sessions handed over as files: export, import, backup."""

import io
from pathlib import Path

import pytest

from agent.engine.errors import InvalidSessionId
from agent.eventstore.errors import InvalidExport
from agent.eventstore.jsonl.checking import verify_jsonl
from agent.eventstore.jsonl.lines import Counts
from agent.stores import LogStore, MemoryStore, SQLiteStore
from tests.engine.given import agent_of, shown
from tests.engine.stores import opened


def filled(store: LogStore) -> LogStore:
    """A session of two turns, and a fork after the first."""
    session = agent_of("b", "d", "f", store=store).session("s")
    first = session.run("a")
    session.run("c")
    session.fork("t", at=first.version).run("e")
    return store


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> LogStore:
    """An empty store of each kind."""
    return MemoryStore() if request.param == "memory" else SQLiteStore(tmp_path / "store.db")


def test_sessions_move_from_store_to_store(store: LogStore, tmp_path: Path):
    """With all that is in them; the conversation goes on there."""
    source = filled(MemoryStore())

    exported = source.export(tmp_path / "file.jsonl")
    with store:
        imported = store.import_(tmp_path / "file.jsonl")

        assert exported == imported == Counts(2, 14, 0)
        assert [store.load(key) for key in "st"] == [source.load(key) for key in "st"]
        assert list(store.sessions()) == list(source.sessions())
        again = opened(store, "h", key="t")
        assert (again.run("g").text, shown(again)) == ("h", list("abefgh"))
        assert store.verify(level="full").ok


def test_some_sessions(store: LogStore):
    """Those that are named, with what they inherited."""
    file = io.BytesIO()
    filled(MemoryStore()).export(file, ["t"])
    file.seek(0)

    with store:
        assert store.import_(file) == Counts(1, 10, 0)
        assert store.list_sessions() == ["t"]


def test_keys_that_no_store_keeps(tmp_path: Path):
    """A file is held to the same rules as a call."""
    source = MemoryStore()
    agent_of("b", store=source).session("s").run("a")
    source.log.append("x\0y", list(source.log.read("s")), expected=None)
    source.export(tmp_path / "file.jsonl")
    store = MemoryStore()

    with pytest.raises(InvalidSessionId, match="has a NUL at 1"):
        store.import_(tmp_path / "file.jsonl")

    assert store.list_sessions() == []


def test_a_file_that_was_cut(tmp_path: Path):
    """What is wrong with it is told with the line; nothing of it is taken."""
    file = tmp_path / "file.jsonl"
    filled(MemoryStore()).export(file)
    file.write_bytes(file.read_bytes()[:-10])
    store = MemoryStore()

    with pytest.raises(InvalidExport) as caught:
        store.import_(file)

    assert caught.value.line == verify_jsonl(file).findings[0].line == 18
    assert store.list_sessions() == []


def test_a_backup_is_a_store(tmp_path: Path):
    """It is opened as any other."""
    with SQLiteStore(tmp_path / "live.db") as live:
        filled(live)
        assert live.backup(tmp_path / "copy.db", level="full").ok
        with SQLiteStore(tmp_path / "copy.db") as copy:
            assert list(copy.sessions()) == list(live.sessions())
