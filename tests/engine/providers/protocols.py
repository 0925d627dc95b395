"""An agent for each protocol, over a server that keeps to it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple

import msgspec
import pytest

from agent import Agent, ImagePart, TextPart, tool
from agent.engine.providers import protocol_of
from agent.engine.providers.served import ServedProvider
from tests.engine.providers.messages import given as messages
from tests.fakes import ChatServer, RawBody, Text, ToolCalls
from tests.fakes.chat_vendors import older
from tests.fakes.gemini_server import KEY, GeminiServer
from tests.fakes.messages_server import MessagesServer, Reply
from tests.fakes.ollama_server import OllamaServer
from tests.fakes.responses_server import ResponsesServer

PROTOCOLS = ("chat", "openrouter", "responses", "messages", "gemini", "ollama")


@tool
def get_weather(city: str) -> list[TextPart | ImagePart]:
    """Get the weather of a city."""
    return [TextPart(f"21 degrees in {city}"), ImagePart.from_bytes(b"\x89PNG")]


class Opaque(NamedTuple):
    """What only the model of an answer understands: pieces of a body, and the words in them."""

    items: tuple[bytes, ...] = ()
    secrets: tuple[bytes, ...] = ()


class Spoken(NamedTuple):
    """A protocol as a vendor's model speaks it, on a server that has another model too.

    ``opaque`` is in the two answers of its first turn.
    """

    vendor: str
    model: str
    other: str
    key: str
    server: Any
    url: str
    opaque: Opaque = Opaque()

    @property
    def bodies(self) -> list[bytes]:
        """The bodies of all requests, as they came."""
        return [request.body for request in self.server.requests]

    def provider(self, name: str | None = None) -> ServedProvider[Any]:
        """A provider that asks the server, under the vendor's name or another one."""
        made, vendor = protocol_of(self.vendor)
        named = msgspec.structs.replace(vendor, name=name or vendor.name)
        return made(named, base_url=self.url, api_key=self.key)


CALLS = [("get_weather", '{"city":"Oslo"}', "call_1"), ("get_weather", "{", "call_2")]


def _chat(servers: ExitStack) -> Spoken:
    server = servers.enter_context(ChatServer())
    server.script([ToolCalls(CALLS), Text("So.")])
    return Spoken("openai", "gpt-4o", "gpt-4o-mini", "sk", server, server.base_url)


DETAILS = [
    {"type": "reasoning.text", "text": "Let me see", "signature": "b3Blbg==", "index": 0},
    {"type": "reasoning.encrypted", "data": "c2VjcmV0", "id": "call_1", "index": 1},
]


def _openrouter(servers: ExitStack) -> Spoken:
    server = servers.enter_context(ChatServer(older))
    calls = [
        {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}
        for name, arguments, call_id in CALLS
    ]
    called = {"content": None, "reasoning_details": DETAILS, "tool_calls": calls}
    for said, reason in (
        (called, "tool_calls"),
        ({"content": "So.", "reasoning_content": "I wonder"}, "stop"),
    ):
        choice = {"index": 0, "message": {"role": "assistant", **said}, "finish_reason": reason}
        server.script([RawBody(200, msgspec.json.encode({"id": "1", "choices": [choice]}))])
    opaque = Opaque(
        (
            b'"reasoning_details":' + msgspec.json.encode(DETAILS),
            b'"reasoning_content":"I wonder"',
        ),
        (b"Let me see", b"b3Blbg==", b"c2VjcmV0", b"I wonder"),
    )
    return Spoken("openrouter", "a/m", "b/m", "sk", server, server.base_url, opaque)


def _responses(servers: ExitStack) -> Spoken:
    server = servers.enter_context(ResponsesServer())
    server.script([ToolCalls(CALLS), Text("So.")])
    reasoning = [
        {
            "type": "reasoning",
            "id": f"rs_0000000{answer}",
            "summary": [],
            "encrypted_content": f"gAAAA0000000{answer}",
        }
        for answer in (1, 2)
    ]
    opaque = Opaque(tuple(map(msgspec.json.encode, reasoning)), (b"gAAAA", b"rs_0000"))
    url = server.base_url
    return Spoken("openai-responses", "gpt-5", "gpt-5-mini", "sk", server, url, opaque)


CITATION = {
    "type": "web_search_result_location",
    "url": "https://example.org/",
    "title": "Weather",
    "encrypted_index": "aW5kZXg=",
    "cited_text": "21 degrees",
}


def said(*blocks: messages.Block, stop: str = "end_turn") -> Reply:
    """An answer of Anthropic's."""
    return Reply(messages.body(*blocks, stop_reason=stop), messages.stream(*blocks, stop=stop))


def _messages(servers: ExitStack) -> Spoken:
    server = servers.enter_context(MessagesServer())
    thought = messages.thinking("Hm", "YW50aHJvcGlj")
    cited = messages.text("So.", citations=[CITATION])
    server.script(
        said(
            thought,
            messages.SEARCH,
            messages.FOUND,
            messages.tool_use("get_weather", {"city": "Oslo"}, "toolu_1"),
            messages.tool_use("get_weather", {"town": 1}, "toolu_2"),
            stop="tool_use",
        ),
        said(cited),
        *[said(messages.text("Yes."))] * 3,
    )
    items = (thought, messages.SEARCH, messages.FOUND, cited)
    opaque = Opaque(
        tuple(map(msgspec.json.encode, items)), (b"YW50aHJvcGlj", b"srvtoolu_1", b"aW5kZXg=")
    )
    models, key = ("claude-sonnet-4-5", "claude-opus-4-5"), "sk-ant-0123456789"
    return Spoken("anthropic", *models, key, server, server.base_url, opaque)


def _gemini(servers: ExitStack) -> Spoken:
    server = servers.enter_context(GeminiServer())
    asked = {"name": "get_weather", "args": {"city": "Oslo"}, "id": "g1"}
    called = {"functionCall": asked, "thoughtSignature": "Z2VtaW5pMQ=="}
    signed = {"text": "", "thoughtSignature": "Z2VtaW5pMg=="}
    again = {"functionCall": {"name": "get_weather", "args": {"town": 1}}}
    server.script.append([{"text": "Hm", "thought": True}, called, again])
    server.script.append([{"text": "So."}, signed])
    opaque = Opaque((msgspec.json.encode(called), msgspec.json.encode(signed)), (b"Z2VtaW5p",))
    models = ("gemini-3-pro", "gemini-3-flash")
    return Spoken("gemini", *models, KEY, server, server.base_url, opaque)


def _ollama(servers: ExitStack) -> Spoken:
    server = servers.enter_context(OllamaServer())
    functions = [{"name": "get_weather", "arguments": {"city": "Oslo"}}] * 2
    calls = [{"id": "o1", "function": one} for one in functions]
    server.script.append({"thinking": "Hmm", "tool_calls": calls})
    server.script.append({"content": "So."})
    opaque = Opaque((b'"thinking":"Hmm"',), (b"Hmm",))
    return Spoken("ollama", "llama3.2", "qwen3", "", server, server.url, opaque)


_MADE: dict[str, Callable[[ExitStack], Spoken]] = {
    "chat": _chat,
    "openrouter": _openrouter,
    "responses": _responses,
    "messages": _messages,
    "gemini": _gemini,
    "ollama": _ollama,
}


@pytest.fixture
def spoken() -> Iterator[dict[str, Spoken]]:
    """A server of each; its first turn has two calls, the second with bad arguments."""
    with ExitStack() as servers:
        yield {name: make(servers) for name, make in _MADE.items()}


@pytest.fixture
def agents(spoken: dict[str, Spoken]) -> Iterator[dict[str, Agent]]:
    """One for each protocol."""
    made = {
        name: Agent(one.provider(), one.model, tools=[get_weather], max_retries=0)
        for name, one in spoken.items()
    }
    yield made
    for agent in made.values():
        agent.close()
