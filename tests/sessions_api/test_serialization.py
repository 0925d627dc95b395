import json
from typing import Any

import pytest

from agent import Agent, Session
from agent.errors import AgentError
from tests.fakes import ChatServer
from tests.sessions_api.given import FACTS, Summary, sent, shown, told


def test_round_trip(agent: Agent, openai_env: ChatServer) -> None:
    """Through JSON and back, everything is there and both go on apart."""
    session = told(agent.session(session_id="s-1", system="Be brief."))
    data = json.loads(json.dumps(session.to_dict()))
    restored = Session.from_dict(data, agent)
    assert restored.session_id == "s-1"
    assert shown(restored) == shown(session)
    assert restored.version == session.version
    assert restored.run("What do you know about me?").text.startswith(FACTS)
    assert sent(openai_env)[0] == ("system", "Be brief.")
    assert len(session.messages) == 4


def test_after_tools_json_and_clear(tool_agent: Agent) -> None:
    """A session of all kinds of events exports the same twice, and goes on."""
    session = tool_agent.session()
    session.run("I'm user-123, what are my orders?")
    session.json("Summarize", schema=Summary)
    restored = Session.from_dict(session.to_dict(), tool_agent)
    assert restored.to_dict() == session.to_dict()
    assert "Laptop" in restored.run("When will order 1 arrive?").text
    session.clear()
    assert Session.from_dict(session.to_dict(), tool_agent).messages == []


def test_a_fork_is_whole(agent: Agent, tool_agent: Agent) -> None:
    """What it inherited is in its export, which another agent can use."""
    fork = told(agent.session()).fork()
    restored = Session.from_dict(fork.to_dict(), tool_agent)
    assert restored.run("What do you know about me?").text.startswith(FACTS)


def test_an_edited_export_is_refused(agent: Agent) -> None:
    """A changed name breaks the chain."""
    text = json.dumps(told(agent.session()).to_dict())
    assert "Alice" in text
    with pytest.raises(AgentError):
        Session.from_dict(json.loads(text.replace("Alice", "Carol")), agent)


@pytest.mark.parametrize("data", [{}, {"events": []}, {"messages": []}])
def test_foreign_data_is_refused(agent: Agent, data: dict[str, Any]) -> None:
    """What was never an export is named as such."""
    with pytest.raises(AgentError):
        Session.from_dict(data, agent)
