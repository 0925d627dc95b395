"""One caller at a time: whoever comes second is refused, and the log stays whole."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from agent import Agent, Message, Session
from agent.engine.errors import SessionBusy, TurnOpen
from agent.engine.scripted import Call, ScriptedModel
from agent.eventstore.backends.memory import MemoryLog
from agent.stores import LogStore
from tests.engine.gates import SOON, Gate, TappedLog
from tests.engine.given import add, agent_of, kinds, shown

THREADS, CALLS = 4, 20


def talker(log: MemoryLog) -> Session:
    """A session whose model always says the same."""
    agent = Agent(ScriptedModel(lambda _: "one two"), "m", store=LogStore(log))
    return agent.session("s")


def reread(log: MemoryLog) -> Session:
    """The session as the log tells it to somebody new."""
    return agent_of(store=LogStore(log)).session("s")


def agrees(session: Session, log: MemoryLog) -> None:
    """The session shows what is in its log, and the log makes sense."""
    assert (kinds(reread(log)), shown(reread(log))) == (kinds(session), shown(session))
    head = log.head("s")
    assert session.version == (head and head.version)


# Refreshing


def test_refresh_inside_a_stream():
    """Refreshing between the events of one's own stream is refused; the turn is not disturbed."""
    log = MemoryLog()
    session = agent_of(
        Call("add", {"a": 1, "b": 2}), "It is", "x", tools=[add], store=LogStore(log)
    )
    session = session.session("s")
    refused = 0
    for event in session.stream("a"):
        if event.type != "done":
            with pytest.raises(TurnOpen) as raised:
                session.refresh()
            assert raised.value.started == 3
            refused += 1
    assert refused == 4

    session.refresh()
    agrees(session, log)
    assert shown(session) == ["a", "", "3", "It is"]
    assert session.run("b").text == "x"
    agrees(session, log)


def test_refresh_after_a_dropped_stream():
    """Once the stream is closed, its session can be refreshed."""
    log = MemoryLog()
    session = talker(log)
    with session.stream("a") as stream:
        next(stream)
        with pytest.raises(TurnOpen):
            session.refresh()
    session.refresh()

    assert kinds(session)[-1] == "turn.abandoned"
    agrees(session, log)


def test_refresh_while_a_tool_runs():
    """A tool that refreshes the session of its own turn is told that it is in use."""
    raised: list[Exception] = []

    def look() -> str:
        """Look again."""
        try:
            session.refresh()
        except SessionBusy as error:
            raised.append(error)
        return "seen"

    log = MemoryLog()
    session = agent_of(Call("look"), "Done", tools=[look], store=LogStore(log)).session("s")
    session.run("a")

    assert [type(error) for error in raised] == [SessionBusy]
    assert shown(session) == ["a", "", "seen", "Done"]
    agrees(session, log)


# Changes


def test_a_change_beside_a_change():
    """While one thread appends a message, another's change is refused and leaves no trace."""
    gate = Gate()
    log = TappedLog(before={"message.added": gate})
    session = talker(log)
    with ThreadPoolExecutor(1) as pool, gate:
        adding = pool.submit(session.add_message, Message.user("x"))
        gate.wait_until_reached()
        for act in (
            lambda: session.add_message(Message.user("y")),
            session.clear,
            session.refresh,
            lambda: session.run("z"),
            lambda: next(session.stream("z")),
        ):
            with pytest.raises(SessionBusy):
                act()
        gate.open()
        adding.result(SOON)

    assert kinds(session) == ["session.started", "message.added"]
    agrees(session, log)
    session.run("a")
    assert shown(session) == ["x", "a", "one two"]


def test_many_threads_add_messages():
    """Each call lands once or is refused, and what landed is what returned."""
    # Giving up the processor in an append lets the others run into it.
    log = TappedLog(before={"message.added": lambda: time.sleep(0)})
    session = talker(log)
    ready = threading.Barrier(THREADS)

    def add_some(thread: int) -> tuple[list[str], list[type[Exception]]]:
        landed: list[str] = []
        refused: list[type[Exception]] = []
        ready.wait(SOON)
        for number in range(CALLS):
            text = f"{thread}-{number}"
            try:
                session.add_message(Message.user(text))
                landed.append(text)
            except Exception as error:  # noqa: BLE001 - which it may be is checked below
                refused.append(type(error))
        return landed, refused

    with ThreadPoolExecutor(THREADS) as pool:
        results = list(pool.map(add_some, range(THREADS)))

    landed = [text for texts, _ in results for text in texts]
    refused = [kind for _, found in results for kind in found]
    assert set(refused) <= {SessionBusy}
    assert len(landed) + len(refused) == THREADS * CALLS
    assert sorted(shown(session)) == sorted(landed)
    agrees(session, log)
    session.run("a")
    assert shown(session)[len(landed) :] == ["a", "one two"]
    agrees(session, log)


# Closing a stream beside a new turn


def test_a_turn_beside_a_close():
    """A turn that begins while another thread is closing a stream is refused."""
    gate = Gate()
    log = TappedLog(before={"turn.abandoned": gate})
    session = talker(log)
    stream = session.stream("a")
    next(stream)
    with ThreadPoolExecutor(1) as pool, gate:
        closing = pool.submit(stream.close)
        gate.wait_until_reached()
        with pytest.raises(SessionBusy):
            session.run("b")
        gate.open()
        closing.result(SOON)

    assert kinds(session)[1:] == [
        *("turn.started", "model.requested", "model.failed", "turn.abandoned"),
    ]
    agrees(session, log)
    session.run("b")
    assert shown(session) == ["b", "one two"]
    agrees(session, log)


def test_a_close_beside_a_turn():
    """Closing a stream that a new turn is just ending is refused; the new turn is whole."""
    gate = Gate()
    log = TappedLog(before={"turn.abandoned": gate})
    session = talker(log)
    stream = session.stream("a")
    next(stream)
    with ThreadPoolExecutor(1) as pool, gate:
        running = pool.submit(session.run, "b")
        gate.wait_until_reached()
        with pytest.raises(SessionBusy):
            stream.close()
        gate.open()
        assert running.result(SOON).text == "one two"
    stream.close()

    assert kinds(session).count("turn.abandoned") == 1
    assert shown(session) == ["b", "one two"]
    agrees(session, log)


@pytest.mark.parametrize("number", range(20))
def test_a_close_and_a_turn_at_once(number: int):
    """Whichever is first, each is refused or does its work, and never half of it."""
    log = TappedLog(before={"turn.abandoned": lambda: time.sleep(0)})
    session = talker(log)
    stream = session.stream("a")
    next(stream)
    ready = threading.Barrier(2)

    def close() -> bool:
        ready.wait(SOON)
        try:
            stream.close()
        except SessionBusy:
            return False
        return True

    def run() -> bool:
        ready.wait(SOON)
        try:
            return session.run("b").text == "one two"
        except SessionBusy:
            return False

    with ThreadPoolExecutor(2) as pool:
        acts = (close, run) if number % 2 else (run, close)
        outcomes = {act: pool.submit(act) for act in acts}
    closed, ran = outcomes[close].result(), outcomes[run].result()

    assert closed or ran
    assert shown(session) == (["b", "one two"] if ran else [])
    agrees(session, log)
    session.run("c")
    assert kinds(session).count("turn.abandoned") == 1
    assert shown(session)[-2:] == ["c", "one two"]
    agrees(session, log)
