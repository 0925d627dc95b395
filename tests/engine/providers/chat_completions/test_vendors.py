"""Every vendor of Chat Completions, in whole conversations with a server that is like theirs."""

import itertools
import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec
import pytest
from pydantic import BaseModel

from agent import Agent, Part, Session, tool
from agent.engine.errors import ConfigurationError, MissingAPIKey
from agent.engine.providers import connect
from agent.engine.providers.vendors import VENDORS
from tests.fakes import ChatServer, RawBody, Text
from tests.fakes.chat_server import Manners
from tests.fakes.chat_vendors import deepseek, mistral, newer, older, openly, zai

NAMES = [name for name, vendor in VENDORS.items() if vendor.api == "chat_completions"]
KEY = "key-0123456789"


class Kind(NamedTuple):
    """How a vendor takes requests, and what its messages say besides text and calls."""

    manners: Manners
    said: Mapping[str, Any] = MappingProxyType({})
    call: Mapping[str, Any] = MappingProxyType({})


DETAILS = [
    {"type": "reasoning.text", "text": "Let me see", "signature": "c2ln", "index": 0},
    {"type": "reasoning.encrypted", "data": "ZW5j", "id": "call_a", "index": 1},
]
THOUGHT = [{"type": "thinking", "thinking": [{"type": "text", "text": "Let me see"}]}]
SIGNED = {"extra_content": {"google": {"thought_signature": "c2ln"}}}
REASONING: dict[str, Any] = {"reasoning": "Let me see"}
CONTENT: dict[str, Any] = {"reasoning_content": "Let me see"}
KINDS: dict[str, Kind] = {
    "openai": Kind(dict),
    "azure": Kind(dict),
    "cerebras": Kind(newer, REASONING),
    "deepseek": Kind(deepseek, CONTENT),
    "groq": Kind(newer, REASONING),
    "huggingface": Kind(older, CONTENT),
    "llama.cpp": Kind(older, CONTENT),
    "lmstudio": Kind(older, REASONING),
    "mistral": Kind(mistral, {"content": THOUGHT}),
    "openrouter": Kind(older, {**REASONING, "reasoning_details": DETAILS}, SIGNED),
    "together": Kind(older, REASONING),
    "vllm": Kind(older, REASONING),
    "xai": Kind(newer, CONTENT),
    "zai": Kind(zai, CONTENT),
}


class City(BaseModel):
    name: str
    people: int


@tool
def get_weather(city: str) -> str:
    """Get the weather of a city."""
    return f"sun in {city}"


def message(kind: Kind, name: str, *cities: str, text: str | None = None) -> dict[str, Any]:
    """What such a server answers."""
    said: dict[str, Any] = {"role": "assistant", "content": text, **kind.said}
    if text is not None and isinstance(kind.said.get("content"), list):
        said["content"] = [*kind.said["content"], {"type": "text", "text": text}]
    ids = ("AbCdEf123", "AbCdEf456") if name == "mistral" else ("call_a", "call_b")
    calls = [
        {
            "id": call_id,
            "function": {"name": "get_weather", "arguments": json.dumps({"city": city})},
            **kind.call,
        }
        for call_id, city in zip(ids, cities, strict=False)
    ]
    return {**said, **({"tool_calls": calls} if calls else {})}


def whole(said: dict[str, Any]) -> RawBody:
    """The answer in one piece."""
    reason = "tool_calls" if "tool_calls" in said else "stop"
    choice = {"index": 0, "message": said, "finish_reason": reason}
    usage = {"prompt_tokens": 7, "completion_tokens": 5}
    return RawBody(200, json.dumps({"id": "1", "choices": [choice], "usage": usage}).encode())


def streamed(said: dict[str, Any]) -> RawBody:
    """The answer as a stream of fragments; usage stands in the last chunk with a choice."""
    reason = "tool_calls" if "tool_calls" in said else "stop"
    chunks: list[Any] = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas(said)]
    usage = {"prompt_tokens": 7, "completion_tokens": 5}
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}], "usage": usage}
    body = b"".join(b"data: %s\n\n" % json.dumps(c).encode() for c in [*chunks, last])
    return RawBody(200, body + b"data: [DONE]\n\n", {"content-type": "text/event-stream"})


def deltas(said: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every text of a message in two pieces."""
    details = [piece for item in said.get("reasoning_details", ()) for piece in fragments(item)]
    for text, detail in itertools.zip_longest(halves(said.get("reasoning", "")), details):
        yield {"reasoning": text} | ({"reasoning_details": [detail]} if detail else {})
    for key in ("reasoning_content", "content"):
        value = said.get(key)
        if isinstance(value, str):
            yield from ({key: piece} for piece in halves(value))
        for item in value if isinstance(value, list) else ():
            yield from ({key: [piece]} for piece in fragments(item))
    for index, call in enumerate(said.get("tool_calls", ())):
        function = call["function"]
        first, second = halves(function["arguments"])
        opening = {**call, "index": index, "function": {**function, "arguments": first}}
        yield {"tool_calls": [opening]}
        yield {"tool_calls": [{"index": index, "function": {"arguments": second}}]}


def fragments(item: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """An item of a list in two pieces, with what else it says in the second."""
    if item["type"] == "thinking":
        for piece in halves(item["thinking"][0]["text"]):
            yield {"type": "thinking", "thinking": [{"type": "text", "text": piece}]}
    elif "text" in item:
        first, second = halves(item["text"])
        same = {"type": item["type"]} | ({"index": item["index"]} if "index" in item else {})
        yield {**same, "text": first}
        yield {**item, "text": second}
    else:
        yield item


def halves(text: str) -> tuple[str, str]:
    """The text in two."""
    return text[: len(text) // 2], text[len(text) // 2 :]


def answers(session: Session) -> list[list[Any]]:
    """The parts of the assistant's messages, with the provider's ids instead of ours."""
    said = [message for message in session.messages if message.role == "assistant"]
    return [[plain(part) for part in message.parts] for message in said]


def plain(part: Part) -> Any:
    """A part as plain values, without the id that is ours."""
    return {**msgspec.json.decode(msgspec.json.encode(part)), "call_id": ""}


def test_every_vendor_has_a_kind() -> None:
    """A new vendor comes with a row here."""
    assert sorted(KINDS) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_whole_conversation(name: str) -> None:
    """Tools, whole and streamed, then structured output: the server refuses nothing."""
    kind = KINDS[name]
    calls, text = message(kind, name, "Kyoto", "Nara"), message(kind, name, text="Sun in both.")
    with (
        ChatServer(kind.manners) as server,
        Agent(name, "m", tools=[get_weather], base_url=server.base_url, api_key=KEY) as agent,
    ):
        server.script([whole(calls), whole(text), streamed(calls), streamed(text)])
        session = agent.session(system="Be brief.")
        response = session.run("Weather?", max_tokens=500, seed=7)
        assert (response.text, response.usage.output_tokens) == ("Sun in both.", 10)
        events = list(session.stream("And now?"))
        said = "".join(event.text for event in events if event.type == "text_delta")
        assert said == "Sun in both."
        first, last, *again = answers(session)
        assert again == [first, last]
        server.script([Text('{"name": "Nara", "people": 354630}')])
        assert session.json("In numbers", schema=City).output == City(name="Nara", people=354630)
        check_replayed(server, calls, text)


def check_replayed(server: ChatServer, calls: dict[str, Any], text: dict[str, Any]) -> None:
    """Each answer stands in the next requests as it came, and nothing before it has changed."""
    requests = server.requests
    sent = requests[-1].json["messages"]
    assert [item for item in sent if item["role"] == "assistant"][::2] == [
        sent[2],
        sent[7],
    ]
    for item, given in ((sent[2], calls), (sent[5], text), (sent[7], calls), (sent[10], text)):
        for key in given.keys() - {"role", "content", "tool_calls"}:
            assert item[key] == given[key]
        assert item["content"] == given["content"]
    for call, given in zip(sent[2]["tool_calls"], calls["tool_calls"], strict=True):
        assert {**call, "id": "", "type": ""} == {**given, "id": "", "type": ""}
    for before, after in itertools.pairwise(requests):
        shorter, longer = (request.body.partition(b'],"model"')[0] for request in (before, after))
        assert longer.startswith(shorter)


def test_calls_that_reasoning_names_keep_their_ids() -> None:
    """Where encrypted reasoning speaks of a call, the call goes back under that id."""
    kind = KINDS["openrouter"]
    with (
        ChatServer(openly) as server,
        Agent("openrouter", "m", tools=[get_weather], base_url=server.base_url, api_key=KEY) as a,
    ):
        server.script([whole(message(kind, "openrouter", "Kyoto", "Nara"))])
        a.session().run("Weather?")
        _, said, one, other = server.bodies[-1]["messages"]
    ids = [call["id"] for call in said["tool_calls"]]
    assert ids[0] == "call_a"
    assert ids == [one["tool_call_id"], other["tool_call_id"]]


@pytest.mark.parametrize("name", NAMES)
def test_another_model_gets_nothing_of_it(name: str) -> None:
    """What only its model understands is left out for every other, and nothing is missing."""
    kind = KINDS[name]
    with (
        ChatServer(kind.manners) as server,
        Agent(name, "m", tools=[get_weather], base_url=server.base_url, api_key=KEY) as agent,
    ):
        server.script([whole(message(kind, name, "Kyoto", "Nara"))])
        session = agent.session()
        session.run("Weather?")
        assert session.run("And now?", model="other").text
        said = server.bodies[-1]["messages"][1]
    kept = {"reasoning_content"} if name == "deepseek" else set[str]()
    assert said.keys() == {"role", "content", "tool_calls"} | kept
    assert said.get("reasoning_content", "") == ""
    assert all(call.keys() == {"id", "type", "function"} for call in said["tool_calls"])


@pytest.mark.parametrize("name", [n for n in NAMES if VENDORS[n].hosts and VENDORS[n].base_url])
def test_a_key_is_needed_by_the_vendor_alone(name: str) -> None:
    """Its absence is noticed at the first call, and the variable is named."""
    with (
        Agent(name, "m", max_retries=0) as agent,
        pytest.raises(MissingAPIKey, match=VENDORS[name].key_variable),
    ):
        agent.session().run("Hello")
    connect(name, base_url="http://localhost:1/v1", api_key=None, timeout=1).check_key()  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("name", ["llama.cpp", "lmstudio", "vllm"])
def test_a_local_server_needs_no_key(name: str) -> None:
    """It is asked at its usual address."""
    provider = connect(name, base_url=None, api_key=None, timeout=1)
    provider.check_key()  # pyright: ignore[reportAttributeAccessIssue]
    assert provider.base_url.startswith("http://localhost:")  # pyright: ignore[reportAttributeAccessIssue]


def test_azure_has_to_be_told_its_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error shows one; the path of the API is added where it is missing."""
    with pytest.raises(ConfigurationError, match=r"AZURE_OPENAI_ENDPOINT, like https://my-res"):
        Agent("azure", "m")
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "https://mine.openai.azure.com/")
    url = "https://mine.openai.azure.com/openai/v1"
    assert Agent("azure", "m").provider.base_url == url  # pyright: ignore[reportAttributeAccessIssue]
    given = Agent("azure", "m", base_url=url).provider
    assert given.base_url == url  # pyright: ignore[reportAttributeAccessIssue]


def test_a_host_that_only_ends_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """The vendor's own hosts are its domain and what is below."""
    own = connect("openrouter", base_url=None, api_key=None, timeout=1)
    with pytest.raises(MissingAPIKey):
        own.check_key()  # pyright: ignore[reportAttributeAccessIssue]
    url = "https://notopenrouter.ai/api/v1"
    other = connect("openrouter", base_url=url, api_key=None, timeout=1)
    other.check_key()  # pyright: ignore[reportAttributeAccessIssue]
