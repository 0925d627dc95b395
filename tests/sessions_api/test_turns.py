import asyncio

import pytest

from agent import Agent
from agent.errors import AgentError
from tests.fakes import ChatServer, Error, Text
from tests.sessions_api.given import AT_ONCE, FACTS, sent, shown, told


def test_the_model_remembers(agent: Agent, openai_env: ChatServer) -> None:
    """Each request carries the whole conversation so far."""
    session = told(agent.session())
    response = session.run("What do you know about me?")
    assert response.text.startswith(FACTS)
    assert [len(request.messages) for request in openai_env.requests] == [1, 3, 5]
    assert sent(openai_env) == shown(session)[:-1]
    assert shown(session)[-1] == ("assistant", response.text)


def test_history_reaches_the_prompt_cache(agent: Agent) -> None:
    """A later turn repeats the earlier ones to the byte."""
    session = agent.session(system="word " * 4000)
    session.run("Hello")
    assert session.run("And now?").usage.cached_tokens > 4000


def test_settings_reach_the_wire_for_one_turn(agent: Agent, openai_env: ChatServer) -> None:
    """Temperature and limit are sent with their turn only."""
    session = agent.session()
    session.run("Explain this concept", temperature=0.7, max_tokens=500)
    session.run("Go on")
    first, second = openai_env.bodies
    assert first["temperature"] == 0.7
    assert first.get("max_completion_tokens", first.get("max_tokens")) == 500
    assert first["model"] == "gpt-4o"
    assert second.keys() & {"temperature", "max_tokens", "max_completion_tokens"} == set()


def test_usage_counts_what_the_provider_counted(agent: Agent, openai_env: ChatServer) -> None:
    """Streamed or not, tokens are those of the provider."""
    openai_env.script([Text("One two three")] * 2)
    whole = agent.session().run("Hello").usage
    *_, done = agent.session().stream("Hello")
    assert whole.input_tokens > 0
    assert whole.output_tokens > 0
    assert done.type == "done"
    assert done.response.usage == whole


def test_run_async(agent: Agent) -> None:
    """The asynchronous twin shares the history."""
    session = told(agent.session())
    response = asyncio.run(session.run_async("What do you know about me?"))
    assert response.text.startswith(FACTS)
    assert len(session.messages) == 6


def test_event_loops_one_after_another(agent: Agent) -> None:
    """One agent and one session serve three loops, and sync calls between them."""
    session = agent.session()
    for count in (1, 5, 9):
        response = asyncio.run(session.run_async("Hello"))
        assert response.text == f"I see {count} messages. You said: Hello"
        session.run("Between")


def test_run_inside_a_running_loop(agent: Agent) -> None:
    """Notebooks and handlers may call the sync methods."""
    session = agent.session()

    async def main() -> str:
        session.run("Hello")
        return "".join(e.text for e in session.stream("Again") if e.type == "text_delta")

    assert asyncio.run(main()) == "I see 3 messages. You said: Again"


def test_concurrent_sessions(agent: Agent) -> None:
    """Many sessions of one agent run at once without mixing."""
    sessions = [agent.session() for _ in range(8)]

    async def main() -> list[str]:
        turns = [s.run_async(f"I am {number}") for number, s in enumerate(sessions)]
        return [response.text for response in await asyncio.gather(*turns)]

    expected = [f"I see 1 messages. You said: I am {number}" for number in range(8)]
    assert asyncio.run(main()) == expected


def test_nothing_is_printed(
    tool_agent: Agent, openai_env: ChatServer, capfd: pytest.CaptureFixture[str]
) -> None:
    """Turns, tools, retries and failures leave stdout and stderr alone."""
    openai_env.script([Error(500, headers=AT_ONCE)])
    session = tool_agent.session()
    session.run("I'm user-123, what are my orders?")
    list(session.stream("Hello"))
    openai_env.script([Error(400)])
    with pytest.raises(AgentError):
        session.run("Hello")
    assert capfd.readouterr() == ("", "")
