import asyncio
import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from agent import Agent, ImagePart, Message, TextPart, ToolCallPart, tool
from agent.engine.errors import BadRequest, MissingAPIKey, ModelNotFound, ServerFailed
from agent.engine.providers import connect
from agent.engine.providers.ollama_chat.api import OllamaChat
from agent.engine.providers.vendors import OLLAMA
from agent.eventstore.messages import ToolResultPart
from tests.engine.given import digests
from tests.fakes.endpoint import Sent
from tests.fakes.ollama_server import OllamaServer

CALLS = {
    "thinking": "Let me look it up",
    "tool_calls": [{"function": {"name": "get_weather", "arguments": {"city": "Kyoto"}}}],
}


@pytest.fixture
def server() -> Iterator[OllamaServer]:
    """A strict fake."""
    with OllamaServer() as running:
        yield running


def agent(server: OllamaServer, *tools: Any, api_key: str | None = None) -> Agent:
    """An agent that speaks to it."""
    return Agent(
        "ollama",
        "llama3.2",
        base_url=server.url,
        api_key=api_key,
        max_retries=0,
        tools=tools,
    )


@tool
def get_weather(city: str) -> str:
    """Get the weather of a city."""
    return f"21 degrees in {city}"


class Weather(BaseModel):
    """What is asked for."""

    celsius: int


def test_a_conversation_with_everything(server: OllamaServer) -> None:
    """Whole, streamed and async turns, tools and shapes: the server finds nothing wrong."""
    with agent(server, get_weather) as asking:
        session = asking.session(system="Be brief.")
        server.script.extend([CALLS, {"content": "Sunny."}])
        assert session.run("Weather?").text == "Sunny."
        server.script.extend([CALLS, {"content": "Still sunny, yes."}])
        told = [event.text for event in session.stream("And now?") if event.type == "text_delta"]
        assert "".join(told) == "Still sunny, yes."
        assert "You said: Later?" in asyncio.run(session.run_async("Later?")).text
        server.script.append({"content": '{"celsius": 21}'})
        assert session.json("Numbers", schema=Weather).output == Weather(celsius=21)
        assert session.run([ImagePart.from_bytes(b"x"), TextPart("What?")], max_tokens=5).text
        recorded = digests(session)
    assert recorded == [hashlib.sha256(request.body).hexdigest() for request in server.requests]
    asked, called, answered = server.requests[1].json["messages"][1:]
    assert asked["role"] == "user"
    assert called["thinking"] == CALLS["thinking"]
    assert answered == {
        "role": "tool",
        "content": "21 degrees in Kyoto",
        "tool_name": "get_weather",
    }


def test_a_history_of_another_provider(server: OllamaServer) -> None:
    """Its calls keep their results; its ids stay behind."""
    history = [
        Message.user("Weather?"),
        Message.assistant(ToolCallPart("c", "get_weather", '{"city":"Oslo"}', "toolu_1")),
        Message.tool(ToolResultPart("c", (TextPart("rain"),))),
        Message.assistant("Rain."),
    ]
    with agent(server) as asking:
        assert asking.session(messages=history).run("Thanks").text
    assert b"toolu" not in server.requests[0].body


def test_errors(server: OllamaServer) -> None:
    """By status, and inside of a stream."""
    broken = b'{"message":{"content":"a"},"done":false}\n{"error":"llama runner terminated"}\n'
    server.script.extend([Sent(200, [broken]), Sent(500, [b'{"error":"out of memory"}'])])
    with agent(server) as asking:
        session = asking.session()
        with pytest.raises(ServerFailed, match="terminated"):
            list(session.stream("Hello"))
        with pytest.raises(ServerFailed, match="out of memory"):
            session.run("Hello")
        with pytest.raises(ModelNotFound, match="model not found"):
            session.run("Hello", model="llama9")
        with pytest.raises(BadRequest, match="invalid think"):
            session.run("Hello", reasoning_effort="utmost")


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("", "http://localhost:11434"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:8080", "http://127.0.0.1:8080"),
        ("[::]:8080", "http://[::1]:8080"),
        ("gpu", "http://gpu:11434"),
        ("gpu:80/", "http://gpu:80"),
        ("http://0.0.0.0:1", "http://127.0.0.1:1"),
        ("https://gpu.example.com", "https://gpu.example.com"),
        ('"gpu"', "http://gpu:11434"),
    ],
)
def test_where_the_server_is(monkeypatch: pytest.MonkeyPatch, host: str, url: str) -> None:
    """The variable is the server's own, and written as it likes."""
    monkeypatch.setenv("OLLAMA_HOST", host)
    assert OllamaChat(OLLAMA).base_url == url
    assert OllamaChat(OLLAMA, base_url="http://other:1").base_url == "http://other:1"


def test_the_key_is_for_one_server(monkeypatch: pytest.MonkeyPatch, server: OllamaServer) -> None:
    """Others get only one that is given for them."""
    with pytest.raises(MissingAPIKey, match="OLLAMA_API_KEY"):
        OllamaChat(OLLAMA, base_url="https://ollama.com").check_key()
    monkeypatch.setenv("OLLAMA_API_KEY", "secret-key")
    OllamaChat(OLLAMA, base_url="https://ollama.com").check_key()
    with agent(server) as asking:
        asking.session().run("Hello")
    with agent(server, api_key="another-key") as asking:
        asking.session().run("Hello")
    sent = [request.headers.get("authorization") for request in server.requests]
    assert sent == [None, "Bearer another-key"]
    assert connect("ollama", base_url=None, api_key=None, timeout=1).encoder == "ollama_chat/1"
