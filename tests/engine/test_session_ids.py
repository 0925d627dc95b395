"""What can be a session id, and that every id stands for one session only."""

import json
from pathlib import Path
from typing import Any

import pytest

from agent import Session
from agent.engine.errors import InvalidSessionId
from agent.stores import LogStore, MemoryStore, SessionStore, SQLiteStore
from tests.engine.given import agent_of, shown
from tests.engine.stores import exported

NFC, NFD = "\u00e9", "e\u0301"
ALIKE = [
    "a",
    "A",
    "\u0430",
    NFC,
    NFD,
    "ss",
    "\u00df",
    "fi",
    "\ufb01",
    "k",
    "K",
    "\u212a",
    " a",
    "a ",
]
ODD = [
    *("a/b", "../x", "..", ".", "/", "\\", "C:\\x", "a:b"),
    *("'; DROP TABLE events; --", '"', "%", "_", "*", "?", "{}", "null", "0", "1.0"),
    *(
        "Zo\u00eb \U0001f375",
        "\U0001f600" * 1000,
        "x" * 1000,
        "\u200b",
        "\u202ea",
        "\ufeffa",
        "\uffff",
    ),
    *("a\n", "\ta", "\x1b[31m", "\x7f"),
]
REFUSED = [
    ("", "is empty"),
    (" \n\u00a0", "is empty"),
    ("x" * 1001, "has 1001 characters"),
    ("a\0", "has a NUL at 1"),
    ("a\ud800", "has a lone surrogate at 1"),
    (3, "is of type int"),
    (b"x", "is of type bytes"),
    (["x"], "is of type list"),
]


@pytest.mark.parametrize("key", [*ODD, NFC, NFD])
def test_odd_ids(store: SessionStore, key: str):
    """Every id that is accepted comes back as it was: listed, opened, exported, forked, deleted."""
    agent = agent_of("b", store=store)
    agent.session(key).run("a")
    assert (store.list_sessions(), shown(agent.session(key))) == ([key], ["a", "b"])

    data = json.loads(json.dumps(agent.session(key).to_dict()))
    assert Session.from_dict(data, agent_of()).session_id == key
    child = agent.session(key).fork("child")
    assert (child.parent, shown(child)) == (key, ["a", "b"])
    assert child.fork(key + key[:1] if len(key) < 1000 else key[:-1]).parent == "child"
    assert (store.delete(key), store.load(key)) == (True, None)


def test_ids_that_look_alike(store: SessionStore):
    """Ids that differ only by case, by Unicode normal form or by white space are apart."""
    agent = agent_of(*ALIKE, store=store)
    for key in ALIKE:
        agent.session(key).run("Who are you?")

    assert sorted(store.list_sessions()) == sorted(ALIKE)
    assert [agent.session(key).messages[1].text for key in ALIKE] == ALIKE
    assert store.delete("A")
    assert shown(agent.session("a")) == ["Who are you?", "a"]


@pytest.mark.parametrize(("key", "reason"), REFUSED)
def test_refused_ids(store: SessionStore, key: Any, reason: str):
    """An id that some store could not keep is refused by all, saying what is allowed."""
    session = agent_of(store=store).session("s")
    for make in (
        agent_of().session,
        agent_of(store=store).session,
        session.fork,
        lambda key: Session.from_dict(exported("b"), agent_of(store=store), session_id=key),
    ):
        with pytest.raises(InvalidSessionId, match="text of 1 to 1000 characters") as raised:
            make(key)
        assert str(raised.value).endswith(f"this one {reason}")
        assert raised.value.reason == reason
    assert store.list_sessions() == []


@pytest.mark.parametrize("key", [*(key for key, _ in REFUSED), None])
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_refused_keys(kind: str, key: Any, tmp_path: Path):
    """A store's own methods refuse the same, also for reading and deleting."""
    made: LogStore = MemoryStore() if kind == "memory" else SQLiteStore(tmp_path / "sessions.db")
    with made as store:
        for use in (store.load, store.delete, lambda key: store.save(key, exported("b"))):
            with pytest.raises(InvalidSessionId):
                use(key)
        assert store.list_sessions() == []


def test_ids_that_are_a_kind_of_text(store: SessionStore):
    """A subclass of str is the text that it holds."""

    class Name(str):
        __slots__ = ()

    session = agent_of("b", store=store).session(Name("s"))
    session.run("a")

    assert (type(session.session_id), store.list_sessions()) == (str, ["s"])


@pytest.mark.parametrize("version", ["1", 1.0, True, None])
def test_versions_are_numbers(version: Any):
    """A version of another type is none that the session has."""
    from agent.eventstore.errors import UnknownStream

    session = agent_of("b").session("s")
    session.run("a")
    with pytest.raises(UnknownStream, match="session 's' has versions 1 to 5, not "):
        session.at(version)
    if version is not None:
        with pytest.raises(UnknownStream, match="session 's' has versions 1 to 5, not "):
            session.fork(at=version)
