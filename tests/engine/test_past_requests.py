"""Past requests, rebuilt from the log."""

import json
from collections.abc import Iterator

import msgspec
import pytest

from agent import Agent, Message, Session
from agent.engine.providers import connect
from agent.errors import NoRequest, ServerFailed, UnknownProvider, UnknownStream
from agent.eventstore.events import ModelRequested
from agent.eventstore.messages import ImagePart
from agent.stores import MemoryStore, SQLiteStore
from agent.testing import Call, ScriptedModel
from tests.engine.given import add, agent_of
from tests.fakes import ChatServer, Error, Text, ToolCalls


def requested(session: Session) -> Iterator[int]:
    """The versions at which a model was asked."""
    for fact in session.events():
        if isinstance(fact.event, ModelRequested):
            yield fact.version


@pytest.fixture
def server() -> Iterator[ChatServer]:
    """A server that keeps what it is sent."""
    with ChatServer() as server:
        yield server


def agent_at(server: ChatServer, store: SQLiteStore | MemoryStore | None = None) -> Agent:
    """An agent of a real protocol."""
    return Agent(
        "openai", "gpt-4o", base_url=server.base_url, api_key="sk-test", store=store, tools=[add]
    )


def lived(server: ChatServer, store: MemoryStore) -> Session:
    """A session with tools, an image, a retry, structured output and every kind of rewriting."""
    call = ToolCalls([("add", '{"a":1,"b":2}', "call_1")])
    server.script([call, Text("3"), Error(500, headers={"retry-after": "0"}), Text("again")])
    session = agent_at(server, store).session("s", system="Be brief.")
    session.run("1 + 2?", temperature=0.5, tool_choice="required")
    session.run([ImagePart.from_bytes(b"\x89PNG")])
    session.json("A number", schema=int)
    session.stream("Streamed").finish()
    session.compact(keep_last=2)
    session.run("After compacting")
    session.undo()
    session.run("After undoing")
    session.clear()
    session.add_message(Message.user("By hand"))
    session.run("After clearing", model="gpt-4o-mini")
    return session


def test_every_request_is_the_bytes_that_were_sent(server: ChatServer) -> None:
    """Each attempt, whatever has become of the history since; and nothing is asked again."""
    session = lived(server, MemoryStore())
    sent = [request.body for request in server.requests]
    found = [session.request_at(version) for version in requested(session)]
    assert [past.body for past in found] == sent
    assert all(past.proven for past in found)
    assert [past.prompt.model for past in found][-2:] == ["gpt-4o", "gpt-4o-mini"]
    assert len(server.requests) == len(sent)


def test_from_an_export_and_a_fork(server: ChatServer) -> None:
    """Wherever the events are, the requests are, without the agent that made them."""
    session = lived(server, MemoryStore())
    sent = [request.body for request in server.requests]
    imported = Session.from_dict(json.loads(json.dumps(session.to_dict())), agent_of())
    for copy in (imported, session.fork()):
        found = [copy.request_at(version) for version in requested(copy)]
        assert [past.body for past in found] == sent
        assert all(past.proven for past in found)


def test_what_a_request_said(server: ChatServer) -> None:
    """Its messages and everything besides them can be looked at."""
    session = agent_at(server).session(system="Be brief.")
    session.run("Hello", seed=7)
    (version,) = requested(session)
    past = session.request_at(version)
    assert (past.version, past.recorded.step, past.encoder) == (
        version,
        1,
        "chat_completions/1+max_tokens",
    )
    assert [message.text for message in past.messages] == ["Hello"]
    assert (past.prompt.system, past.prompt.settings.seed) == ("Be brief.", 7)
    assert past.digest == past.recorded.digest


def test_the_rules_of_then_are_found(server: ChatServer) -> None:
    """Another agent of the same provider speaks another dialect; the log says which it was."""
    store = MemoryStore()
    agent_at(server, store).session("s").run("Hello", max_tokens=9)
    official = Agent("openai", "gpt-4o", api_key="sk-test", store=store).session("s")
    (version,) = requested(official)
    past = official.request_at(version)
    assert past.proven
    assert b'"max_tokens":9' in past.body


def test_rules_that_are_gone(server: ChatServer) -> None:
    """Both are named, and the body of today is not taken for that of then."""

    class Older(ScriptedModel):
        encoder = "scripted/0"

        def encode_frame(self, prompt):
            frame = super().encode_frame(prompt)
            return msgspec.structs.replace(frame, end=frame.end + b" ")

    store = MemoryStore()
    Agent(Older(["Hi"]), store=store).session("s").run("Hello")
    session = Agent(ScriptedModel([]), store=store).session("s")
    (version,) = requested(session)
    past = session.request_at(version)
    assert not past.proven
    assert (past.recorded.encoder, past.encoder) == ("scripted/0", "scripted/1")


def test_a_version_without_a_request(server: ChatServer) -> None:
    """The nearest requests are named, and versions that there are not are told apart."""
    session = agent_of(Call("add", {"a": 1, "b": 2}), "3", "4", tools=[add]).session()
    with pytest.raises(UnknownStream, match="has versions 1 to"):
        session.request_at(99)
    with pytest.raises(NoRequest, match="no request: it has made no request yet"):
        session.request_at(1)
    session.run("1 + 2?")
    first, second = requested(session)
    with pytest.raises(NoRequest, match=f"the nearest requests are at {first} and {second}") as it:
        session.request_at(first + 1)
    assert it.value.requests == (first, second)


def test_a_provider_that_is_not_here(server: ChatServer) -> None:
    """Nobody else knows what its bytes were."""

    class Mine(ScriptedModel):
        name = "mine"

    store = MemoryStore()
    Agent(Mine(["Hi"]), store=store).session("s").run("Hello")
    session = agent_at(server, store).session("s")
    (version,) = requested(session)
    with pytest.raises(UnknownProvider, match="'mine'") as caught:
        session.request_at(version)
    assert {"openai", "anthropic", "gemini", "ollama"} < set(caught.value.known)
    session = agent_of(store=store).session("s")
    with pytest.raises(UnknownProvider) as caught:
        session.request_at(version)
    assert "scripted" in caught.value.known


def test_a_failed_request_is_there_too(server: ChatServer) -> None:
    """What was asked is known, whatever came of it."""
    server.script([Error(500)])
    provider = connect("openai", base_url=server.base_url, api_key="sk-test", timeout=5)
    session = Agent(provider, "gpt-4o", max_retries=0).session()
    with pytest.raises(ServerFailed):
        session.run("Hello")
    (version,) = requested(session)
    assert session.request_at(version).body == server.requests[0].body
