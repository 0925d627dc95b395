"""The Responses API, as a server speaks it that nobody here has written."""

import hashlib
import json
from typing import Any

import pytest

from agent import Agent, Message, ToolCallPart, ToolResultPart, tool
from agent.errors import BadRequest
from agent.eventstore.events import ModelRequested
from agent.eventstore.messages import ReasoningPart, TextPart
from tests.real.relay import Relay
from tests.real.test_llama_cpp import TOO_LONG

SEEDED = {"extra": {"seed": 3}}


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def agent_at(relay: Relay) -> Agent:
    """An agent that asks the server behind the relay."""
    return Agent("openai-responses", "tiny", base_url=relay.base_url, timeout=30, tools=[add])


@pytest.mark.parametrize("streamed", [False, True])
def test_turns(relay: Relay, streamed: bool) -> None:
    """Its own answers, tool calls included, go back as they came, and it takes them."""
    with agent_at(relay) as agent:
        session = agent.session(system="Be brief.")
        for words, choice in (("Hello", "none"), ("Go", "required"), ("Thanks", "none")):
            given: dict[str, Any] = {"max_tokens": 2000, "tool_choice": choice, **SEEDED}
            if streamed:
                with session.stream(words, **given) as events:
                    text = "".join(e.text for e in events if e.type == "text_delta")
                assert text.endswith(events.response.text)
            else:
                session.run(words, **given)
    # The server hangs up after a stream, so that a request may come twice, once cut off.
    recorded = {f.event.digest for f in session.events() if isinstance(f.event, ModelRequested)}
    assert recorded == {hashlib.sha256(body).hexdigest() for body in relay.bodies if body}
    sent = json.loads(relay.bodies[-1])
    assert sent["instructions"] == "Be brief."
    calls = [item for item in sent["input"] if item.get("type") == "function_call"]
    results = [item for item in sent["input"] if item.get("type") == "function_call_output"]
    assert calls
    assert [item["call_id"] for item in calls] == [item["call_id"] for item in results]


def test_a_history_from_elsewhere(relay: Relay) -> None:
    """What another model said is taken in words."""
    history = [
        Message.user("a"),
        Message.assistant(ReasoningPart("Hm"), "So", ToolCallPart("toolu_1", "add", '{"a": 1}')),
        Message.tool(ToolResultPart("toolu_1", (TextPart("3"),))),
        Message.assistant("3"),
    ]
    with agent_at(relay) as agent:
        session = agent.session(messages=history)
        assert session.run("Thanks", max_tokens=8, tool_choice="none").usage.input_tokens


def test_an_error(relay: Relay) -> None:
    """Its own words, as the class that its status stands for."""
    with agent_at(relay) as agent, pytest.raises(BadRequest, match="openai-responses"):
        agent.session().run(TOO_LONG)
