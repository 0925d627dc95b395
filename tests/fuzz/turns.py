"""The target that is the whole engine: a real server answers a turn with a mutated body."""

import asyncio
import json
import zlib
from collections import Counter
from collections.abc import Callable
from functools import cached_property
from random import Random

from agent import Agent, Session
from agent.engine.stream import Done, Response
from agent.errors import AgentError
from agent.eventstore.core import verified
from agent.stores import MemoryStore
from tests.engine.given import add, fail, kinds
from tests.fakes import ChatServer, RawBody, Text
from tests.fakes.chat_vendors import openly
from tests.fuzz import corpus
from tests.fuzz.mutators import mutate
from tests.fuzz.runner import Target

ENDS = {"turn.completed", "turn.failed", "turn.abandoned"}


class Turns(Target):
    """A turn whose model answers with a mutated body, over a socket, run or streamed.

    It ends once, in a response or an :class:`AgentError`, which leaves the history as it was. The
    log verifies, can be taken elsewhere, and the next turn works.
    """

    name = "turn"

    def __init__(self) -> None:
        self.seeds = corpus.TURNS

    @cached_property
    def _server(self) -> ChatServer:
        """A server for as long as this process lives, or until :meth:`close`."""
        return ChatServer(openly).__enter__()

    @cached_property
    def _agent(self) -> Agent:
        return Agent(
            "openai",
            "gpt-4o",
            tools=[add, fail],
            store=MemoryStore(),
            base_url=self._server.base_url,
            api_key="sk-test",
            timeout=20,
            max_retries=0,
            max_steps=3,
        )

    def close(self) -> None:
        """Let go of the connections and the server."""
        if "_agent" in vars(self):
            self._agent.close()
            self._server.__exit__(None, None, None)
            del self._agent, self._server

    def make(self, rng: Random) -> bytes:
        """A line with status, type and encoding, then the body."""
        return mutate(rng, self.seeds)

    def check(self, body: bytes) -> str:
        """Take the turn, look at the log, take another."""
        session = self._agent.session()
        self._server.unscript()
        self._server.requests.clear()
        self._server.script([_reply(body)])
        outcome = self._turn(session, body)
        assert len(self._server.requests) >= 1
        self._check_log(session)
        self._server.unscript()
        self._server.script([Text("fine")])
        assert session.run("And now?").text == "fine"
        self._check_log(session)
        data = session.to_dict()
        agent = Agent(self._agent.provider, "gpt-4o")
        assert Session.from_dict(json.loads(json.dumps(data)), agent).to_dict() == data
        self._agent.store.delete(session.session_id)  # pyright: ignore[reportOptionalMemberAccess] - it has one
        return outcome

    def _turn(self, session: Session, body: bytes) -> str:
        way = _WAYS[zlib.crc32(body) % len(_WAYS)]
        try:
            response = way(session)
        except AgentError as error:
            assert session.messages == []
            return type(error).__name__
        assert session.messages == list(response.messages)
        assert session.messages[-1].text == response.text
        return "Response"

    @staticmethod
    def _check_log(session: Session) -> None:
        facts = list(session.events())
        assert list(verified(facts, stream=session.session_id)) == facts
        types = Counter(kinds(session))
        assert types["turn.started"] == sum(types[end] for end in ENDS)
        answers = types["model.responded"] + types["model.failed"]
        assert types["model.requested"] == answers
        assert types["tool.called"] <= types["tool.returned"]


def _streamed(session: Session) -> Response[None]:
    *_, last = session.stream("Hi")
    assert isinstance(last, Done)
    return last.response


async def _streamed_async(session: Session) -> Response[None]:
    stream = await session.stream_async("Hi")
    return await stream.finish()


_WAYS: tuple[Callable[[Session], Response[None]], ...] = (
    *(lambda session: session.run("Hi"), _streamed) * 3,
    lambda session: asyncio.run(session.run_async("Hi")),
    lambda session: asyncio.run(_streamed_async(session)),
)
"""Run or streamed; a quarter on an event loop, which takes longer."""


def _reply(body: bytes) -> RawBody:
    line, _, rest = body.partition(b"\n")
    said = line.decode("latin-1").split(" ")
    status, kind, encoding = (*said, "", "", "")[:3]
    number = int(status) if status.isascii() and status.isdecimal() and len(status) == 3 else 200
    if not (number == 200 or 300 <= number <= 599) or number == 304:
        number = 200
    headers = {"content-type": kind, "content-encoding": encoding}
    usable = {name: value for name, value in headers.items() if value.isprintable()}
    return RawBody(
        number, rest, {k: v.encode("ascii", "replace").decode() for k, v in usable.items()}
    )
