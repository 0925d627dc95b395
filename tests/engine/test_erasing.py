"""Erasing what was said in sessions: who is told, what they show after it, and what goes on."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from agent import Agent, Message
from agent.engine.stores import LogStore
from agent.errors import (
    CannotRewrite,
    ConflictError,
    NothingToErase,
    OwnerAlive,
    SharedEvents,
    StoreBusy,
)
from agent.eventstore.backends.memory import MemoryLog
from agent.eventstore.core import ToErase
from agent.eventstore.events import PayloadErased
from agent.eventstore.residue import ERASED
from agent.stores import MemoryStore, SQLiteStore
from agent.tables import Tables
from agent.testing import Call, ScriptedModel
from tests.engine.given import add
from tests.engine.lives import LIVES, Life

SECRET = "xylophone"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SQLiteStore]:
    """A store in a file."""
    with SQLiteStore(tmp_path / "x.db") as opened:
        yield opened


def agent_of(store: LogStore) -> Agent:
    """An agent that repeats what it is told."""
    return Agent(ScriptedModel(lambda request: request.messages[-1].text), store=store)


def held(folder: Path) -> list[str]:
    """The files that hold the secret."""
    return sorted(p.name for p in folder.iterdir() if SECRET.encode() in p.read_bytes())


# One event


def test_one_text_is_gone_and_all_else_stays(store: SQLiteStore):
    """The history has a mark in its place; the reason stands in the log."""
    session = agent_of(store).session("s")
    session.run(f"I have a {SECRET}")
    session.run("What have I?")

    found = store.erase("s", [2], reason="asked by the person")

    assert (found.session, found.versions, found.forks, found.vacuumed) == ("s", (2,), (), True)
    again = agent_of(store).session("s")
    assert [m.text for m in again.messages] == [ERASED, f"I have a {SECRET}", *["What have I?"] * 2]
    (last,) = store.log.read("s", after=again.version - 1)
    assert isinstance(last.event, PayloadErased)
    assert last.event.reason == "asked by the person"


def test_what_the_model_reads_next_is_what_is_left(store: SQLiteStore):
    """An open session learns of it with its next turn, and sends no text that is gone."""
    told: list[list[str]] = []

    def answer(request: object) -> str:
        told.append([message.text for message in request.messages])  # pyright: ignore[reportAttributeAccessIssue]
        return "Yes"

    agent = Agent(ScriptedModel(answer), store=store)
    session = agent.session("s")
    session.run(f"I have a {SECRET}")
    store.erase("s", [2])
    session.run("Go on")

    assert told[-1] == [ERASED, "Yes", "Go on"]
    assert session.messages[0].text == ERASED
    assert session.at(5).messages[0].text == ERASED


def test_a_fork_of_a_stale_session_reads_what_is_left(store: SQLiteStore):
    """Though the session itself has not looked since."""
    session = agent_of(store).session("s")
    session.run(f"I have a {SECRET}")
    store.erase("s", [2])

    child = session.fork("child")

    assert child.messages[0].text == ERASED


def test_an_event_without_text_is_refused(store: SQLiteStore):
    """Nothing is written."""
    session = agent_of(store).session("s")
    session.run("Hello")
    with pytest.raises(NothingToErase):
        store.erase("s", [2, 3])
    session.refresh()
    assert session.version == 5


def test_whatever_key_a_turn_had_is_gone_with_it(store: SQLiteStore):
    """It may be somebody's name: the turn is not remembered by it any more."""
    session = agent_of(store).session("s")
    session.run("Hello", idempotency_key="alice@example.com")
    store.erase("s", [2])
    session.run("Hello again", idempotency_key="alice@example.com")
    assert [m.text for m in session.messages] == [ERASED, "Hello", "Hello again", "Hello again"]


# Who shares it


def test_forks_are_named_before_anything_happens(store: SQLiteStore):
    """Until somebody says that they are meant."""
    session = agent_of(store).session("s")
    session.run(f"I have a {SECRET}")
    session.fork("b").fork("a")
    session.fork("apart", at=1)

    with pytest.raises(SharedEvents) as caught:
        store.erase("s", [2])

    assert caught.value.forks == ("a", "b")
    assert session.version == 5
    found = store.erase("s", [2], forks=True)
    assert found.forks == ("a", "b")
    for name in ("s", "a", "b"):
        assert agent_of(store).session(name).messages[0].text == ERASED
        assert agent_of(store).session(name).run("Still here?").text == "Still here?"
    assert store.verify(level="full").findings == []


def test_a_fork_can_erase_what_it_has_inherited(store: SQLiteStore):
    """Its parent shares that, and is named."""
    session = agent_of(store).session("s")
    session.run(f"I have a {SECRET}")
    session.fork("b")
    with pytest.raises(SharedEvents) as caught:
        store.erase("b", [2])
    assert caught.value.forks == ("s",)
    store.erase("b", [2], forks=True)
    assert agent_of(store).session("s").messages[0].text == ERASED


def test_a_running_turn_is_not_lost_for_it(store: SQLiteStore):
    """Whoever runs one finishes first."""
    session = agent_of(store).session("s")
    session.run("Hello")
    stream = session.stream(f"I have a {SECRET}")
    next(iter(stream))
    with pytest.raises(OwnerAlive):
        store.erase("s", [2])
    stream.finish()
    assert store.erase("s", [2]).versions == (2,)


class MovingLog(MemoryLog):
    """A log in which somebody forks the session whenever it is about to be erased."""

    forks = 0

    def erase(self, streams: Sequence[ToErase], residues: Mapping[str, bytes]) -> None:
        """Fork, as another process may, then erase."""
        if self.forks:
            self.forks -= 1
            agent_of(LogStore(self)).session("s").fork(f"fork-{self.forks}")
        super().erase(streams, residues)


@pytest.mark.parametrize("forks", [2, 3])
def test_a_log_that_moves_on_is_looked_at_anew(forks: int):
    """Nobody is missed: who came meanwhile is told too, or nothing is erased."""
    log = MovingLog()
    store = LogStore(log)
    agent_of(store).session("s").run("Hello")
    log.forks = forks
    if forks == 3:
        with pytest.raises(ConflictError):
            store.erase("s", [2], forks=True)
        assert [fact.erased for fact in log.read("s")] == [False] * 5
    else:
        assert store.erase("s", [2], forks=True).forks == ("fork-0", "fork-1")


# Bytes


@pytest.mark.parametrize("versions", [[1, 2, 4], None])
def test_nothing_is_left_in_the_files(
    store: SQLiteStore, tmp_path: Path, versions: list[int] | None
):
    """Log and tables, with their indexes, in the raw bytes."""
    session = agent_of(store).session("s", system=SECRET, metadata={"title": SECRET})
    session.run(f"I have a {SECRET}")
    tables = store.tables()
    assert len(tables.search(SECRET)) == 3
    assert held(tmp_path) != []

    store.erase("s", versions)

    assert held(tmp_path) == []
    assert tables.search(SECRET) == []
    assert store.verify(level="full").findings == []


@pytest.mark.parametrize("own", [False, True])
def test_a_reader_of_the_tables_is_told_of(tmp_path: Path, own: bool):
    """Who reads tables holds their old pages: it is not said that the bytes are gone."""
    path = tmp_path / ("x.db" if own else "x.tables.db")
    with SQLiteStore(tmp_path / "x.db", busy_timeout=0.2) as store:
        agent_of(store).session("s").run(f"I have a {SECRET}")
        Tables(store.log, path, busy_timeout=0.2).catch_up()
        with closing(sqlite3.connect(path)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM texts").fetchone()
            with pytest.raises(StoreBusy, match="vacuum again when that is over"):
                store.erase("s")
        store.vacuum()
        assert held(tmp_path) == []


def test_no_tables_are_made_by_it(store: SQLiteStore, tmp_path: Path):
    """Neither beside the file nor in it."""
    agent_of(store).session("s").run(f"I have a {SECRET}")
    store.erase("s", [2])
    assert not (tmp_path / "x.tables.db").exists()
    with closing(sqlite3.connect(tmp_path / "x.db")) as db:
        assert db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'texts'").fetchone() is None


def test_the_vacuum_may_come_later(store: SQLiteStore, tmp_path: Path):
    """As when many sessions are to be erased."""
    session = agent_of(store).session("s")
    session.run(f"I have a {SECRET}")
    assert store.erase("s", vacuum=False).vacuumed is False
    store.vacuum()
    assert held(tmp_path) == []


# Every kind of session


lives = pytest.mark.parametrize("live", LIVES, ids=lambda live: live.__name__)


def erased(life: Life) -> LogStore:
    """The store of a session that was erased whole."""
    store = LogStore(life.session._handle.log)
    store.erase(life.session._handle.binding.key, forks=True)
    return store


@lives
def test_a_session_is_whole_without_its_texts(live: Callable[[], Life]):
    """It opens, shows as many messages of the same form, verifies, exports and is replayed."""
    life = live()
    before = life.session
    forms = [form(message) for message in before.messages]
    usage = before.usage

    store = erased(life)

    before.refresh()
    assert [form(message) for message in before.messages] == forms
    said = "".join(message.text for message in before.messages)
    assert said.replace(ERASED, "").strip() == ""
    assert before.usage == usage
    assert store.verify(level="full").findings == []
    assert before.replay().divergence is None
    store.save("copy", before.to_dict())


def form(message: Message) -> list[tuple[str, str]]:
    """The role of a message, and what its parts hang on."""
    calls = [part.call_id for part in (*message.tool_calls, *message.tool_results)]
    return [(message.role, call) for call in (*calls, str(len(message.parts)))]


def test_a_replay_tells_proven_requests_from_others():
    """Those after a text that is gone are the same with what is left, and that is said."""
    store = MemoryStore()
    agent = agent_of(store)
    session = agent.session("s")
    for text in ("One", "Two", "Three"):
        session.run(text)
    store.erase("s", [6])
    session.refresh()

    for found in (session.replay(), session.replay(agent)):
        assert found.divergence is None
        assert (found.requests, found.unproven) == (1, 2)
        done = "14 events, 1 request, 2 requests after what was erased"
        assert str(found) == f"s: no difference in {done}"


def test_a_replay_still_finds_what_is_different():
    """Another system prompt is another request, with what is left as without."""
    store = MemoryStore()
    session = agent_of(store).session("s", system="Be brief.")
    session.run("One")
    session.run("Two")
    store.erase("s", [2])
    session.refresh()

    found = session.replay(system="Be long.")

    assert found.divergence is not None
    assert (found.divergence.version, found.divergence.causes) == (3, ("system prompt",))


def test_a_request_says_that_what_it_held_is_gone():
    """It is not proven, and that is why."""
    store = MemoryStore()
    session = agent_of(store).session("s")
    session.run("One")
    session.run("Two")
    store.erase("s", [6])
    session.refresh()

    before, after = session.request_at(3), session.request_at(7)

    assert (before.proven, before.erased) == (True, False)
    assert (after.proven, after.erased) == (False, True)
    assert [m.text for m in after.messages] == ["One", "One", ERASED]


def test_what_was_erased_is_not_recorded_anew():
    """A recording without its texts cannot be brought up to date."""
    store = MemoryStore()
    agent = agent_of(store)
    session = agent.session("s")
    session.run("One")
    store.erase("s", [2])
    session.refresh()
    with pytest.raises(CannotRewrite, match="asks for what was erased"):
        session.rewritten(agent)


def test_an_interrupted_turn_goes_on_without_its_texts():
    """A call that was not run yet has lost its arguments; those that are done keep their place."""
    store = MemoryStore()
    model = ScriptedModel([[Call("add", {"a": 1, "b": 2})], "Done"])
    agent = Agent(model, tools=[add], store=store, requires_approval=True)
    session = agent.session("s")
    session.run("Go")
    store.erase("s")
    session.refresh()
    assert session.unfinished_turn is not None
    call = session.unfinished_turn.calls[0]
    assert (call.tool, call.arguments, call.approval) == ("add", "{}", "requested")
    session.reject(call.call_id, "no")
    assert session.resume().text == "Done"
