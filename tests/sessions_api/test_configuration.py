import pytest

from agent import Agent, Message
from agent.errors import AgentError
from tests.fakes import ChatServer
from tests.sessions_api.given import sent, shown, told


def test_custom_id(agent: Agent) -> None:
    """The id is the given one; others are made and differ."""
    assert agent.session(session_id="user-123-conv-456").session_id == "user-123-conv-456"
    first, second = agent.session(), agent.session()
    assert isinstance(first.session_id, str)
    assert first.session_id != second.session_id


def test_system_prompt(agent: Agent, openai_env: ChatServer) -> None:
    """It goes first in every request and is no message."""
    session = agent.session(system="Always provide code examples.")
    response = session.run("How do I read a file in Python?")
    session.run("And write?")
    assert "```python" in response.text
    for index in (0, 1):
        assert sent(openai_env, index)[0] == ("system", "Always provide code examples.")
    assert [role for role, _ in shown(session)] == ["user", "assistant"] * 2


def test_given_history(agent: Agent, openai_env: ChatServer) -> None:
    """Messages given at the start are sent and listed."""
    history = [
        Message.user("What's the capital of France?"),
        Message.assistant("The capital of France is Paris."),
    ]
    session = agent.session(messages=history)
    assert session.run("What about Germany?").text == "The capital of Germany is Berlin."
    assert sent(openai_env) == [
        ("user", "What's the capital of France?"),
        ("assistant", "The capital of France is Paris."),
        ("user", "What about Germany?"),
    ]
    assert len(history) == 2
    assert len(session.messages) == 4


def test_arguments_come_before_the_environment(
    openai_env: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An explicit key and address win, and the key is sent as a bearer."""
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    with Agent(
        provider="openai", model="gpt-4o", base_url=openai_env.base_url, api_key="sk-mine"
    ) as agent:
        agent.session().run("Hello")
    assert openai_env.requests[0].headers["authorization"] == "Bearer sk-mine"


def test_missing_key(openai_env: ChatServer, agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key OpenAI is not even asked; another server may do without, or refuse."""
    monkeypatch.delenv("OPENAI_API_KEY")
    official = Agent(provider="openai", model="gpt-4o", base_url="https://api.openai.com/v1")
    elsewhere = Agent(provider="openai", model="gpt-4o")
    for keyless, asked in ((official, 0), (elsewhere, 1)):
        with keyless, pytest.raises(AgentError, match="OPENAI_API_KEY"):
            keyless.session().run("Hello")
        assert len(openai_env.requests) == asked


def test_unknown_provider() -> None:
    """It is refused at once, and the known ones are named."""
    with pytest.raises(AgentError, match="openai"):
        Agent(provider="nobody", model="gpt-4o")


def test_two_agents(agent: Agent, tool_agent: Agent) -> None:
    """Agents share nothing."""
    told(agent.session(session_id="same"))
    other = tool_agent.session(session_id="same")
    assert other.messages == []
    assert "nothing about yourself" in other.run("What do you know about me?").text
