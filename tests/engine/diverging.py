"""Sessions of which one thing is changed, and what a replay says of that."""

from contextlib import suppress
from typing import Any

import msgspec
import pytest

from agent import Agent, Message, Session
from agent.engine.scripted import Call, Scripted
from agent.errors import AgentError
from agent.replay import Divergence
from tests.engine.crashes import Tea
from tests.engine.given import agent_of

UNSET = msgspec.UNSET

SYSTEM = "You are brief."


def search(query: str) -> str:
    """Search the web."""
    return f"found {query}"


def look(place: str) -> str:
    """Look."""
    return place


ASKED = Call("search", {"query": "it"})


def today(*script: Scripted, **options: Any) -> Agent:
    """An agent with a tool."""
    return agent_of(*script, **{"tools": [search], **options})


def lived(*script: Scripted, prompts: str = "1", **options: Any) -> Session:
    """A session with a turn for each prompt, whatever became of it."""
    session = today(*script, **options).session("s", system=SYSTEM)
    for prompt in prompts:
        with suppress(AgentError):
            session.run(prompt)
    return session


@pytest.fixture
def session() -> Session:
    """A turn with a tool, a message by hand, and a turn without; the tests below say where."""
    session = today(ASKED, "Here", "Bye").session("s", system=SYSTEM)
    session.run("Find it")
    session.add_message(Message.user("By hand"))
    session.run("Thanks")
    return session


def diverged(session: Session, agent: Agent | None = None, **options: Any) -> Divergence:
    """Where a replay parts from the record; everything before that is the same."""
    found = session.replay(agent, **options)
    assert not found
    assert found.divergence is not None
    assert found.events == found.divergence.version - 1
    return found.divergence


def told(found: Divergence) -> tuple[Any, ...]:
    """What is said of it besides the two events."""
    return (found.version, found.kind, found.causes, found.changes)


def types(found: Divergence) -> tuple[str | None, str | None]:
    """The types of the two events."""
    return (found.recorded and found.recorded.type, found.today and found.today.type)


def same(session: Session, agent: Agent | None = None, **options: Any) -> bool:
    """Whether nothing is different."""
    found = session.replay(agent, **options)
    assert found.divergence is None, found
    return bool(found)


def shaped(*script: Scripted, **options: Any) -> Session:
    """A session that was asked for a tea."""
    session = agent_of(*script, **options).session("s")
    with suppress(AgentError):
        session.json("A tea", schema=Tea)
    return session
