"""Every protocol that llama.cpp speaks, as a server that nobody here has written."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from agent import Agent, Message, Session, ToolCallPart, ToolResultPart, tool
from agent.errors import BadRequest, OutputError
from agent.eventstore.messages import ReasoningPart, TextPart
from agent.stores import SQLiteStore
from tests.engine.given import digests, rebuilt, requests_of
from tests.real.relay import Relay
from tests.real.test_llama_cpp import TOO_LONG

SEED = {"seed": 3}
Body = dict[str, Any]


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def agent_at(relay: Relay, provider: str, store: SQLiteStore | None = None) -> Agent:
    """An agent that asks the server behind the relay."""
    return Agent(provider, "tiny", base_url=relay.base_url, timeout=30, tools=[add], store=store)


def _chat_pairs(body: Body) -> tuple[list[str], list[str]]:
    calls = [call["id"] for item in body["messages"] for call in item.get("tool_calls", ())]
    return calls, [item["tool_call_id"] for item in body["messages"] if item["role"] == "tool"]


def _responses_pairs(body: Body) -> tuple[list[str], list[str]]:
    def ids(kind: str) -> list[str]:
        return [item["call_id"] for item in body["input"] if item.get("type") == kind]

    return ids("function_call"), ids("function_call_output")


def _messages_pairs(body: Body) -> tuple[list[str], list[str]]:
    blocks = [block for item in body["messages"] for block in item["content"]]

    def ids(kind: str, key: str) -> list[str]:
        return [block[key] for block in blocks if block["type"] == kind]

    return ids("tool_use", "id"), ids("tool_result", "tool_use_id")


PAIRS: dict[str, Callable[[Body], tuple[list[str], list[str]]]] = {
    "openai": _chat_pairs,
    "openai-responses": _responses_pairs,
    "anthropic": _messages_pairs,
}
"""Where a body has the ids of its calls, and those of its results."""

each_protocol = pytest.mark.parametrize("provider", PAIRS)


def check_requests(session: Session, relay: Relay) -> None:
    """Every request can be rebuilt to the byte that the server got."""
    assert relay.bodies
    assert digests(session) == [hashlib.sha256(body).hexdigest() for body in relay.bodies]
    assert [past.body for past in requests_of(session)] == relay.bodies


@each_protocol
@pytest.mark.parametrize("streamed", [False, True])
def test_turns(relay: Relay, provider: str, streamed: bool) -> None:
    """Its own answers, tool calls included, go back as they came, and it takes them."""
    with agent_at(relay, provider) as agent:
        session = agent.session(system="Be brief.")
        for words, choice in (("Hello", "none"), ("Go", "required"), ("Thanks", "none")):
            given: dict[str, Any] = {"max_tokens": 2000, "tool_choice": choice, "extra": SEED}
            if streamed:
                with session.stream(words, **given) as events:
                    text = "".join(e.text for e in events if e.type == "text_delta")
                assert text.endswith(events.response.text)
            else:
                session.run(words, **given)
        check_requests(session, relay)
        assert rebuilt(session, agent.provider) == relay.bodies
    body = json.loads(relay.bodies[-1])
    calls, results = PAIRS[provider](body)
    assert calls
    assert calls == results
    assert "Be brief." in json.dumps(body)


@each_protocol
def test_a_history_from_elsewhere(relay: Relay, provider: str) -> None:
    """What another model said is taken in words."""
    history = [
        Message.user("a"),
        Message.assistant(ReasoningPart("Hm"), "So", ToolCallPart("toolu_1", "add", '{"a": 1}')),
        Message.tool(ToolResultPart("toolu_1", (TextPart("3"),))),
        Message.assistant("3"),
    ]
    with agent_at(relay, provider) as agent:
        session = agent.session(messages=history)
        assert session.run("Thanks", max_tokens=8, tool_choice="none").usage.input_tokens
        check_requests(session, relay)


def test_one_session_over_all_protocols(relay: Relay) -> None:
    """Each protocol goes on with the calls and answers of the others, there and back."""
    with SQLiteStore(":memory:") as store:
        for turn, provider in enumerate((*PAIRS, *reversed(PAIRS))):
            with agent_at(relay, provider, store) as agent:
                session = agent.session("one")
                choice = "required" if turn < len(PAIRS) else "none"
                session.run(f"Turn {turn}", max_tokens=2000, tool_choice=choice, extra=SEED)
                check_requests(session, relay)
        calls, results = PAIRS["openai"](json.loads(relay.bodies[-1]))
    assert len(calls) >= len(PAIRS)
    assert calls == results


class Answer(BaseModel):
    """What is asked for."""

    yes: bool


def test_an_answer_of_a_shape(relay: Relay) -> None:
    """The server keeps to a shape that it is asked for over Chat Completions."""
    with agent_at(relay, "openai") as agent:
        session = agent.session()
        response = session.json("Well?", schema=Answer, max_tokens=200, tool_choice="none")
        check_requests(session, relay)
    assert isinstance(response.output.yes, bool)


@pytest.mark.parametrize("provider", ["openai-responses", "anthropic"])
def test_a_shape_that_the_server_does_not_keep_to(relay: Relay, provider: str) -> None:
    """Over the other protocols it takes the shape and heeds it not: that is noticed."""
    with agent_at(relay, provider) as agent:
        session = agent.session()
        with pytest.raises(OutputError, match="no answer of 3"):
            session.json("Well?", schema=Answer, max_tokens=200, tool_choice="none")
        check_requests(session, relay)


@each_protocol
def test_an_error(relay: Relay, provider: str) -> None:
    """Its own words, as the class that its status stands for."""
    with agent_at(relay, provider) as agent:
        session = agent.session()
        with pytest.raises(BadRequest, match=f"of {provider}: "):
            session.run(TOO_LONG)
        check_requests(session, relay)
