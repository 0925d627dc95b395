import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from agent import Agent, Message, Session, ToolCallPart, ToolResultPart
from agent.errors import AgentError, PairingError
from tests.fakes import ChatServer, CloseConnection, Error, RawBody, Stream, Text
from tests.sessions_api.given import AT_ONCE, FACTS, sent, shown, told


def test_messages_is_a_copy(agent: Agent) -> None:
    """Changing the list changes nothing."""
    session = told(agent.session())
    session.messages.clear()
    session.messages.append(Message.user("Intruder"))
    assert len(session.messages) == 4


def test_clear_keeps_the_system_prompt(agent: Agent, openai_env: ChatServer) -> None:
    """The next request has the system prompt and the new message only."""
    session = told(agent.session(system="Be brief."))
    session.clear()
    assert session.messages == []
    session.run("Hello")
    assert sent(openai_env) == [("system", "Be brief."), ("user", "Hello")]


def test_add_message(agent: Agent, openai_env: ChatServer) -> None:
    """Added messages are listed and sent, and no model is asked for them."""
    session = agent.session()
    session.add_message(Message.user("My name is Alice"))
    session.add_message(Message.assistant("Hello Alice"))
    assert openai_env.requests == []
    assert shown(session) == [("user", "My name is Alice"), ("assistant", "Hello Alice")]
    assert "Alice" in session.run("What do you know about me?").text


def test_add_several_messages(agent: Agent) -> None:
    """They are appended in their order, as one: all, or none where one cannot follow."""
    session = agent.session()
    call = ToolCallPart("a", "f", "{}")
    said = [Message.user("Hi"), Message.assistant(call), Message.tool(ToolResultPart("a", ()))]
    session.add_message(*said)
    with pytest.raises(PairingError, match="has no result"):
        session.add_message(Message.assistant(call), Message.user("So?"))
    assert session.messages == said
    assert session.version == 4


@pytest.mark.parametrize(
    "replies",
    [
        [Error(400)],
        [Error(401)],
        [Error(500, headers=AT_ONCE)] * 3,
        [Error(429, headers=AT_ONCE)] * 3,
        [RawBody(200, b"<html>", {"content-type": "text/html"})] * 3,
        [RawBody(502, b"<html>", {"content-type": "text/html", **AT_ONCE})] * 3,
        [CloseConnection()] * 3,
        [Stream(Text("Hello"), cut_after=20)] * 3,
    ],
    ids=["400", "401", "500", "429", "html", "502", "reset", "cut"],
)
@pytest.mark.parametrize(
    "lose",
    [lambda session: session.run("Lost"), lambda session: asyncio.run(session.run_async("Lost"))],
    ids=["run", "run_async"],
)
def test_a_failed_turn_leaves_the_history(
    agent: Agent, openai_env: ChatServer, replies: list[Any], lose: Callable[[Session], object]
) -> None:
    """It raises an AgentError, and the next turn goes on from before."""
    session = told(agent.session())
    before = shown(session)
    openai_env.script(replies)
    with pytest.raises(AgentError):
        lose(session)
    assert shown(session) == before
    openai_env.unscript()
    assert session.run("What do you know about me?").text.startswith(FACTS)
    assert "Lost" not in str(openai_env.requests[-1].messages)


@pytest.mark.parametrize(
    "stream",
    [
        Stream(Text("Hello world"), cut_after=700),
        Stream(Text("Hello world"), done=False, cut_after=900),
        Stream(Text("Hi"), error={"error": {"message": "Overloaded", "type": "server_error"}}),
    ],
    ids=["cut", "cut without done", "error event"],
)
def test_a_failed_stream_leaves_the_history(
    agent: Agent, openai_env: ChatServer, stream: Stream
) -> None:
    """Once text was handed out there is no second attempt."""
    session = told(agent.session())
    before = shown(session)
    openai_env.script([stream])
    with pytest.raises(AgentError):
        list(session.stream("Lost"))
    assert shown(session) == before
    assert len(openai_env.requests) == 3


def test_a_short_trouble_is_not_noticed(agent: Agent, openai_env: ChatServer) -> None:
    """A retry answers, and the history holds the turn once."""
    openai_env.script([Error(503, headers=AT_ONCE), CloseConnection()])
    session = agent.session()
    assert session.run("Hello").text == "I see 1 messages. You said: Hello"
    assert len(openai_env.requests) == 3
    assert len(session.messages) == 2
