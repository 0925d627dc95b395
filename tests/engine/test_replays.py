"""Many sessions replayed."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from agent import Agent
from agent.engine.provider import Frame, Prompt
from agent.engine.scripted import ScriptedModel
from agent.errors import ConfigurationError, InvalidExport, UnknownProvider
from agent.replay import Replay, Replays, replay, replay_all
from agent.stores import MemoryStore, SessionStore, SQLiteStore
from tests.engine.crashes import GOOD, Tea
from tests.engine.given import agent_of


def kept(store: SessionStore, *, temperature: float = 0.5) -> Agent:
    """An agent with three sessions, one of them without a turn of the agent's own settings."""
    agent = agent_of(*"abcd", temperature=temperature, store=store)
    agent.session("a", system="Be brief.").run("1")
    session = agent.session("b", system="Be brief.")
    session.run("1")
    session.run("2")
    agent.session("c").run("1", temperature=0.1)
    return agent


def test_all_of_a_store(store: SessionStore) -> None:
    """Of each kind of store, every session by its name; nothing is different."""
    agent = kept(store)
    found = replay_all(store, agent)
    assert found
    assert [(one.session_id, one.events, one.requests) for one in found.results] == [
        ("a", 5, 1),
        ("b", 9, 2),
        ("c", 5, 1),
    ]
    assert (found.diverged, found.failed, found.causes) == ((), (), {})
    assert str(found) == "3 sessions, 19 events: 3 the same, 0 different, 0 not replayed"


def test_a_store_is_not_written_to(store: SessionStore) -> None:
    """What it keeps is what it kept."""
    agent = kept(store)
    before = {name: store.load(name) for name in store.list_sessions()}
    replay_all(store, agent, system="Other")
    assert {name: store.load(name) for name in store.list_sessions()} == before


def test_what_is_different(store: SessionStore) -> None:
    """In how many sessions, and by what."""
    kept(store)
    found = replay_all(store, agent_of(temperature=0.7))
    assert not found
    assert [one.session_id for one in found.diverged] == ["a", "b"]
    assert found.causes == {"settings": 2}
    assert [one.divergence and one.divergence.version for one in found.results] == [2, 2, None]
    assert str(found) == (
        "3 sessions, 7 events: 1 the same, 2 different, 0 not replayed\n  2 by settings"
    )


def test_causes_come_by_their_number() -> None:
    """The most frequent first; of each session the likeliest."""
    agent = agent_of(*"abc", store=MemoryStore())
    agent.session("a").run("1", model="other")
    agent.session("b").run("1")
    agent.session("c").run("1")
    sessions = [agent.session(name) for name in "abc"]
    sessions[0] = agent.session("a", system="Be brief.")
    found = replay_all(sessions, Agent(ScriptedModel([]), "m2"), system="Be kind.")
    assert found.causes == {"model": 2, "system prompt": 1}
    assert str(found).splitlines()[1:] == ["  2 by model", "  1 by system prompt"]


def test_a_cause_that_is_not_known() -> None:
    """What today raises says more than its kind."""

    class Refusing(ScriptedModel):
        def encode_frame(self, prompt: Prompt) -> Frame:
            raise ValueError("not this")

    session = agent_of("a").session("a")
    session.run("1")
    assert replay_all([session], Agent(Refusing([]), "m")).causes == {"a cause unknown": 1}


def test_sessions_and_exports() -> None:
    """In any order, from anywhere."""
    agent = kept(MemoryStore())
    one, other = agent.session("a"), agent.session("b").to_dict()
    found = replay_all((source for source in (other, one)), agent)
    assert [result.session_id for result in found.results] == ["b", "a"]
    assert found
    assert not replay_all([]).results
    assert str(replay_all([])) == "0 sessions, 0 events: 0 the same, 0 different, 0 not replayed"


def test_damage_is_a_result() -> None:
    """One session that cannot be read does not keep the others from being replayed."""
    agent = kept(MemoryStore())
    damaged = agent.session("b").to_dict()
    damaged["events"] = damaged["events"][:-1]
    found = replay_all([damaged, agent.session("a"), {}, {"session_id": "x"}, 3], agent)  # pyright: ignore[reportArgumentType]
    assert not found
    assert [(one.session_id, type(one.error)) for one in found.results] == [
        ("b", InvalidExport),
        ("a", type(None)),
        ("{}", InvalidExport),
        ("x", InvalidExport),
        ("3", ConfigurationError),
    ]
    assert [one.session_id for one in found.failed] == ["b", "{}", "x", "3"]
    lines = str(found).splitlines()
    assert lines[0] == "5 sessions, 5 events: 1 the same, 0 different, 4 not replayed"
    assert lines[1].startswith("  b: not replayed: InvalidExport: ")
    assert lines[4] == (
        "  3: not replayed: ConfigurationError: a session or the dictionary of its to_dict() is "
        "replayed, not int"
    )


def test_a_damaged_session_of_a_store(tmp_path: Path) -> None:
    """Of SQLite too: its name is known."""
    path = tmp_path / "s.db"
    with SQLiteStore(path) as store:
        agent = kept(store)
    with sqlite3.connect(path) as connection:
        connection.execute("DROP TRIGGER events_are_never_changed")
        connection.execute("update events set payload = '{}' where version = 3")
    connection.close()
    with SQLiteStore(path) as store:
        found = replay_all(store, agent)
    assert [one.session_id for one in found.failed] == ["a", "b", "c"]
    assert {type(one.error).__name__ for one in found.failed} == {"CorruptLog"}


def test_a_provider_that_is_not_here_is_a_result() -> None:
    """Without an agent only those that come with the library are known, the script among them."""

    class Mine(ScriptedModel):
        name = "mine"

    own = Agent(Mine(["a"]), "m").session("mine")
    own.run("Hi")
    found = replay_all([kept(MemoryStore()).session("a").to_dict(), own.to_dict()])
    assert [type(one.error) for one in found.results] == [type(None), UnknownProvider]
    assert found.results[0].events == 5


def test_progress() -> None:
    """Each result is told as it comes."""
    agent = kept(MemoryStore())
    told: list[Replay] = []
    sources = [agent.session(name) for name in "ab"]

    def reading() -> Any:
        for number, source in enumerate(sources):
            assert len(told) == number
            yield source

    found = replay_all(reading(), agent, progress=told.append)
    assert found == Replays(tuple(told))
    assert len(told) == 2


def test_schemas_are_given_to_all() -> None:
    """They judge in every session."""
    agent = agent_of(GOOD, GOOD, store=MemoryStore())
    sessions = [agent.session(name) for name in "ab"]
    for session in sessions:
        session.json("Tea", schema=Tea)

    class Other(Tea):
        """A tea."""

        year: int = 0

    Other.__name__ = "Tea"
    assert replay_all(sessions, agent, schemas=[Tea])
    assert replay_all(sessions, agent, schemas=[Other]).causes == {"output schema": 2}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"schemas": [3]}, "schema=3 has no JSON Schema"),
        ({"system": 3}, "a system prompt is text, not int"),
    ],
)
def test_what_could_work_with_none(options: Any, words: str) -> None:
    """It is refused at once, instead of for each session."""
    with pytest.raises(ConfigurationError, match=words):
        replay_all([], agent_of(), **options)


def test_schemas_of_nobody() -> None:
    """As for a single session."""
    with pytest.raises(ConfigurationError, match="schemas= are those of an agent of today"):
        replay_all([], schemas=[Tea])


@pytest.mark.parametrize("kind", ["a session", "an export", "a path"])
def test_a_single_one(kind: str) -> None:
    """Many are asked for; replay() takes one."""
    session = agent_of().session("s")
    given = {"a session": session, "an export": session.to_dict(), "a path": "s.db"}[kind]
    with pytest.raises(ConfigurationError, match=r"in a list, or as the store that keeps them; re"):
        replay_all(given)


# A single one


def test_an_export_is_imported_nowhere() -> None:
    """Its agent's store holds what it held."""
    store = MemoryStore()
    agent = agent_of("x", store=store)
    data = agent_of("y").session("elsewhere")
    data.run("1")
    assert replay(data.to_dict(), agent)
    assert store.list_sessions() == []


@pytest.mark.parametrize("source", [3, None, "x", []])
def test_what_is_no_session(source: Any) -> None:
    """It is refused."""
    words = f"a session or the dictionary of its to_dict.. is replayed, not {type(source).__name__}"
    with pytest.raises(ConfigurationError, match=words):
        replay(source)


def test_edits_of_an_export() -> None:
    """As of a session."""
    session = agent_of("x").session("s")
    session.run("1")
    found = replay(session.to_dict(), agent_of(), edit={2: "2"})
    assert found.divergence is not None
    assert (found.divergence.version, found.divergence.causes) == (3, ("history",))
    assert str(found) == (
        "s: the same for 2 events, 0 requests; then version 3: another request (cause: history)\n"
        "  model.requested\n"
        '  /messages/0/parts/0/text: "1" -> "2"'
    )


@pytest.mark.parametrize("agent", ["x", 3, object()])
def test_what_is_no_agent(agent: Any) -> None:
    """It is refused in words, wherever it is given."""
    session = agent_of("a").session("s")
    session.run("Hi")
    for taken in (session.replay, session.rewritten, lambda who: replay(session.to_dict(), who)):
        with pytest.raises(ConfigurationError, match="a session is taken again by an Agent, not"):
            taken(agent)
    with pytest.raises(ConfigurationError, match="not by None"):
        session.rewritten(None)  # pyright: ignore[reportArgumentType]


def test_versions_that_are_no_numbers() -> None:
    """True is not the first version."""
    session = agent_of("a").session("s")
    session.run("Hi")
    for version in (True, 2.0, "2"):
        with pytest.raises(ConfigurationError):
            session.replay(edit={version: "x"})  # pyright: ignore[reportArgumentType]
