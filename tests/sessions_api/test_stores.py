from pathlib import Path

import pytest

from agent import Agent, Session
from agent.errors import ConflictError
from agent.stores import MemoryStore, SessionStore, SQLiteStore
from tests.sessions_api.given import ALICE, FACTS, told


def test_the_four_methods(agent: Agent, store: SessionStore) -> None:
    """Save, load, list and delete under any key."""
    session = told(agent.session())
    assert store.load("session-1") is None
    assert store.list_sessions() == []
    store.save("session-1", session.to_dict())
    assert store.list_sessions() == ["session-1"]
    data = store.load("session-1")
    assert data is not None
    assert data == session.to_dict()
    assert Session.from_dict(data, agent).run("Who am I?").text.startswith(FACTS)
    assert store.delete("session-1") is True
    assert store.delete("session-1") is False
    assert store.load("session-1") is None
    assert store.list_sessions() == []


def test_save_again(agent: Agent, store: SessionStore) -> None:
    """A session that went on is saved under the same key, and again after a delete."""
    session = agent.session()
    for text in ALICE:
        session.run(text)
        store.save(session.session_id, session.to_dict())
        store.save(session.session_id, session.to_dict())
    assert store.load(session.session_id) == session.to_dict()
    store.delete(session.session_id)
    store.save(session.session_id, session.to_dict())
    assert store.load(session.session_id) == session.to_dict()


def test_a_fork_and_its_parent(agent: Agent, store: SessionStore) -> None:
    """Both live in one store, and each survives the other's delete."""
    parent = told(agent.session(session_id="parent"))
    fork = parent.fork(session_id="fork")
    parent.run("Only the parent knows")
    fork.run("Only the fork knows")
    store.save("parent", parent.to_dict())
    store.save("fork", fork.to_dict())
    assert sorted(store.list_sessions()) == ["fork", "parent"]
    assert store.load("parent") == parent.to_dict()
    store.delete("parent")
    assert store.load("fork") == fork.to_dict()


def test_what_was_loaded_is_a_copy(agent: Agent, store: SessionStore) -> None:
    """Changing loaded or saved data does not change the store."""
    session = told(agent.session())
    saved = session.to_dict()
    store.save("s", saved)
    saved.clear()
    loaded = store.load("s")
    assert loaded is not None
    loaded.clear()
    assert store.load("s") == session.to_dict()


def test_two_stores(agent: Agent, tmp_path: Path) -> None:
    """A session may be saved in several places."""
    session = told(agent.session())
    with SQLiteStore(tmp_path / "a.db") as a, SQLiteStore(tmp_path / "b.db") as b:
        a.save("one", session.to_dict())
        b.save("two", session.to_dict())
        assert (a.list_sessions(), b.list_sessions()) == (["one"], ["two"])


def test_a_file_is_read_by_another_store(agent: Agent, tmp_path: Path) -> None:
    """What one store saved, a later one loads; a path may be a string."""
    session = told(agent.session())
    with SQLiteStore(str(tmp_path / "sessions.db")) as first:
        first.save(session.session_id, session.to_dict())
    with SQLiteStore(tmp_path / "sessions.db") as second:
        assert second.load(session.session_id) == session.to_dict()


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_nothing_is_overwritten(agent: Agent, kind: str, tmp_path: Path) -> None:
    """Another course, or an older state, under a used key is a conflict."""
    session = told(agent.session())
    older = session.to_dict()
    session.run("One more")
    opened = MemoryStore() if kind == "memory" else SQLiteStore(tmp_path / "sessions.db")
    with opened as store:
        store.save("s", session.to_dict())
        for other in (older, told(agent.session()).to_dict()):
            with pytest.raises(ConflictError):
                store.save("s", other)
        assert store.load("s") == session.to_dict()
