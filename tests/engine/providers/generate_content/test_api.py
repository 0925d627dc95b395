import asyncio
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from agent import Agent, Message, Session, ToolCallPart, tool
from agent.engine.errors import (
    AuthenticationFailed,
    BadRequest,
    ConfigurationError,
    MissingAPIKey,
    ModelNotFound,
    QuotaExceeded,
    RateLimited,
    ServerFailed,
)
from agent.engine.providers.generate_content.api import GenerateContent
from agent.engine.providers.vendors import GEMINI
from agent.eventstore.messages import ImagePart, Opaque, ReasoningPart, TextPart, ToolResultPart
from agent.eventstore.rawjson import to_raw
from tests.engine.given import digests
from tests.engine.providers.given import prompt
from tests.fakes.gemini_server import KEY, GeminiServer, error

SIGNED = {"thoughtSignature": "c2ln"}
VERTEX = "https://europe-west4-aiplatform.googleapis.com/v1/projects/p/locations/europe-west4"


@pytest.fixture
def server() -> Iterator[GeminiServer]:
    """A strict fake."""
    with GeminiServer() as running:
        yield running


def agent(server: GeminiServer, *tools: Any) -> Agent:
    """An agent that speaks to it."""
    provider = GenerateContent(GEMINI, base_url=server.base_url, api_key=KEY)
    return Agent(provider, model="gemini-3-pro", max_retries=0, tools=tools)


def path(model: str, *, base_url: str | None = None, stream: bool = False) -> str:
    """Where a request for a model goes."""
    return GenerateContent(GEMINI, base_url=base_url).path(prompt(model, stream=stream))


@tool
def get_weather(city: str) -> str:
    """Get the weather of a city."""
    return f"21 degrees in {city}"


class Weather(BaseModel):
    """What is asked for."""

    celsius: int


CALLS = [
    {"text": "Hm", "thought": True},
    {"functionCall": {"name": "get_weather", "args": {"city": "Kyoto"}}, **SIGNED},
    {"functionCall": {"name": "get_weather", "args": {"city": "Oslo"}, "id": "g2"}},
]


def test_a_conversation_with_everything(server: GeminiServer) -> None:
    """Whole, streamed and async turns, tools and shapes: the server finds nothing wrong."""
    with agent(server, get_weather) as asking:
        session = asking.session(system="Be brief.")
        server.script.extend([CALLS, [{"text": "Sunny in both."}]])
        assert session.run("Weather?").text == "Sunny in both."
        server.script.extend([CALLS, [{"text": "Still sunny, "}, {"text": "yes.", **SIGNED}]])
        told = [event.text for event in session.stream("And now?") if event.type == "text_delta"]
        assert "".join(told) == "Still sunny, yes."
        assert "You said: Later?" in asyncio.run(session.run_async("Later?")).text
        server.script.append([{"text": '{"celsius": 21}'}])
        assert session.json("Numbers", schema=Weather).output == Weather(celsius=21)
        picture = ImagePart.from_bytes(b"pixels")
        assert session.run([picture, TextPart("What?")], reasoning_effort="low").text
        recorded = digests(session)
    assert recorded == [hashlib.sha256(request.body).hexdigest() for request in server.requests]
    paths = {request.path.partition(":")[2] for request in server.requests}
    assert paths == {"generateContent", "streamGenerateContent?alt=sse"}


def test_a_saved_session_goes_on(server: GeminiServer) -> None:
    """Signatures and pictures of answers come back from the log as they were."""
    image = {"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}, **SIGNED}
    with agent(server) as asking:
        session = asking.session()
        server.script.append([image, {"text": "", **SIGNED}])
        session.run("Draw")
        restored = type(session).from_dict(json.loads(json.dumps(session.to_dict())), asking)
        restored.run("Again")
    sent = server.requests[-1].json["contents"][1]
    assert sent == {"role": "model", "parts": [image, {"text": "", **SIGNED}]}


def test_a_history_of_another_provider(server: GeminiServer) -> None:
    """Its calls keep their results; its ids and signatures stay behind."""
    other = Opaque("anthropic", "messages", "claude", to_raw({"signature": "x"}, of="opaque"))
    history = [
        Message.user("Weather?"),
        Message.assistant(
            ReasoningPart("Hm", other),
            ToolCallPart("call_0_0", "get_weather", '{"city":"Oslo"}', "toolu_1", other),
            ToolCallPart("call_0_1", "get_weather", "", "toolu_2"),
        ),
        Message.tool(
            ToolResultPart("call_0_0", (TextPart("rain"),)),
            ToolResultPart("call_0_1", (TextPart("none"),), is_error=True),
        ),
        Message.assistant("Rain."),
    ]
    with agent(server, get_weather) as asking:
        assert asking.session(messages=history).run("Thanks").text
    assert b"toolu" not in server.requests[0].body


RETRY = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "13.5s"}
DAILY = {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}
MINUTE = {"violations": [{"quotaId": "GenerateRequestsPerMinutePerProject"}]}


def test_errors_say_when_to_try_again(server: GeminiServer) -> None:
    """The delay is in the body; a quota of the day is no matter of waiting."""
    exhausted = "RESOURCE_EXHAUSTED"
    server.script.append(error(429, "slow down", exhausted, MINUTE, RETRY))
    server.script.append(error(429, "slow down", exhausted, DAILY, RETRY))
    server.script.append(error(400, "bad"))
    with agent(server) as asking:
        session = asking.session()
        with pytest.raises(RateLimited) as caught:
            session.run("Hello")
        assert (caught.value.retry_after, caught.value.retryable) == (13.5, True)
        assert caught.value.type == exhausted
        with pytest.raises(QuotaExceeded) as quota:
            session.run("Hello")
        assert not quota.value.retryable
        with pytest.raises(BadRequest):
            session.run("Hello")
        with pytest.raises(ModelNotFound):
            session.run("Hello", model="gemini-9")


def test_a_wrong_key_is_told_from_a_wrong_request(server: GeminiServer) -> None:
    """The status is 400 for both."""
    provider = GenerateContent(GEMINI, base_url=server.base_url, api_key="AIzaWrong")
    with Agent(provider, model="gemini-3-pro") as asking, pytest.raises(AuthenticationFailed):
        asking.session().run("Hello")


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gemini-3-pro", "/models/gemini-3-pro:generateContent"),
        ("models/gemini-3-pro", "/models/gemini-3-pro:generateContent"),
        ("tunedModels/mine", "/tunedModels/mine:generateContent"),
        ("x?key=a#b:c", "/models/x%3Fkey%3Da%23b%3Ac:generateContent"),
        ("..%2Fx", "/models/..%252Fx:generateContent"),
    ],
)
def test_where_a_model_is(model: str, expected: str) -> None:
    """Its name cannot say anything but a name."""
    assert path(model) == expected
    assert path(model, stream=True) == expected.replace(
        "generateContent", "streamGenerateContent?alt=sse"
    )


@pytest.mark.parametrize("model", ["../x", "models/../x", "a//b", "/x", "."])
def test_a_model_cannot_lead_elsewhere(model: str) -> None:
    """It is refused before anything is sent."""
    with pytest.raises(ConfigurationError):
        path(model)


def test_vertex_has_paths_and_keys_of_its_own() -> None:
    """A plain name is Google's; the key is a token."""
    assert path("gemini-3-pro", base_url=VERTEX) == (
        "/publishers/google/models/gemini-3-pro:generateContent"
    )
    vertex = GenerateContent(GEMINI, base_url=VERTEX)
    assert vertex.headers("ya29") == {"authorization": "Bearer ya29"}
    assert GenerateContent(GEMINI).headers("k") == {"x-goog-api-key": "k"}
    assert GenerateContent(GEMINI).headers("") == {}


def test_where_the_key_comes_from(monkeypatch: pytest.MonkeyPatch, server: GeminiServer) -> None:
    """Either variable will do; the first one wins."""
    with pytest.raises(MissingAPIKey, match="GEMINI_API_KEY"):
        GenerateContent(GEMINI).check_key()
    monkeypatch.setenv("GOOGLE_API_KEY", KEY)
    provider = GenerateContent(GEMINI, base_url=server.base_url)
    with Agent(provider, model="gemini-3-pro") as asking:
        assert asking.session().run("Hello").text
    monkeypatch.setenv("GEMINI_API_KEY", "AIzaOther")
    provider = GenerateContent(GEMINI, base_url=server.base_url)
    with Agent(provider, model="gemini-3-pro") as asking, pytest.raises(AuthenticationFailed):
        asking.session().run("Hello")


def test_a_turn_goes_on_after_a_crash(server: GeminiServer) -> None:
    """What tools answered is not asked for again; the signatures are still there."""
    server.script.extend([CALLS, error(500, "crashed", "INTERNAL")])
    with agent(server, get_weather) as asking:
        session = asking.session()
        with pytest.raises(ServerFailed):
            session.run("Weather?")
        restored = Session.from_dict(session.to_dict(), asking)
        server.script.append([{"text": "Sunny."}])
        assert restored.resume().text == "Sunny."
        assert digests(restored) == [
            hashlib.sha256(request.body).hexdigest() for request in server.requests
        ]
    assert server.requests[1].body == server.requests[2].body
