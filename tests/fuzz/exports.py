"""Targets that read a serialized session: edited exports, and ones that are forged whole."""

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cache
from random import Random
from typing import Any

import msgspec

from agent import Agent, Message, Session
from agent.engine.provider import Answer, Delta, ModelRequest
from agent.engine.providers.chat_completions.api import ChatCompletions
from agent.engine.providers.vendors import OPENAI
from agent.engine.scripted import Call
from agent.errors import AgentError
from agent.eventstore.errors import CorruptLog
from agent.eventstore.export import export_digest, export_events, session_id_of
from agent.eventstore.messages import ImagePart, TextPart
from agent.eventstore.record import Prepared, Recorded, record
from tests.engine.given import add, agent_of, fail, fixed_sources
from tests.eventstore.exports import erased
from tests.eventstore.samples import SAMPLES
from tests.fuzz.mutators import ALL, STRUCTURE, change, mutate
from tests.fuzz.runner import Target

PICTURE = b"\x89PNG"
PICTURES = {hashlib.sha256(data).hexdigest(): data for data in (PICTURE, b"hello\n")}


class Parrot(ChatCompletions):
    """A provider that builds real bodies and answers by itself."""

    def __init__(self) -> None:
        super().__init__(OPENAI, base_url="http://localhost/v1", api_key="sk-test")

    def call(self, request: ModelRequest) -> Iterator[Delta | Answer]:
        """Look at the body, and answer."""
        msgspec.json.decode(request.body)
        yield Answer(Message.assistant("fine"), "stop")


AGENT = Agent(Parrot(), "m", sources=fixed_sources())


@cache
def sessions() -> tuple[Session, ...]:
    """Sessions in which everything has happened that can, the same in each process.

    No two tools run at once: their results would be recorded in any order.
    """
    agent = agent_of(
        "Hello",
        [Call("add", {"a": 1, "b": 2}), Call("nobody", {})],
        Call("fail", {}),
        "Three",
        "Zoë\u2028\U0001f375",
        "forked",
        tools=[add, fail],
    )
    session = agent.session("root", system="Be brief.", metadata={"title": "tea", "n": 1.5})
    session.run("Hi")
    session.run([TextPart("Add"), ImagePart.from_bytes(PICTURE)])
    stream = session.stream("Tell me")
    next(stream)
    stream.close()
    child = session.fork("child")
    child.add_message(Message.user("by hand"))
    child.run("And?")
    session.clear()
    fresh = agent_of("Hi").session("fresh")
    fresh.run("x")
    return session, child, fresh


def rewritten(data: dict[str, Any]) -> bytes:
    """An export as text."""
    return json.dumps(data, separators=(",", ":")).encode()


@cache
def export_seeds() -> tuple[bytes, ...]:
    """Exports, one with an erased event."""
    exports = [session.to_dict() for session in sessions()]
    facts = [erased(f) if f.type == "turn.abandoned" else f for f in sessions()[0].events()]
    exports.append(export_events(facts, sessions()[0]._handle.log))
    return tuple(map(rewritten, exports))


def check_session(session: Session) -> None:
    """A session that was let in shows itself without an error."""
    assert all(isinstance(message.text, str) for message in session.messages)
    assert isinstance(session.metadata, dict)
    assert isinstance(session.system, str | None)
    assert isinstance(session.parent, str | None)
    assert session.usage is not None


def check_again(session: Session) -> dict[str, Any]:
    """What was imported is exported again, and imported again, as the same events."""
    data = session.to_dict()
    again = Session.from_dict(json.loads(rewritten(data)), AGENT)
    assert again.to_dict() == data
    return data


class Exports(Target):
    """An edited export through :meth:`Session.from_dict`.

    It is refused, or it is one of the originals: event by event, attachment by attachment.
    """

    name = "export"

    def __init__(self) -> None:
        self.seeds = export_seeds()
        self._originals = [self._facts(json.loads(seed)) for seed in self.seeds]

    @staticmethod
    def _facts(data: dict[str, Any]) -> Any:
        return {key: value for key, value in data.items() if key != "library"}

    def make(self, rng: Random) -> bytes:
        """An export that is changed in its tokens, in a payload, or anywhere."""
        seed = rng.choice(self.seeds)
        match rng.randrange(4):
            case 0:
                return mutate(rng, self.seeds)
            case 1:
                data = json.loads(seed)
                entry = rng.choice(data["events"])
                if "payload" in entry:
                    entry["payload"] = change(rng, json.loads(entry["payload"]))
                return rewritten(data)
            case _:
                return change(rng, json.loads(seed)).encode(errors="surrogatepass")

    def check(self, body: bytes) -> str:
        """Import it."""
        try:
            data = json.loads(body)
        except (ValueError, RecursionError):
            return "not JSON"
        try:
            session = Session.from_dict(data, AGENT)
        except AgentError as error:
            return type(error).__name__
        assert self._facts(session.to_dict()) in self._originals
        check_session(session)
        check_again(session)
        return "the original"


def _id_of(facts: Sequence[Recorded]) -> str:
    try:
        return session_id_of(facts)
    except (AgentError, AssertionError, msgspec.DecodeError):
        return "a"


def lines_of(facts: Sequence[Recorded]) -> bytes:
    """Events as lines of type and payload, fork points left open."""
    lines: list[str] = []
    for fact in facts:
        payload = json.loads(fact.payload)
        if fact.type == "session.forked":
            payload |= {"at": "AT", "parent_hash": "HASH"}
        lines.append(f"{fact.type} {json.dumps(payload, separators=(',', ':'))}")
    return "\n\n".join(lines).encode()


class Forged(Target):
    """Events that were changed and chained anew: whatever is wrong, the hashes are right.

    They are refused, or they make a session that shows itself, exports the same events again, and
    can take a turn or says why not.
    """

    name = "forged"

    def __init__(self) -> None:
        self.seeds = tuple(lines_of(list(session.events())) for session in sessions())
        samples = [f"{e.type} {msgspec.json.encode(e).decode()}" for e in SAMPLES.values()]
        self._lent = (*self.seeds, "\n\n".join(samples).encode())

    def make(self, rng: Random) -> bytes:
        """Events that are changed, mostly in their payloads, order and number."""
        return mutate(rng, self.seeds, STRUCTURE if rng.random() < 0.9 else ALL, self._lent)

    def check(self, body: bytes) -> str:
        """Chain them, import them, take a turn."""
        try:
            data = self._chained(body)
        except ValueError:
            return "no chain"
        try:
            session = Session.from_dict(data, AGENT)
        except AgentError as error:
            return f"refused: {type(error).__name__}"
        check_session(session)
        assert check_again(session)["events"] == data["events"]
        return f"accepted, then {self._turn(session)}"

    def _turn(self, session: Session) -> str:
        try:
            response = session.run("Go on")
        except CorruptLog:
            raise
        except AgentError as error:
            check_session(session)
            return type(error).__name__
        assert response.text == "fine"
        assert session.messages[-1].text == "fine"
        check_session(session)
        return "a turn"

    @staticmethod
    def _chained(body: bytes) -> dict[str, Any]:
        facts: list[Recorded] = []
        for line in filter(None, body.decode(errors="replace").split("\n")):
            kind, _, payload = line.partition(" ")
            head = facts[-1].head if facts else None
            if head is not None:
                payload = payload.replace('"AT"', str(head.version))
                payload = payload.replace('"HASH"', f'"{head.hash.hex()}"')
            fact = Prepared(kind, 1, len(facts), 1, bytes(16), payload.encode())
            facts += record([fact], stream="a", after=head)
        if not facts:
            raise ValueError("nothing to chain")
        named = {n: d for n, d in PICTURES.items() if n.encode() in body}
        data: dict[str, Any] = {
            "format": "agent-session",
            "format_version": 1,
            "session_id": _id_of(facts),
            "version": len(facts),
            "hash": facts[-1].hash.hex(),
            "library": "0",
            "events": [
                {
                    "version": fact.version,
                    "type": fact.type,
                    "schema": 1,
                    "recorded_at": fact.recorded_at,
                    "codec": 1,
                    "hash": fact.hash.hex(),
                    "salt": "00" * 16,
                    "payload": fact.payload.decode(),
                }
                for fact in facts
            ],
            "attachments": {name: base64.b64encode(data).decode() for name, data in named.items()},
        }
        return {**data, "digest": export_digest(data)}
