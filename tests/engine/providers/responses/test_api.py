import asyncio
import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from agent import Agent, Message, Session, TextDelta, ToolCallPart, ToolResultPart, tool
from agent.engine.errors import (
    AgentError,
    AuthenticationFailed,
    BadRequest,
    MalformedResponse,
    MissingAPIKey,
    ModelNotFound,
    RateLimited,
    ServerFailed,
)
from agent.engine.providers import connect
from agent.engine.providers.responses.api import Responses
from agent.engine.providers.vendors import OPENAI_RESPONSES
from agent.engine.stream import Response
from agent.eventstore.events import ModelRequested
from agent.eventstore.messages import ReasoningPart, TextPart
from agent.providers import ReasoningDelta
from agent.stores import MemoryStore
from tests.fakes import Error, Refusal, Stream, Text, ToolCalls
from tests.fakes.responses_server import ResponsesServer

KEY = "sk-proj-0123456789"


class City(BaseModel):
    """A place."""

    city: str


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@pytest.fixture
def server() -> Iterator[ResponsesServer]:
    """Serve the fake of the API for one test."""
    with ResponsesServer() as server:
        yield server


def agent_at(server: ResponsesServer, **options: Any) -> Agent:
    """An agent that asks the fake."""
    given = {"base_url": server.base_url, "api_key": KEY, "max_retries": 0, **options}
    return Agent("openai-responses", "gpt-5", **given)


def check_digests(session: Session, server: ResponsesServer) -> None:
    """Hold every recorded digest to the bytes that came in."""
    recorded = [f.event.digest for f in session.events() if isinstance(f.event, ModelRequested)]
    assert recorded == [hashlib.sha256(request.body).hexdigest() for request in server.requests]


def run(session: Session, words: str, **more: Any) -> Response[None]:
    """Whole."""
    return session.run(words, **more)


def run_async(session: Session, words: str, **more: Any) -> Response[None]:
    """Whole, on an event loop."""
    return asyncio.run(session.run_async(words, **more))


def stream(session: Session, words: str, **more: Any) -> Response[None]:
    """In pieces."""
    with session.stream(words, **more) as events:
        pieces = [event.text for event in events if isinstance(event, TextDelta)]
    assert events.response.text in "".join(pieces)
    return events.response


def stream_async(session: Session, words: str, **more: Any) -> Response[None]:
    """In pieces, on an event loop."""

    async def ask() -> Response[None]:
        return await (await session.stream_async(words, **more)).finish()

    return asyncio.run(ask())


WAYS = pytest.mark.parametrize("ask", [run, run_async, stream, stream_async])
Way = Callable[..., Response[None]]


# Who is asked


def test_a_provider_by_name() -> None:
    """It has a name of its own, so that what only one of OpenAI's APIs understands stays there."""
    provider = connect("openai-responses", base_url=None, api_key=KEY, timeout=1)
    assert isinstance(provider, Responses)
    assert (provider.name, provider.api) == ("openai-responses", "responses")
    assert (provider.base_url, provider.encoder) == ("https://api.openai.com/v1", "responses/1")


@pytest.mark.parametrize(
    ("base_url", "encoder"),
    [
        ("https://mine.openai.azure.com/openai/v1", "responses/1"),
        ("http://localhost:8080/v1", "responses/1+plain_reasoning"),
    ],
)
def test_the_dialect_is_known_by_the_host(base_url: str, encoder: str) -> None:
    """Only OpenAI's own servers encrypt all reasoning."""
    assert Responses(OPENAI_RESPONSES, base_url=base_url).encoder == encoder


def test_openai_needs_a_key() -> None:
    """The error says where it is looked for."""
    with pytest.raises(MissingAPIKey, match="OPENAI_API_KEY"):
        Agent("openai-responses", "gpt-5").session().run("Hi")


# Conversations


@WAYS
def test_a_conversation_with_tools(server: ResponsesServer, ask: Way) -> None:
    """Reasoning, parallel calls, their results and text go back as they came."""
    server.script(
        [
            ToolCalls([("add", '{"a": 1, "b": 2}', None), ("add", '{"a": 3, "b": 4}', None)]),
            Text("3 and 7"),
            Text("You are welcome"),
        ]
    )
    with agent_at(server, tools=[add]) as agent:
        session = agent.session(system="Be brief.")
        assert ask(session, "Add", show_reasoning=True).text == "3 and 7"
        assert ask(session, "Thanks").text == "You are welcome"
    check_digests(session, server)
    body = server.bodies[-1]
    assert body["instructions"] == "Be brief."
    assert (body["store"], body["include"]) == (False, ["reasoning.encrypted_content"])
    assert [item.get("type", item.get("role")) for item in body["input"]] == [
        *("user", "reasoning", "function_call", "function_call"),
        *("function_call_output", "function_call_output", "reasoning", "message", "user"),
    ]
    assert [item["output"] for item in body["input"] if "output" in item] == ["3", "7"]
    assert body["input"][1]["encrypted_content"] == "gAAAA00000001"
    assert body["input"][7]["phase"] == "final_answer"


def test_streamed_and_whole_answers_are_the_same(server: ResponsesServer) -> None:
    """Message for message, opaque data included."""
    with agent_at(server) as agent:
        sessions = [agent.session(), agent.session()]
        server.script([lambda _: Text("Grüße")] * 2)
        run(sessions[0], "Hi", show_reasoning=True)
        stream(sessions[1], "Hi", show_reasoning=True)
    parts = [
        [(type(part), getattr(part, "text", None)) for part in session.messages[1].parts]
        for session in sessions
    ]
    assert parts[0] == parts[1] == [(ReasoningPart, "Let me see."), (TextPart, "Grüße")]


def test_reasoning_is_streamed(server: ResponsesServer) -> None:
    """When it is asked for."""
    with agent_at(server) as agent:
        events = list(agent.session().stream("Hi", show_reasoning=True))
    shown = [event.text for event in events if isinstance(event, ReasoningDelta)]
    assert "".join(shown) == "Let me see."
    assert server.bodies[0]["reasoning"] == {"summary": "auto"}


def test_structured_output(server: ResponsesServer) -> None:
    """It is asked for natively, and read."""
    server.script([Text('{"city": "Paris"}')])
    with agent_at(server) as agent:
        assert agent.session().json("Where?", schema=City).output == City(city="Paris")
    assert server.bodies[0]["text"]["format"]["strict"] is True


@WAYS
def test_a_refusal(server: ResponsesServer, ask: Way) -> None:
    """It is the answer, and goes back as it came."""
    server.script([Refusal("I cannot"), Text("Fine")])
    with agent_at(server) as agent:
        session = agent.session()
        assert ask(session, "Do it").finish_reason == "refusal"
        assert session.messages[-1].refusal == "I cannot"
        ask(session, "Then not")
    assert server.bodies[-1]["input"][2]["content"] == [{"type": "refusal", "refusal": "I cannot"}]


@WAYS
def test_a_cut_answer(server: ResponsesServer, ask: Way) -> None:
    """The limit is why."""
    server.script([Text("So", finish_reason="length")])
    with agent_at(server) as agent:
        assert ask(agent.session(), "Tell", max_tokens=16).finish_reason == "length"
    assert server.bodies[0]["max_output_tokens"] == 16


def test_a_history_from_elsewhere(server: ResponsesServer) -> None:
    """Foreign calls pair by their own ids."""
    call = ToolCallPart("toolu_1", "add", '{"a": 1, "b": 2}')
    history = [
        Message.user("Add"),
        Message.assistant(ReasoningPart("Hm"), call),
        Message.tool(ToolResultPart("toolu_1", (TextPart("3"),))),
        Message.assistant("3"),
    ]
    with agent_at(server) as agent:
        assert agent.session(messages=history).run("Thanks").text
    assert [item.get("call_id") for item in server.bodies[0]["input"]][1:3] == ["toolu_1"] * 2


def test_another_model_goes_on(server: ResponsesServer) -> None:
    """It gets the words, without reasoning and ids that are not its own."""
    server.script([ToolCalls([("add", '{"a": 1, "b": 2}', None)]), Text("3")])
    store = MemoryStore()
    with agent_at(server, tools=[add], store=store) as agent:
        agent.session("s").run("Add")
    given = {"base_url": server.base_url, "api_key": KEY, "store": store, "tools": [add]}
    with Agent("openai-responses", "gpt-5-mini", **given) as other:
        other.session("s").run("Thanks")
    items = server.bodies[-1]["input"]
    assert not any("id" in item or item.get("type") == "reasoning" for item in items)


def test_a_request_is_read_and_asked_again(server: ResponsesServer) -> None:
    """The body that was sent is a history that a session takes."""
    server.script([ToolCalls([("add", '{"a": 1, "b": 2}', None)]), Text("3")])
    with agent_at(server, tools=[add]) as agent:
        session = agent.session(system="Be brief.")
        session.run("Add")
        session.run("Thanks")
        provider = agent.provider
        assert isinstance(provider, Responses)
        body = json.loads(server.requests[-1].body)
        found = provider.read_body(body, provider.origin("gpt-5"))
        copy = agent.session(system=found.system, messages=list(found.messages[:-1]))
        copy.run("Thanks")
    assert server.bodies[-1] == body


# What goes wrong


@pytest.mark.parametrize(
    ("status", "cls"),
    [
        (400, BadRequest),
        (401, AuthenticationFailed),
        (404, ModelNotFound),
        (429, RateLimited),
        (500, ServerFailed),
    ],
)
@WAYS
def test_an_error_status(
    server: ResponsesServer, ask: Way, status: int, cls: type[AgentError]
) -> None:
    """It names the provider, and leaves no trace in the history."""
    server.script([Error(status)])
    with agent_at(server) as agent:
        session = agent.session()
        with pytest.raises(cls, match=f"status {status} of openai-responses"):
            ask(session, "Hi")
        assert session.messages == []


@pytest.mark.parametrize("ask", [stream, stream_async])
def test_an_error_in_the_middle(server: ResponsesServer, ask: Way) -> None:
    """An event of the stream is the error that it says."""
    error = {"code": "rate_limit_exceeded", "message": "slow down"}
    server.script([Stream(Text("Hello"), error=error, error_after=4)])
    with agent_at(server) as agent, pytest.raises(RateLimited, match="slow down"):
        ask(agent.session(), "Hi")


def test_it_is_asked_again(server: ResponsesServer) -> None:
    """A failure of the server is tried once more, with the same bytes."""
    server.script([Error(500, headers={"retry-after": "0"}), Text("Hello")])
    with agent_at(server, max_retries=1) as agent:
        session = agent.session()
        assert session.run("Hi").text == "Hello"
    check_digests(session, server)
    assert server.requests[0].body == server.requests[1].body


@pytest.mark.parametrize("ask", [stream, stream_async])
def test_a_stream_that_is_cut(server: ResponsesServer, ask: Way) -> None:
    """Wherever that is, it is no answer."""
    with agent_at(server) as agent:
        for length in (200, 900, 1500):
            server.script([Stream(Text("Hello"), cut_after=length)])
            with pytest.raises(AgentError):
                ask(agent.session(), "Hi")


def test_a_stream_that_just_ends(server: ResponsesServer) -> None:
    """Without its last event it was cut."""
    server.script([Stream(Text("Hello"))])
    server.completed = lambda number, request, how: [b'data: {"type":"response.created"}\n\n']
    with agent_at(server) as agent, pytest.raises(MalformedResponse, match="in the middle"):
        stream(agent.session(), "Hi")


def test_a_crash_between_two_steps(server: ResponsesServer) -> None:
    """What the model said before is in the log, and goes back as it came."""
    store = MemoryStore()
    server.script([ToolCalls([("add", '{"a": 1, "b": 2}', None)]), Error(500), Text("3")])
    with agent_at(server, tools=[add], store=store) as agent, pytest.raises(ServerFailed):
        agent.session("s").run("Add")
    with agent_at(server, tools=[add], store=store) as agent:
        session = agent.session("s")
        response = session.resume()
        assert response is not None
        assert response.text == "3"
    assert server.requests[1].body == server.requests[2].body
    check_digests(session, server)
