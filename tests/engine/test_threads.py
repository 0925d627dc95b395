"""Many threads on one agent and one store, and what each of them may count on."""

import asyncio
import gc
import json
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from agent import Agent, Message, Session
from agent.engine.errors import SessionBusy, TurnOpen
from agent.engine.journal import Journal
from agent.engine.provider import ModelRequest
from agent.engine.scripted import Call, Scripted, ScriptedModel
from agent.eventstore.core import verified
from agent.eventstore.errors import ConflictError, UnknownStream
from agent.eventstore.record import Head, Prepared
from agent.stores import LogStore, MemoryStore, SessionStore, SQLiteStore
from tests.engine.gates import SOON, TappedLog
from tests.engine.given import add, agent_of, kinds, shown

THREADS, ROUNDS = 4, 3
ENDS = ("turn.completed", "turn.failed", "turn.abandoned")


class OwnStore(SessionStore):
    """Keeps whole sessions, under a lock that its own thread may not take twice."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.lock = threading.Lock()
        self.collecting = False

    def save(self, session_id: str, data: dict[str, Any]) -> None:
        """Keep it."""
        with self.lock:
            self.kept[session_id] = json.dumps(data)
            if self.collecting:
                gc.collect()

    def load(self, session_id: str) -> dict[str, Any] | None:
        """Give it back."""
        with self.lock:
            kept = self.kept.get(session_id)
        return json.loads(kept) if kept else None

    def delete(self, session_id: str) -> bool:
        """Forget it."""
        with self.lock:
            return self.kept.pop(session_id, None) is not None

    def list_sessions(self) -> list[str]:
        """List all."""
        with self.lock:
            return list(self.kept)


@pytest.fixture(params=["memory", "sqlite", "own"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SessionStore]:
    """One of each kind."""
    match request.param:
        case "memory":
            yield MemoryStore()
        case "sqlite":
            with SQLiteStore(tmp_path / "s.db", durability="os") as made:
                yield made
        case _:
            yield OwnStore()


@pytest.fixture
def eager() -> Iterator[None]:
    """Let threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


async def later(a: int, b: int) -> int:
    """Add two numbers, later."""
    await asyncio.sleep(0)
    return a + b


def echo(request: ModelRequest) -> Scripted:
    """Two parallel calls if asked to work, else the last words of the user again."""
    last = request.messages[-1]
    if last.text.startswith("work"):
        return [Call("add", {"a": 1, "b": 2}), Call("later", {"a": 3, "b": 4})]
    return "re: " + next(m.text for m in reversed(request.messages) if m.role == "user")


def agent_on(store: SessionStore) -> Agent:
    """An agent with a sync and an async tool."""
    return Agent(ScriptedModel(echo), "m", store=store, tools=[add, later])


def makes_sense(session: Session) -> None:
    """The log verifies, and each of its turns has one end."""
    events = list(verified(session.events(), stream=session.session_id))
    counted = Counter(fact.type for fact in events)
    assert counted["turn.started"] == sum(counted[end] for end in ENDS)
    answers = [m.text for m in session.messages if m.role == "assistant" and m.text]
    assert answers == [f"re: {text}" for text in asked(session)]


def asked(session: Session) -> list[str]:
    """What its user has said."""
    return [message.text for message in session.messages if message.role == "user"]


def at_once(function: Callable[[int], None]) -> None:
    """Call it in several threads at once; raises what they raise."""
    ready = threading.Barrier(THREADS)

    def work(number: int) -> None:
        ready.wait(SOON)
        function(number)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(work, range(THREADS)))


@pytest.mark.usefixtures("eager")
def test_own_sessions(store: SessionStore):
    """Each thread has its own sessions, and all of them everything else, at the same time."""
    agent = agent_on(store)

    def work(number: int) -> None:
        session = agent.session(f"s{number}")
        for turn in range(ROUNDS):
            name = f"{number}-{turn}"
            assert len(session.run(f"work {name}").messages) == 4
            assert [event.type for event in session.stream(name)][-1] == "done"
            stream = session.stream(f"left {name}")
            next(stream)
            del stream
            asyncio.run(session.run_async(f"work {name} async"))
            fork = session.fork(f"fork {name}")
            assert fork.run(name).text == f"re: {name}"
            copy = Session.from_dict(session.to_dict(), agent, session_id=f"copy {name}")
            assert shown(copy) == shown(session)
            assert {f"s{number}", fork.session_id} <= set(store.list_sessions())
            if isinstance(store, LogStore):
                assert all(info.session_id for info in store.sessions())
            assert store.delete(copy.session_id)
        assert len(shown(session)) == ROUNDS * 10
        makes_sense(session)
        assert shown(agent.session(session.session_id)) == shown(session)

    at_once(work)
    for key in store.list_sessions():
        makes_sense(agent.session(key))
    assert len(store.list_sessions()) == THREADS * (1 + ROUNDS)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_one_session_from_several_handles(tmp_path: Path, kind: str):
    """Turns of several handles on one session follow each other; what returned is in the log."""
    store = MemoryStore() if kind == "memory" else SQLiteStore(tmp_path / "s", durability="os")
    agent = agent_on(store)
    landed: list[str] = []

    def work(number: int) -> None:
        session = agent.session("s")
        for turn in range(ROUNDS * 2):
            attempt(session.run, f"{number}-{turn}")
            attempt(session.add_message, Message.user(f"{number}-{turn} noted"))

    def attempt(act: Callable[[Any], object], said: str | Message) -> None:
        try:
            act(said)
        except (ConflictError, TurnOpen):
            return
        landed.append(said if isinstance(said, str) else said.text)

    at_once(work)
    session = agent.session("s")
    session.run("last")
    assert Counter(asked(session)) == Counter([*landed, "last"])
    counted = Counter(kinds(session))
    assert counted["turn.started"] == sum(counted[end] for end in ENDS)
    list(verified(session.events(), stream="s"))
    store.close()


@pytest.mark.usefixtures("eager")
def test_one_session_object(store: SessionStore):
    """Of the threads that share a session object one has its turn, the others are told so."""
    agent = agent_on(store)
    session = agent.session("s")
    landed: list[str] = []

    def work(number: int) -> None:
        for turn in range(ROUNDS * 3):
            text = f"{number}-{turn}"
            try:
                session.run(text)
                landed.append(text)
            except SessionBusy:
                pass
            assert len(asked(session.fork())) <= len(asked(session))
            assert session.to_dict()["version"] <= session.version
            assert len(list(session.events())) <= session.version

    session.run("first")
    at_once(work)
    assert sorted(asked(session)) == sorted(["first", *landed])
    makes_sense(session)
    assert shown(agent.session("s")) == shown(session)


# What needs a certain order


class ForkingLog(TappedLog):
    """Calls what it is given while a fork is being made."""

    meanwhile: Callable[[], object] = staticmethod(bool)

    def fork(self, parent: str, child: str, *, at: int, prepared: Prepared) -> Head:
        """Fork, and meanwhile something else happens."""
        head = super().fork(parent, child, at=at, prepared=prepared)
        self.meanwhile()
        return head


def test_a_turn_beside_a_fork():
    """A fork asks its model with its own history, whatever its parent did while it was made."""
    log = ForkingLog()
    model = ScriptedModel(["b", "d", "f", "h"])
    session = Agent(model, "m", store=LogStore(log)).session("s")
    session.run("a")
    log.meanwhile = lambda: (session.run("c"), session.run("e"))
    fork = session.fork("child")
    fork.run("g")

    assert shown(session) == ["a", "b", "c", "d", "e", "f"]
    assert [m.text for m in model.requests[-1].messages] == ["a", "b", "g"]
    body = json.loads(model.requests[-1].body)
    assert [m["parts"][0]["text"] for m in body["messages"]] == ["a", "b", "g"]


def test_events_beside_the_first_commit(monkeypatch: pytest.MonkeyPatch):
    """Events that are read while another thread commits the first ones come once each."""
    session = agent_of("b").session("s", messages=[Message.user("x")])
    opening = Journal.opening.fget
    assert opening

    with monkeypatch.context() as patch:

        def racing(journal: Journal) -> object:
            found = opening(journal)
            patch.undo()
            session.run("a")
            return found

        patch.setattr(Journal, "opening", property(racing))
        assert [fact.version for fact in session.events()] == [1, 2]
    assert [fact.version for fact in session.events()] == [1, 2, 3, 4, 5, 6]


def test_fork_of_a_session_that_was_deleted():
    """Forking at an earlier version of a session that another thread has deleted says so."""
    store = MemoryStore()
    session = agent_of("b", store=store).session("s")
    session.run("a")
    store.delete("s")

    for at in (None, 2):
        with pytest.raises(UnknownStream):
            session.fork(at=at)


def test_listing_beside_a_deletion():
    """A session that is deleted while it is being listed is left out."""
    store = MemoryStore()
    for name in ("a", "b", "c"):
        agent_of("x", store=store).session(name).run("hi")
    listing = store.sessions()
    assert next(listing).key == "a"
    store.delete("b")

    assert [info.key for info in listing] == ["c"]


def test_a_store_is_not_called_by_the_garbage_collector():
    """A stream that is collected while the user's store is at work waits for the next turn."""
    store = OwnStore()
    agent = agent_of("one two", "x", "y", store=store)
    other = agent.session("other")
    cycle: list[Any] = [other.stream("a")]
    cycle.append(cycle)
    next(cycle[0])
    del cycle
    store.collecting = True
    agent.session("s").run("b")  # collects the cycle inside of a save

    assert kinds(other)[-1] == "turn.abandoned"
    other.run("c")
    assert kinds(agent.session("other")) == kinds(other)
