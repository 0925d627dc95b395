import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from agent import Agent, Message, tool
from agent.engine.errors import (
    AuthenticationFailed,
    BadRequest,
    LimitExceeded,
    MissingAPIKey,
    ModelNotFound,
    OutputRefused,
    ProviderError,
    QuotaExceeded,
    RateLimited,
    ServerFailed,
)
from agent.engine.providers import connect
from agent.engine.providers.messages.api import Messages
from agent.engine.providers.vendors import ANTHROPIC
from agent.eventstore.events import ModelRequested, ToolCalled
from agent.eventstore.messages import TextPart, ToolCallPart, ToolResultPart
from agent.stores import SQLiteStore
from tests.engine.crashes import cut
from tests.engine.providers.messages.given import (
    FOUND,
    SEARCH,
    Block,
    block_events,
    body,
    event,
    started,
    stream,
    text,
    thinking,
    tool_use,
)
from tests.fakes.messages_server import MessagesServer, Reply, error

KEY = "sk-ant-0123456789"


def said(*blocks: Block, **more: Any) -> Reply:
    """An answer for both ways of asking."""
    return Reply(body(*blocks, **more), stream(*blocks, **more))


def agent(server: MessagesServer, **more: Any) -> Agent:
    """An agent that asks the fake."""
    options: dict[str, Any] = {"max_retries": 0, **more}
    return Agent(
        "anthropic",
        model="claude-sonnet-4-5",
        base_url=server.base_url,
        api_key=KEY,
        **options,
    )


@tool
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


def run(session: Any, prompt: str) -> str:
    """A turn in one piece."""
    return session.run(prompt).text


def stream_through(session: Any, prompt: str) -> str:
    """A streamed turn."""
    return "".join(one.text for one in session.stream(prompt) if one.type == "text_delta")


def run_async(session: Any, prompt: str) -> str:
    """The same on an event loop."""

    async def ask() -> str:
        return (await session.run_async(prompt)).text

    return asyncio.run(ask())


WAYS = [run, stream_through, run_async]


@pytest.mark.parametrize("way", WAYS)
def test_a_conversation_with_tools(way: Callable[[Any, str], str]) -> None:
    """Calls run side by side; reasoning, calls and results go back as the API asks."""
    calls = (
        tool_use("add", {"a": 1, "b": 2}),
        tool_use("add", {"a": 3, "b": 4}, "toolu_2", caller={"type": "direct"}),
    )
    with MessagesServer(
        said(thinking("Hm"), *calls, stop="tool_use"), said(text("3 and 7")), said(text("Bye"))
    ) as server:
        with agent(server, tools=[add]) as asking:
            session = asking.session(system="Be exact")
            assert way(session, "Add") == "3 and 7"
            assert way(session, "Thanks") == "Bye"
        first, second, third = (one["messages"] for one in server.bodies)
        assert second[: len(first)] == first
        assert third[: len(second)] == second
        assert second[1]["content"][0] == thinking("Hm")
        results = [block["content"][0]["text"] for block in second[2]["content"]]
        assert results == ["3", "7"]
        assert server.requests[0].headers["anthropic-version"] == "2023-06-01"
        assert "authorization" not in server.requests[0].headers


@pytest.mark.parametrize("way", WAYS)
def test_a_pause_goes_on(way: Callable[[Any, str], str]) -> None:
    """The paused answer is sent back as it came, and the turn ends with what follows."""
    paused = said(text("Let me look."), SEARCH, stop="pause_turn")
    with MessagesServer(paused, said(FOUND, text("Sunny")), said(text("Bye"))) as server:
        with agent(server) as asking:
            session = asking.session()
            assert way(session, "Weather?").endswith("Sunny")
            assert [message.role for message in session.messages] == [
                "user",
                "assistant",
                "assistant",
            ]
            way(session, "Thanks")
        assert server.bodies[1]["messages"][1:] == [
            {"role": "assistant", "content": [text("Let me look."), SEARCH]}
        ]
        assert [one["role"] for one in server.bodies[2]["messages"]] == [
            "user",
            "assistant",
            "assistant",
            "user",
        ]


def test_a_pause_without_end() -> None:
    """The limit on steps ends it."""
    with (
        MessagesServer(*[said(SEARCH, stop="pause_turn")] * 3) as server,
        agent(server, max_steps=3) as asking,
    ):
        with pytest.raises(LimitExceeded, match="max_steps"):
            asking.session().run("Weather?")
        assert len(server.requests) == 3


class City(BaseModel):
    """A city."""

    name: str


def test_structured_output() -> None:
    """The shape is asked for; a refusal is no answer that does not fit."""
    details = {"type": "refusal", "explanation": "Policy"}
    refused = said(stop="refusal", stop_details=details)
    with MessagesServer(said(text('{"name":"Rome"}')), refused) as server, agent(server) as asking:
        session = asking.session()
        assert session.json("Which?", schema=City).output == City(name="Rome")
        with pytest.raises(OutputRefused, match="Policy"):
            session.json("Which?", schema=City)
        assert server.bodies[0]["output_config"]["format"]["schema"]["required"] == ["name"]


@pytest.mark.parametrize(
    ("reply", "cls"),
    [
        (error(400, "invalid_request_error", "Words"), BadRequest),
        (error(401, "authentication_error", "Words"), AuthenticationFailed),
        (error(402, "billing_error", "Words"), QuotaExceeded),
        (error(403, "permission_error", "Words"), AuthenticationFailed),
        (error(404, "not_found_error", "Words"), ModelNotFound),
        (error(413, "request_too_large", "Words"), BadRequest),
        (error(429, "rate_limit_error", "Words", retry_after="7"), RateLimited),
        (error(500, "api_error", "Words"), ServerFailed),
        (error(529, "overloaded_error", "Words"), ServerFailed),
    ],
)
def test_statuses(reply: Reply, cls: type[ProviderError]) -> None:
    """Each is an error with the server's words, its kind and the id of the request."""
    with (
        MessagesServer(reply) as server,
        agent(server) as asking,
        pytest.raises(cls, match="Words") as caught,
    ):
        asking.session().run("Hi")
    assert (caught.value.status, caught.value.request_id) == (reply.status, "req_1")
    assert caught.value.retry_after == (7.0 if cls is RateLimited else None)


def test_an_overloaded_server_is_asked_again() -> None:
    """As long as nothing of the answer was seen."""
    broken = started() + event("error", error={"type": "overloaded_error", "message": "Busy"})
    replies = (
        error(529, "overloaded_error", "Busy", retry_after="0"),
        Reply(b"", broken),
        said(text("Hi")),
    )
    with MessagesServer(*replies) as server, agent(server, max_retries=2) as asking:
        assert stream_through(asking.session(), "Hi") == "Hi"
        assert len({request.body for request in server.requests}) == 1


def test_the_log_knows_the_bytes(tmp_path: Path) -> None:
    """What is recorded is the digest of what the server got, in another process's session too."""
    with MessagesServer(said(text("a")), said(text("b"))) as server:
        for prompt in ("Hi", "Again"):
            with agent(server, store=SQLiteStore(tmp_path / "log.db")) as asking:
                asking.session(session_id="s").run(prompt)
        with agent(server, store=SQLiteStore(tmp_path / "log.db")) as asking:
            events = [one.event for one in asking.session(session_id="s").events()]
        asked = [one for one in events if isinstance(one, ModelRequested)]
        digests = [hashlib.sha256(request.body).hexdigest() for request in server.requests]
        assert [one.digest for one in asked] == digests
        assert {(one.provider, one.api, one.encoder) for one in asked} == {
            ("anthropic", "messages", "messages/1")
        }


@pytest.mark.parametrize("after", range(1, 9))
def test_a_turn_is_resumed(after: int) -> None:
    """Wherever its process died, the next one asks with the same bytes and comes to the end."""
    replies = (
        said(text("Let me look."), SEARCH, stop="pause_turn"),
        said(FOUND, tool_use("add", {"a": 1, "b": 2}), stop="tool_use"),
        said(text("3")),
    )
    with MessagesServer(*replies) as server:
        with agent(server, tools=[add]) as first:
            session = first.session("s")
            session.run("Add")
            facts = list(session.events())
        kinds = [fact.type for fact in facts]
        place = kinds.index("turn.started") + after
        answers = kinds[:place].count("model.responded")
        bodies = [request.body for request in server.requests]
        server.script(*replies[answers:])
        with agent(server, tools=[add], store=cut(facts, place)) as second:
            resumed = second.session("s")
            called = facts[place - 1].event
            if isinstance(called, ToolCalled):
                resumed.resolve(called.call_id, retry=True)
            assert resumed.resume().text == "3"
        assert server.requests[3].body == bodies[answers]


def test_a_history_from_elsewhere() -> None:
    """Foreign ids and answers of other models are taken."""
    history = [
        Message.user("Add"),
        Message.assistant(ToolCallPart("call.1:a", "add", '{"a":')),
        Message.tool(ToolResultPart("call.1:a", (TextPart(""),), is_error=True)),
        Message.assistant("", "Done"),
    ]
    with MessagesServer(said(text("Hi"))) as server, agent(server) as asking:
        assert asking.session(messages=history).run("Again").text == "Hi"


def test_a_cut_stream_is_no_answer() -> None:
    """What had come of it is not the turn's."""
    cut = started() + block_events(0, text("Hello"))
    with MessagesServer(Reply(b"", cut)) as server, agent(server) as asking:
        session = asking.session()
        with pytest.raises(ProviderError, match="ended in the middle"):
            stream_through(session, "Hi")
        assert session.messages == []


def test_who_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """The vendor does; other servers of the protocol may not."""
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    with pytest.raises(MissingAPIKey, match="ANTHROPIC_API_KEY"):
        Messages(ANTHROPIC).check_key()
    elsewhere = connect("anthropic", base_url="http://localhost:1/v1", api_key=None, timeout=1)
    assert isinstance(elsewhere, Messages)
    elsewhere.check_key()
    assert elsewhere.headers("") == {"anthropic-version": "2023-06-01"}
