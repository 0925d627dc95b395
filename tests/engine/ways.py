"""The four ways to take a turn over a real connection, and what each leaves when it fails."""

import asyncio
import json
import traceback
from collections.abc import Iterator
from typing import Any, TypeVar

import pytest

from agent import Agent, Response, Session
from agent.errors import AgentError
from tests.engine.given import kinds
from tests.fakes.raw_server import Act, RawServer

T = TypeVar("T", bound=AgentError)

KEY = "sk-secret-0123456789abcdef"
STREAMS = ("stream", "stream_async")
WHOLES = ("run", "run_async")
WAYS = (*WHOLES, *STREAMS)


def agent_at(url: str, **options: Any) -> Agent:
    """An agent that makes one attempt only, unless told otherwise."""
    given = {"model": "m", "base_url": url, "api_key": KEY, "max_retries": 0, "timeout": 20.0}
    return Agent(**(given | options))


def take(session: Session, way: str, prompt: str = "Hi") -> Response[Any]:
    """The response of one turn; its deltas say the same."""
    if way == "run":
        return session.run(prompt)
    if way == "run_async":
        return asyncio.run(session.run_async(prompt))

    async def read() -> list[Any]:
        return [event async for event in await session.stream_async(prompt)]

    events: list[Any] = list(session.stream(prompt)) if way == "stream" else asyncio.run(read())
    response = events[-1].response
    assert "".join(e.text for e in events if e.type == "text_delta") == response.text
    return response


def answered(act: Act, way: str, **options: Any) -> Response[Any]:
    """The response of a turn whose connection has this act."""
    with RawServer(act) as server, agent_at(server.base_url, **options) as agent:
        return take(agent.session(), way)


def failed(server: RawServer | str, way: str, cls: type[T], **options: Any) -> T:
    """The error of a turn, of exactly this class."""
    error = ended(server, way, **options)
    assert type(error) is cls, repr(error)
    return error


def ended(server: RawServer | str, way: str, **options: Any) -> AgentError:
    """The error of a turn. The history is as it was, the log has the evidence, nothing the key."""
    url = server if isinstance(server, str) else server.base_url
    with agent_at(url, **options) as agent:
        session = agent.session("s")
        with pytest.raises(AgentError) as caught:
            take(session, way)
    error = caught.value
    assert session.messages == []
    assert kinds(session)[-2:] == ["model.failed", "turn.failed"]
    shown = [*traceback.format_exception(error), repr(vars(error)), json.dumps(session.to_dict())]
    assert not [text for text in shown if KEY[:12] in text]
    return error


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    """Each way, one after another."""
    return request.param


@pytest.fixture(autouse=True)
def log_without_key(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No line of our log has the key."""
    caplog.set_level("DEBUG", logger="agent")
    yield
    lines = [record for record in caplog.records if record.name == "agent"]
    assert not [line for line in lines if KEY[:12] in repr(vars(line))]
