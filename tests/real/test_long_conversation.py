"""A long conversation with a real server, kept in a file, held against the bytes that went out."""

import asyncio
import hashlib
from pathlib import Path

from agent import Agent, Session, tool
from agent.stores import SQLiteStore
from tests.engine.given import digests, rebuilt
from tests.real.relay import Relay

HALF = 30


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def agent_of(relay: Relay, store: SQLiteStore) -> Agent:
    """An agent whose sessions are kept."""
    return Agent(
        "openai",
        "tiny",
        base_url=relay.base_url,
        store=store,
        tools=[add],
        timeout=30,
        max_tokens=60,
    )


async def talk(session: Session, first: int) -> None:
    """Take turns of every kind."""
    for number in range(first, first + HALF):
        match number % 5:
            case 0:
                session.run(f"Sync {number}", temperature=0.5)
            case 1:
                session.stream(f"Streamed {number}").finish()
            case 2:
                await session.run_async(f"Async {number}", seed=number, tool_choice="none")
            case 3:
                await (await session.stream_async(f"Streamed async {number}")).finish()
            case _:
                session.run(f"With a tool {number}", tool_choice="required", max_tokens=400)


def test_a_long_conversation(relay: Relay, tmp_path: Path):
    """Sixty turns, reopened and forked: each request can be rebuilt to the byte that was sent."""
    path = tmp_path / "sessions.db"
    with SQLiteStore(path, durability="os") as store, agent_of(relay, store) as agent:
        session = agent.session("long", system="Be brief.")
        asyncio.run(talk(session, 0))
        settled = session.messages

    with SQLiteStore(path, durability="os") as store, agent_of(relay, store) as agent:
        session = agent.session("long")
        assert session.messages == settled
        asyncio.run(talk(session, HALF))
        common = len(relay.bodies)
        fork = session.fork("branch")
        fork.run("Go another way", tool_choice="none")
        session.run("Go on", tool_choice="none")
        assert fork.messages[:-2] == session.messages[:-2]

    own, other = relay.bodies[:common], relay.bodies[common:]
    with SQLiteStore(path, durability="os") as store, agent_of(relay, store) as agent:
        for key, bodies in (("long", [*own, *other[1:]]), ("branch", [*own, *other[:1]])):
            stored = agent.session(key)
            assert sum(message.role == "user" for message in stored.messages) == 2 * HALF + 1
            assert digests(stored) == [hashlib.sha256(body).hexdigest() for body in bodies]
            assert rebuilt(stored, agent.provider) == bodies
