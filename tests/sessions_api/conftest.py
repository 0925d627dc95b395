from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import Agent
from agent.stores import MemoryStore, SessionStore, SQLiteStore
from tests.fakes import ChatServer
from tests.sessions_api.given import FakeRedis, RedisStore, divide, get_user_orders


@pytest.fixture
def agent(openai_env: ChatServer) -> Iterator[Agent]:
    """An agent that speaks to the fake server."""
    with Agent(provider="openai", model="gpt-4o") as agent:
        yield agent


@pytest.fixture
def tool_agent(openai_env: ChatServer) -> Iterator[Agent]:
    """An agent with a sync and an async tool."""
    with Agent(provider="openai", model="gpt-4o", tools=[get_user_orders, divide]) as agent:
        yield agent


@pytest.fixture(params=["memory", "sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SessionStore]:
    """Every kind of store."""
    if request.param == "redis":
        yield RedisStore(FakeRedis())
        return
    kind = MemoryStore() if request.param == "memory" else SQLiteStore(tmp_path / "sessions.db")
    with kind as store:
        yield store
