from pathlib import Path

import pytest

from agent import Agent
from agent.errors import AgentError
from agent.stores import SessionStore, SQLiteStore
from tests.fakes import ChatServer, Error
from tests.sessions_api.given import ALICE, FACTS, sent, shown, told


def test_a_session_is_opened_again(openai_env: ChatServer, store: SessionStore) -> None:
    """The same id and store continue the conversation in another agent."""
    with Agent(provider="openai", model="gpt-4o", store=store) as first:
        told(first.session(session_id="alice", system="Be brief."))
        assert store.list_sessions() == ["alice"]
        second = Agent(provider="openai", model="gpt-4o", store=store)
        session = second.session(session_id="alice")
        assert session.run("Who am I?").text.startswith(FACTS)
        second.close()
    assert sent(openai_env)[0] == ("system", "Be brief.")


def test_two_agents_on_one_file(openai_env: ChatServer, tmp_path: Path) -> None:
    """Each sees the other's sessions, and a turn starts from the newest state."""
    path = tmp_path / "sessions.db"
    with (
        SQLiteStore(path) as one,
        SQLiteStore(path) as two,
        Agent(provider="openai", model="gpt-4o", store=one) as first,
        Agent(provider="openai", model="gpt-4o", store=two) as second,
    ):
        here, there = first.session(session_id="s"), second.session(session_id="s")
        here.run(ALICE[0])
        there.run(ALICE[1])
        assert here.run("Who am I?").text.startswith(FACTS)
        assert [role for role, _ in shown(here)] == ["user", "assistant"] * 3


def test_a_fork_is_stored(openai_env: ChatServer, store: SessionStore) -> None:
    """A fork has its own key and can be opened again."""
    with Agent(provider="openai", model="gpt-4o", store=store) as agent:
        told(agent.session(session_id="parent")).fork(session_id="fork").run("Hello")
        assert sorted(store.list_sessions()) == ["fork", "parent"]
        again = agent.session(session_id="fork")
        assert again.run("Who am I?").text.startswith(FACTS)
        assert len(agent.session(session_id="parent").messages) == 4


def test_a_failed_turn_is_not_resumed(openai_env: ChatServer, store: SessionStore) -> None:
    """The stored history has no trace of it."""
    with Agent(provider="openai", model="gpt-4o", store=store) as agent:
        session = told(agent.session(session_id="alice"))
        openai_env.script([Error(400)])
        with pytest.raises(AgentError):
            session.run("Lost")
        assert len(agent.session(session_id="alice").messages) == 4
