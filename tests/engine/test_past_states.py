import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import Session
from agent.engine import past_states
from agent.engine.past_states import PastStates
from agent.errors import NoRequest, UnknownStream
from agent.eventstore.messages import Message
from agent.projections import session as projection
from agent.projections.fold import rebuild
from agent.projections.session import SessionState
from agent.stores import MemoryStore, SQLiteStore
from tests.engine.given import agent_of


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a state every few events."""
    monkeypatch.setattr(past_states, "EVERY", 4)


def a_session(turns: int = 20, store: MemoryStore | SQLiteStore | None = None) -> Session:
    """One with turns, a rewind and a clear."""
    session = agent_of(*map(str, range(2 * turns)), store=store).session("s")
    for number in range(turns):
        session.run(f"{number}?")
    session.undo(2)
    session.run("once more")
    session.clear()
    session.run("last")
    return session


def folded(session: Session, version: int) -> SessionState:
    """The state from nothing but the events."""
    facts = [fact for fact in session.events() if fact.version <= version]
    return rebuild(projection.evolve, facts, SessionState())


def reads(states: PastStates, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int | None]]:
    """Notes which events are read from now on: after which version, and until which."""
    noted: list[tuple[int, int | None]] = []
    read = states._log.read

    def noting(stream: str, *, after: int = 0, until: int | None = None):
        noted.append((after, until))
        return read(stream, after=after, until=until)

    monkeypatch.setattr(states._log, "read", noting)
    return noted


SESSION = a_session()


@given(st.lists(st.integers(1, SESSION.version), max_size=20))
def test_any_version_in_any_order(versions: list[int]):
    """Each is what its events give, whatever was looked at before."""
    states = PastStates(SESSION._handle.log, "s")
    for version in versions:
        assert states.at(version) == folded(SESSION, version)


def test_later_looks_are_short(monkeypatch: pytest.MonkeyPatch):
    """The first one reads all that comes before, the next ones what comes after a kept state."""
    states = PastStates(SESSION._handle.log, "s")
    noted = reads(states, monkeypatch)
    for version in (50, 50, 7, 48, 3):
        states.at(version)
    assert noted == [(0, 50), (48, 50), (4, 7), (44, 48), (0, 3)]


def test_loading_keeps_what_it_passes(monkeypatch: pytest.MonkeyPatch):
    """A session that is open already needs no first look."""
    store = MemoryStore()
    a_session(store=store)
    session = agent_of(store=store).session("s")
    assert session.version > 40
    noted = reads(session._handle._past, monkeypatch)
    session.at(30)
    assert noted == [(28, 30)]


def test_looking_and_growing():
    """What is looked at does not change when the session goes on, nor the other way round."""
    session = agent_of(*"abcdefgh").session("s")
    for _ in range(6):
        session.run("?")
    before = session.at(20)
    shown = before.messages
    session.run("more")
    assert session.at(20).messages == before.messages == shown
    assert session.at(session.version).messages == session.messages
    assert session._handle.state == folded(session, session.version)


def test_another_stream_of_the_name():
    """What was kept of one that was deleted is forgotten."""
    store = MemoryStore()
    session = a_session(store=store)
    states = session._handle._past
    states.at(session.version)
    store.delete("s")
    other = a_session(6, store=store)
    for version in (30, 3, other.version):
        assert states.at(version) == folded(other, version)


def test_a_version_that_is_gone():
    """A stream that was deleted has none, and a shorter one fewer."""
    store = MemoryStore()
    session = a_session(store=store)
    session.at(40)
    store.delete("s")
    with pytest.raises(UnknownStream):
        session.at(40)
    agent_of("a", store=store).session("s").run("hi")
    with pytest.raises(UnknownStream):
        session.at(40)


def test_many_threads(tmp_path: Path):
    """Each sees what it asked for."""
    with SQLiteStore(tmp_path / "sessions.db") as store:
        session = a_session(store=store)
        expected = {version: folded(session, version) for version in range(1, session.version + 1)}
        states, wrong = PastStates(store.log, "s"), list[int]()

        def look(step: int) -> None:
            for version in range(step, session.version + 1, step):
                if states.at(version) != expected[version]:
                    wrong.append(version)

        threads = [threading.Thread(target=look, args=(step,)) for step in (1, 2, 3, 5, 7)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []


def test_forgetting_while_another_looks():
    """Whoever looks goes on with what was kept when they began."""
    states = PastStates(SESSION._handle.log, "s")

    class Swapped(dict[int, SessionState]):
        def __iter__(self):
            states._kept = {}
            return super().__iter__()

    states.at(40)
    states._kept = Swapped(states._kept)
    assert states.at(30) == folded(SESSION, 30)


def test_a_child_process_begins_anew():
    """What a parent's thread was about to keep stays half done there."""
    session = a_session()
    session.at(30)
    kept = session._handle._past
    session._handle.after_fork()
    assert session._handle._past is not kept
    assert session.at(30).messages == SESSION.at(30).messages


def test_what_is_not_durable_yet():
    """A session that has not been written shows how it will begin."""
    session = agent_of("a").session("s", system="Hello", messages=[Message.user("Hi")])
    assert session.at(1).system == "Hello"
    assert session.at(2).messages == [Message.user("Hi")]
    with pytest.raises(NoRequest):
        session.request_at(2)
