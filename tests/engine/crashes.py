"""A world outside that tools touch, and sessions that stop after any of their events."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from pydantic import BaseModel

from agent import Agent, Response, Session, Tool, ToolContext
from agent.engine.provider import ModelRequest
from agent.engine.scripted import Call, Scripted, ScriptedModel
from agent.eventstore.backends.memory import MemoryLog
from agent.eventstore.core import verified
from agent.eventstore.errors import AgentError
from agent.eventstore.record import Recorded
from agent.projections.pairing import Pairing
from agent.stores import LogStore
from tests.engine.given import agent_of, requests_of


class Tea(BaseModel):
    """A tea."""

    name: str


GOOD, BAD = '{"name":"Assam"}', "{}"


class Ran(NamedTuple):
    """A tool that ran: a line of the journal outside."""

    tool: str
    call_id: str
    key: str


class World:
    """What tools have done, whoever called them: one pays, one sends, one only looks.

    One signs, if a person allows it.
    """

    def __init__(self) -> None:
        self.journal: list[Ran] = []
        self.tools: list[Tool[..., Any]] = [
            Tool(self._named("pay")),
            Tool(self._named("send"), idempotent=True),
            Tool(self._named("look"), retry_safe=True),
            Tool(self._named("sign"), requires_approval=True),
        ]

    def _named(self, name: str) -> Callable[..., str]:
        def act(context: ToolContext) -> str:
            self.journal.append(Ran(name, context.call_id, context.idempotency_key))
            return f"{name} done"

        act.__name__ = name
        return act

    def agent(self, script: Sequence[Scripted] | None = None, **options: Any) -> Agent:
        """An agent with these tools; without a script its model comes to an end at once."""
        if script is not None:
            return agent_of(*script, tools=self.tools, **options)
        given = agent_of(tools=self.tools, **options)
        return Agent(
            ScriptedModel(_at_once), "m", tools=self.tools, sources=given._setup.sources, **options
        )


def _at_once(request: ModelRequest) -> str:
    return GOOD if request.prompt.output else "Done."


def cut(facts: Sequence[Recorded], version: int, key: str = "s") -> LogStore:
    """A store that holds the first events of a session, as after a crash."""
    log = MemoryLog()
    log.append(key, facts[:version], expected=None)
    return LogStore(log)


def recorded(session: Session, prompt: str, *, shaped: bool = False) -> list[Recorded]:
    """The events of a session after a turn, however that ended."""
    with suppress(AgentError):
        if shaped:
            session.json(prompt, schema=Tea)
        else:
            session.run(prompt)
    return list(session.events())


def taken(session: Session, way: str, prompt: Any = "Do it", **options: Any) -> Response[Any]:
    """The response of a turn that is taken in one of the ways."""
    match way:
        case "run":
            return session.run(prompt, **options)
        case "run_async":
            return asyncio.run(session.run_async(prompt, **options))
        case "json":
            return session.json(prompt, schema=Tea, **options)
        case "json_async":
            return asyncio.run(session.json_async(prompt, schema=Tea, **options))
        case "stream":
            return list(session.stream(prompt, **options))[-1].response  # pyright: ignore[reportAttributeAccessIssue] - the last is done
        case _:

            async def read() -> list[Any]:
                return [e async for e in await session.stream_async(prompt, **options)]

            return asyncio.run(read())[-1].response


def resumed(session: Session, way: str, *, shaped: bool = False) -> Response[Any]:
    """The response of a turn that is taken up again in one of the four ways."""
    if way == "resume":
        return session.resume(schema=Tea) if shaped else session.resume()
    if way == "resume_async":
        going = session.resume_async(schema=Tea) if shaped else session.resume_async()
        return asyncio.run(going)
    if way == "resume_stream":
        return list(session.resume_stream())[-1].response  # pyright: ignore[reportAttributeAccessIssue] - the last is done

    async def read() -> list[Any]:
        return [event async for event in await session.resume_stream_async()]

    return asyncio.run(read())[-1].response


def left(*calls: str, after: str = "tool.called", shaped: bool = False) -> LogStore:
    """A store whose process died right after the first such event."""
    facts = recorded(World().agent([asks(*calls), "x"]).session("s"), "Do it", shaped=shaped)
    return cut(facts, [fact.type for fact in facts].index(after) + 1)


def opened(store: LogStore, world: World | None = None, **options: Any) -> Session:
    """The session as the next process finds it."""
    return (world or World()).agent(store=store, **options).session("s")


def stopped(*calls: str, world: World | None = None, **options: Any) -> tuple[Session, World]:
    """A session whose turn waits for a person, and what its tools have done."""
    world = world or World()
    session = world.agent([asks(*(calls or ("sign",))), "Done."], **options).session("s")
    session.run("Do it")
    return session, world


def check_whole(session: Session) -> None:
    """The history is paired, the chain verifies, the log says what is shown and what was asked."""
    pairing = Pairing()
    for message in session.messages:
        pairing.see(message)
    pairing.end()
    facts = list(verified(session.events(), stream=session.session_id))
    assert facts[-1].version == session.version
    assert session.at(session.version).messages == session.messages
    assert all(past.proven for past in requests_of(session))


def asks(*names: str) -> list[Call]:
    """Calls in one answer."""
    return [Call(name) for name in names]
