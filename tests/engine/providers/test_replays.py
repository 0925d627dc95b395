"""Replays of sessions of every protocol."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import Agent, Message, Session
from agent.engine.provider import Answer, ModelRequest, Provider
from agent.engine.providers.chat_completions.api import ChatCompletions
from agent.engine.providers.generate_content.api import GenerateContent
from agent.engine.providers.messages.api import Messages
from agent.engine.providers.ollama_chat.api import OllamaChat
from agent.engine.providers.responses.api import Responses
from agent.engine.providers.vendors import ANTHROPIC, GEMINI, OLLAMA, OPENAI, OPENAI_RESPONSES
from agent.replay import Change, replay
from tests.engine.given import agent_of
from tests.engine.providers.conversations import conversations
from tests.engine.providers.protocols import PROTOCOLS, agents, spoken

__all__ = ["agents", "spoken"]


def lived(agent: Agent) -> Session:
    """A session with tools, bad arguments, a stream and every kind of rewriting."""
    session = agent.session("s", system="Be brief.")
    session.run("Weather?", temperature=0.5)
    told = session.version
    assert session.compact(keep_last=1).summary
    session.rewind(to=told)
    session.stream("And now?").finish()
    session.clear()
    session.run("Thanks")
    return session


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_is_different(agents: dict[str, Agent], protocol: str) -> None:
    """In the session, a fork, an export and an import; of built-in providers without an agent."""
    agent = agents[protocol]
    session = lived(agent)
    data, length = session.to_dict(), session.version
    for today in (None, agent):
        for source in (session, data, Session.from_dict(data, agent_of())):
            found = replay(source, today)
            assert (found.divergence, found.events, found.requests) == (None, length, 5)
        found = replay(session.fork(), today)
        assert (found.divergence, found.events, found.requests) == (None, length + 1, 5)


SYSTEM = {
    "chat": "/messages/0/content",
    "openrouter": "/messages/0/content",
    "responses": "/instructions",
    "messages": "/system/0/text",
    "gemini": "/systemInstruction/parts/0/text",
    "ollama": "/messages/0/content",
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_another_word_of_the_system_prompt(agents: dict[str, Agent], protocol: str) -> None:
    """It is found where each protocol has it, also from an export."""
    session = lived(agents[protocol])
    for source in (session, session.to_dict()):
        divergence = replay(source, agents[protocol], system="Be kind.").divergence
        assert divergence is not None
        assert (divergence.version, divergence.kind) == (4, "request")
        assert divergence.causes == ("system prompt",)
        assert divergence.changes == (Change(SYSTEM[protocol], "Be brief.", "Be kind."),)


@pytest.mark.parametrize("then", PROTOCOLS)
def test_another_provider(agents: dict[str, Agent], then: str) -> None:
    """What one has recorded would be another request to every other."""
    session = lived(agents["chat"])
    divergence = replay(session, agents[then]).divergence
    if then == "chat":
        assert divergence is None
    else:
        assert divergence is not None
        assert (divergence.version, divergence.kind) == (4, "request")
        assert divergence.causes == ("provider", "model")
        encoder = agents[then].provider.encoder
        assert divergence.encoders == (agents["chat"].provider.encoder, encoder)


def answering(provider: Provider) -> Provider:
    """The provider, whose model answers at once and from nowhere."""

    def call(_: ModelRequest) -> Iterator[Answer]:
        yield Answer(Message.assistant("So."), "stop")

    vars(provider)["call"] = call
    return provider


_REAL: list[Any] = [
    lambda: ChatCompletions(OPENAI, api_key="sk"),
    lambda: Responses(OPENAI_RESPONSES, api_key="sk"),
    lambda: Messages(ANTHROPIC, api_key="sk"),
    lambda: GenerateContent(GEMINI, api_key="k"),
    lambda: OllamaChat(OLLAMA),
]


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(_REAL), conversations(with_files=False))
def test_any_conversation(made: Any, messages: list[Message]) -> None:
    """Whatever has been said, by whatever model before."""
    agent = Agent(answering(made()), "m")
    session = agent.session("s", messages=messages)
    session.run("And now?")
    for today in (None, agent):
        for source in (session, session.to_dict()):
            found = replay(source, today)
            assert (found.divergence, found.requests) == (None, 1)
