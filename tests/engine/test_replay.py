"""Replay: the engine of today over recorded sessions, offline."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel, field_validator

from agent import Agent, CompactionPolicy, Session, Tool
from agent.engine.configurations import AsRecorded
from agent.engine.owners import DRIVEN
from agent.engine.provider import ModelRequest
from agent.engine.replay import Replay, replay
from agent.engine.scripted import Call, Reply, ScriptedModel
from agent.errors import (
    AttachmentMissing,
    ConfigurationError,
    ServerFailed,
    UnknownEvent,
)
from agent.eventstore.events import EVENTS, ModelRequested
from agent.eventstore.record import Recorded
from agent.replay import replay_all
from agent.stores import SQLiteStore
from tests.engine.crashes import GOOD, Tea
from tests.engine.given import TURN, Clock, agent_of, fixed_sources, kinds, requests_of
from tests.engine.lives import (
    DOWN,
    LIVES,
    Life,
    attachments,
    compacting,
    dropped,
    shapes,
    tools,
    turns,
)

lives = pytest.mark.parametrize("live", LIVES, ids=lambda live: live.__name__)


def requested(facts: list[Recorded]) -> int:
    """How many requests there are."""
    return sum(isinstance(fact.event, ModelRequested) for fact in facts)


def whole(found: Replay, facts: list[Recorded]) -> None:
    """Everything was replayed, and nothing is different."""
    assert (found.divergence, found.error) == (None, None)
    assert (found.events, found.requests) == (len(facts), requested(facts))
    assert found


# What nobody has changed is the same


@lives
def test_every_life_is_the_same(live: Callable[[], Life]) -> None:
    """As it was configured, by its agent, and with the verdicts of the shapes of today."""
    session, agent = live()
    facts = list(session.events())
    whole(session.replay(), facts)
    whole(session.replay(agent), facts)
    whole(session.replay(agent, schemas=[Tea]), facts)


@lives
def test_every_life_is_the_same_at_every_cut(live: Callable[[], Life]) -> None:
    """A session may end with any of its events: its process died there."""
    session, agent = live()
    facts = list(session.events())
    read = session._handle.log.get_blob
    for version in range(len(facts) + 1):
        for given in (AsRecorded(agent.provider), agent.today(), agent.today([Tea])):
            found = replay(facts[:version], read, given)
            whole(found, facts[:version])


@lives
def test_every_life_is_the_same_in_every_fork(live: Callable[[], Life]) -> None:
    """Also in the middle of a turn."""
    session, agent = live()
    for version in range(1, session.version + 1):
        fork = session.fork(at=version)
        facts = list(fork.events())
        whole(fork.replay(), facts)
        whole(fork.replay(agent), facts)


@lives
def test_every_life_is_the_same_elsewhere(live: Callable[[], Life]) -> None:
    """From an export, under its own id and under another."""
    session, agent = live()
    data = session.to_dict()
    for session_id in (None, "other"):
        copy = Session.from_dict(data, agent_of(), session_id)
        whole(copy.replay(agent), list(copy.events()))


def test_lives_hold_everything() -> None:
    """No kind of event is missing among them, but two after which nobody goes on."""
    seen = {fact.type for live in LIVES for fact in live().session.events()}
    assert set(EVENTS) - seen == {"session.deleted", "payload.erased"}


def test_an_empty_session() -> None:
    """Nothing has happened in it, and nothing is different."""
    agent = agent_of()
    session = agent.session("s")
    assert str(session.replay(agent)) == "s: no difference in 1 event, 0 requests"
    assert session.version == 0


def test_more_of_what_was_given_up_is_no_difference() -> None:
    """How often to try again is not asked where the record says that nobody did."""
    session = agent_of(DOWN, DOWN, max_retries=1).session("s")
    with pytest.raises(ServerFailed):
        session.run("1")
    whole(session.replay(agent_of(max_retries=3)), list(session.events()))


def test_a_compaction_is_taken_as_ordered() -> None:
    """The record does not say whether a policy or a person wanted it."""
    session, _ = compacting()
    whole(session.replay(agent_of()), list(session.events()))


def test_a_policy_that_finds_nothing_to_compact() -> None:
    """It is due at every turn, and leaves no trace."""
    policy = CompactionPolicy(tokens=1, keep_last=4)
    agent = agent_of("a", "b", compact_at=policy)
    session = agent.session("s")
    session.run("1")
    session.run("2")
    assert kinds(session) == ["session.started", *TURN, *TURN]
    whole(session.replay(agent), list(session.events()))


# Offline


class Sealed(ScriptedModel):
    """A model that must not be asked any more."""

    def call(self, request: ModelRequest) -> Any:
        """Refuse."""
        raise AssertionError("a model was asked")

    call_async = call


@pytest.mark.parametrize("asynchronous", [False, True])
def test_nothing_outside_is_touched(asynchronous: bool, tmp_path: Path) -> None:
    """Neither a tool, nor the validators of its arguments and of the answer, nor a model."""
    touched = tmp_path / "touched"

    def touch(value: Any) -> Any:
        touched.touch()
        return value

    class Order(BaseModel):
        name: str

        checked = field_validator("name")(touch)

    def order(tea: Order) -> str:
        """Order a tea."""
        return touch(tea.name)

    async def order_async(tea: Order) -> str:
        """Order a tea."""
        return touch(tea.name)

    made = Tool(order_async if asynchronous else order, name="order")
    script = [Call("order", {"tea": {"name": "Assam"}}), GOOD]
    session = agent_of(*script, tools=[made]).session("s")
    if asynchronous:
        asyncio.run(session.json_async("Tea", schema=Order))
    else:
        session.json("Tea", schema=Order)
    assert touched.exists()

    touched.unlink()
    sealed = Agent(Sealed([]), "m", tools=[made])
    for today in (None, sealed):
        whole(session.replay(today), list(session.events()))
        whole(Session.from_dict(session.to_dict(), sealed).replay(today), list(session.events()))
    assert not touched.exists()


def test_the_schemas_of_today_judge() -> None:
    """They are the only code of the user's that a replay without approvals runs."""
    session, agent = shapes()
    judged: list[str] = []

    class Tea(BaseModel):
        """A tea."""

        name: str

        @field_validator("name")
        @classmethod
        def note(cls, name: str) -> str:
            judged.append(name)
            return name

    whole(session.replay(agent, schemas=[Tea]), list(session.events()))
    assert judged == ["Assam", "Assam"]


def test_time_does_not_pass() -> None:
    """No waits between attempts, no deadline, no clock."""
    clock = Clock()
    sources = fixed_sources(clock)
    session = agent_of(Reply(error=DOWN), "One", sources=sources).session("s")
    session.run("1")
    whole(session.replay(agent_of(deadline=1e-9)), list(session.events()))


# Writing nothing


@pytest.mark.parametrize("live", [turns, tools, shapes, compacting, dropped])
def test_nothing_is_written(live: Callable[[], Life], tmp_path: Path) -> None:
    """The log's head and the bytes of its file are what they were."""
    session, agent = live()
    with SQLiteStore(tmp_path / "s.db") as store:
        keeper = agent_of(store=store)
        copy = Session.from_dict(session.to_dict(), keeper)
        head = copy._handle.journal.committed.head
        assert head is not None
        before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
        copy.replay()
        copy.replay(agent, system="Other")
        replay_all(store, agent)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
        assert copy._handle.journal.committed.head == head
        assert head is not None
        assert keeper.session(copy.session_id).version == copy.version == head.version


def test_a_turn_that_is_being_driven_goes_on() -> None:
    """A replay of its beginning leaves it alive, and its stream is read to the end."""
    agent = agent_of("One two three")
    session = agent.session("s")
    with session.stream("1") as stream:
        events = iter(stream)
        next(events)
        driven = set(DRIVEN.tenures)
        assert len(driven) == 1
        for today in (None, agent):
            assert session.replay(today).events == 3
        assert driven == DRIVEN.tenures
        assert "".join(e.text for e in events if e.type == "text_delta") == "two three"
    assert DRIVEN.tenures == set()
    assert kinds(session) == ["session.started", *TURN]


def test_a_session_goes_on_after_a_replay() -> None:
    """Its next request is built from what was before."""
    agent = agent_of("One", "Two")
    session = agent.session("s")
    session.run("1")
    session.replay(agent, system="Other")
    session.run("2")
    assert all(past.proven for past in requests_of(session))


# What cannot be replayed


def test_an_event_of_a_later_release() -> None:
    """The error names its version."""
    session, agent = turns()
    facts, read = list(session.events()), session._handle.log.get_blob
    at = [fact.type for fact in facts].index("model.responded")
    payload = b'{"type":"model.dreamed"}'
    facts[at] = msgspec.structs.replace(facts[at], type="model.dreamed", payload=payload)
    for given in (AsRecorded(agent.provider), agent.today()):
        with pytest.raises(UnknownEvent) as caught:
            replay(facts, read, given)
        assert caught.value.version == at + 1


def test_a_lost_attachment() -> None:
    """Without its bytes no request can be built."""
    session, agent = attachments()
    facts = [msgspec.structs.replace(fact) for fact in session.events()]  # read anew from bytes

    def lost(digest: str) -> bytes:
        raise AttachmentMissing(digest)

    for given in (AsRecorded(agent.provider), agent.today()):
        with pytest.raises(AttachmentMissing):
            replay(facts, lost, given)


def test_schemas_without_an_agent() -> None:
    """Nobody says then that today is meant."""
    session, _ = shapes()
    with pytest.raises(ConfigurationError, match="schemas= are those of an agent of today"):
        session.replay(schemas=[Tea])


@pytest.mark.parametrize(
    ("schemas", "words"),
    [
        (Tea, r"schemas= takes a list of types: schemas=\[...\]"),
        ("Tea", "schema= takes a pydantic model or another type, not a JSON Schema, and not 'T'"),
        ([3], "schema=3 has no JSON Schema"),
        ([{"type": "object"}], "schema= takes a pydantic model or another type, not a JSON Sch"),
        ([None], "schema= takes a pydantic model or another type"),
        ([BaseModel], "schema= takes a model of your own, not BaseModel itself"),
    ],
)
def test_schemas_that_are_no_types(schemas: Any, words: str) -> None:
    """They are refused as json() refuses them."""
    session, agent = shapes()
    with pytest.raises(ConfigurationError, match=words):
        session.replay(agent, schemas=schemas)


def test_edits_that_cannot_be() -> None:
    """A version that is not there, one that holds no words, and what is no edit."""
    session, _ = turns()
    for edit in ({99: "x"}, {4: "x"}, [1]):
        with pytest.raises(ConfigurationError, match="edit="):
            session.replay(edit=edit)  # pyright: ignore[reportArgumentType]
