"""Appends that are broken off, and signals at a bad time: the state is what the log is."""

import subprocess
import sys

import pytest

from agent import Message, Session
from agent.engine.errors import ServerFailed
from agent.engine.scripted import Call
from agent.eventstore.errors import ConflictError, StoreFull
from agent.eventstore.events import ToolCalled, TurnFailed
from agent.stores import LogStore, MemoryStore
from tests.engine.gates import SOON, TappedLog, once
from tests.engine.given import add, agent_of, kinds, shown

ADD = Call("add", {"a": 1, "b": 2})


def interrupting(kind: str, when: str) -> TappedLog:
    """A log in which Ctrl-C comes right before or right after the first commit of such an event."""
    taps = {kind: once(KeyboardInterrupt())}
    return TappedLog(before=taps) if when == "before" else TappedLog(after=taps)


def agrees(session: Session, log: TappedLog) -> None:
    """The session shows what is in its log."""
    anew = agent_of(store=LogStore(log)).session("s")
    assert (kinds(session), shown(session)) == (kinds(anew), shown(anew))
    head = log.head("s")
    assert session.version == (head and head.version)
    assert session._handle.journal.pending == ()


# Ctrl-C


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("kind", "ends", "history"),
    [
        ("turn.started", ["turn.started", "model.requested", "turn.abandoned"], []),
        ("tool.called", ["model.responded", "tool.called", "turn.abandoned"], []),
        ("tool.returned", ["tool.returned", "model.requested", "turn.abandoned"], []),
        ("turn.completed", ["model.responded", "turn.completed"], ["a", "", "3", "b"]),
    ],
)
def test_interrupted_in_a_turn(when: str, kind: str, ends: list[str], history: list[str]):
    """Ctrl-C at any commit of a turn comes out, and the session knows what the log has."""
    log = interrupting(kind, when)
    session = agent_of(ADD, "b", "d", "d", tools=[add], store=LogStore(log)).session("s")
    with pytest.raises(KeyboardInterrupt):
        session.run("a")

    found = [k for k in kinds(session) if k != "model.failed"]
    assert found[-len(ends) :] == ends
    assert shown(session) == history
    agrees(session, log)
    log.before = log.after = {}
    session.add_message(Message.user("x"))
    agrees(session, log)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", ["turn.started", "turn.completed"])
def test_a_turn_after_an_interrupted_one(when: str, kind: str):
    """The next turn goes on from what the interrupted one has left."""
    log = interrupting(kind, when)
    session = agent_of(*(["b"] * 3), store=LogStore(log)).session("s")
    with pytest.raises(KeyboardInterrupt):
        session.run("a")
    left = [] if kind == "turn.started" else ["a", "b"]
    assert shown(session) == left

    assert session.run("c").text == "b"
    assert shown(session) == [*left, "c", "b"]
    agrees(session, log)


@pytest.mark.parametrize("when", ["before", "after"])
def test_interrupted_while_adding(when: str):
    """A message whose append was interrupted is in the history once, as in the log."""
    log = interrupting("message.added", when)
    session = agent_of("b", store=LogStore(log)).session("s")
    with pytest.raises(KeyboardInterrupt):
        session.add_message(Message.user("x"))

    assert kinds(session) == ["session.started", "message.added"]
    agrees(session, log)
    session.add_message(Message.user("y"))
    session.run("a")
    assert shown(session) == ["x", "y", "a", "b"]
    agrees(session, log)


def test_a_history_that_landed_is_not_wanted_again():
    """A history whose first append was interrupted is no obstacle once others have moved on."""
    log = interrupting("turn.started", "after")
    agent = agent_of("b", "d", store=LogStore(log))
    session = agent.session("s", messages=[Message.user("x")])
    with pytest.raises(KeyboardInterrupt):
        session.run("a")
    agent.session("s").run("c")

    assert session.run("e").text == "d"
    assert shown(session) == ["x", "c", "b", "e", "d"]


def test_refused_while_adding():
    """A message that the log has refused is neither in the history nor tried again later."""
    log = TappedLog(before={"message.added": once(StoreFull("full"))})
    session = agent_of("b", store=LogStore(log)).session("s")
    with pytest.raises(StoreFull):
        session.add_message(Message.user("x"))
    assert (session.version, shown(session)) == (0, [])

    session.run("a")
    assert shown(session) == ["a", "b"]
    agrees(session, log)


# A rival that is always faster


def test_a_rival_that_is_always_faster():
    """A turn follows other writers only so often; then its caller is told of the conflict."""
    tries: list[int] = []

    def overtake() -> None:
        tries.append(1)
        raise ConflictError("s", expected=None, actual=None)

    session = agent_of("a", store=LogStore(TappedLog(before={"turn.started": overtake})))
    with pytest.raises(ConflictError):
        session.session("s").run("a")

    assert len(tries) == 9


# What had run when the store gave up


def called(session: Session) -> tuple[str, ...]:
    """The ids of the calls whose tools were started."""
    return tuple(f.event.call_id for f in session.events() if isinstance(f.event, ToolCalled))


@pytest.mark.parametrize("error", [StoreFull("full"), ServerFailed("down")])
def test_completed_calls(error: StoreFull | ServerFailed):
    """A call that has run is named even if its result could not be kept; an unknown tool is not."""
    log = TappedLog()

    def work() -> str:
        """Work until the store is full."""
        if isinstance(error, StoreFull):
            log.before = {"tool.returned": once(error)}
        return "done"

    script = [[Call("unknown"), Call("work")], ServerFailed("down")]
    session = agent_of(*script, tools=[work], store=LogStore(log)).session("s")
    with pytest.raises(type(error)) as raised:
        session.run("a")

    assert len(called(session)) == 1
    assert raised.value.completed_calls == called(session)
    event = list(session.events())[-1].event
    assert isinstance(event, TurnFailed) == isinstance(error, ServerFailed)
    if isinstance(event, TurnFailed):
        assert event.completed_calls == called(session)


def test_completed_calls_when_the_end_is_not_kept():
    """A turn whose last append fails names the calls that had run."""
    log = TappedLog(before={"turn.completed": once(StoreFull("full"))})
    script = [Call("add", {"a": 1, "b": 2}), "Three"]
    session = agent_of(*script, tools=[add], store=LogStore(log)).session("s")
    with pytest.raises(StoreFull) as raised:
        session.run("a")

    assert raised.value.completed_calls == called(session) != ()


def test_completed_calls_when_another_has_taken_over():
    """A tool during which another handle took the session over has run all the same."""
    store = MemoryStore()
    other = agent_of("y", store=store).session("s")

    def intrude() -> str:
        """Take a turn elsewhere."""
        other.abandon(takeover=True)
        return other.run("x").text

    session = agent_of([Call("unknown"), Call("intrude")], tools=[intrude], store=store).session(
        "s"
    )
    with pytest.raises(ConflictError) as raised:
        session.run("a")

    assert len(called(session)) == 1
    assert raised.value.completed_calls == called(session)
    assert shown(other) == ["x", "y"]


# Signals

LOADING = """
import os, signal
from agent import Agent
from agent.engine.scripted import ScriptedModel
from agent.eventstore.backends.memory import MemoryLog
from agent.stores import LogStore

class Log(MemoryLog):
    armed = False

    def read(self, stream, **options):
        if self.armed:
            self.armed = False
            os.kill(os.getpid(), signal.SIGUSR1)
        return super().read(stream, **options)

def handler(number, frame):
    seen.append([message.text for message in session.messages])

seen = []
agent = Agent(ScriptedModel(["b", "d"]), "m", store=LogStore(Log()))
agent.session("s").run("a")
session = agent.session("s")
signal.signal(signal.SIGUSR1, handler)
agent.store.log.armed = True
seen.append([message.text for message in session.messages])
session.run("c")
seen.append([message.text for message in session.messages])
print(seen)
"""


def test_a_signal_handler_reads_while_the_session_loads():
    """A signal handler that reads the session which the main thread is loading does not hang."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LOADING],
        capture_output=True,
        text=True,
        timeout=SOON / 3,
        check=False,
    )

    expected = [["a", "b"], ["a", "b"], ["a", "b", "c", "d"]]
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{expected}\n", "")
