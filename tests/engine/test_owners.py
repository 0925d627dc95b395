"""Who may go on with a turn: real processes that die, sleep, and come back too late."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from agent import Agent, Session, Tool, ToolContext
from agent.engine.errors import OutcomeUnknown, OwnerAlive, ServerFailed, TurnUnfinished
from agent.engine.owners import DRIVEN, is_alive, this_process
from agent.engine.scripted import ScriptedModel
from agent.engine.sources import Sources
from agent.eventstore.core import verified
from agent.eventstore.errors import ConflictError
from agent.eventstore.values import Owner
from agent.stores import MemoryStore, SQLiteStore
from tests.engine.crashes import World, asks, check_whole, cut, recorded
from tests.engine.given import GONE, OWNER, agent_of, dead_sources, kinds, shown
from tests.engine.programs import PRELUDE

# Whether a process is alive


def test_this_process_is_alive_where_it_drives():
    """This process counts as alive only for the turns that it is driving."""
    me = this_process()
    assert is_alive(me, b"x", me) is False
    DRIVEN.tenures.add(b"x")
    assert is_alive(me, b"x", me) is True
    DRIVEN.tenures.discard(b"x")
    assert is_alive(me, b"x", me) is False


def test_other_processes():
    """Alive is who has the number and the beginning of the owner; a zombie is not."""
    me = this_process()
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        started = _started(child.pid)
        assert is_alive(Owner(me.host, child.pid, started), b"", me) is True
        assert is_alive(Owner(me.host, child.pid, started + 1), b"", me) is False
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert is_alive(Owner(me.host, child.pid, started), b"", me) is False
    finally:
        child.kill()
        child.communicate()
    assert is_alive(Owner(me.host, child.pid, started), b"", me) is False
    assert is_alive(Owner("elsewhere", child.pid, started), b"", me) is None


def _started(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19])


@pytest.mark.parametrize(
    ("refusal", "alive"),
    [
        *((None, True), (PermissionError(), True)),
        *((ProcessLookupError(), False), (OverflowError(), False)),
    ],
)
@pytest.mark.parametrize(("number", "started"), [(1, 0), (2**30, 7)])
def test_what_cannot_be_seen(
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    started: int,
    refusal: Exception | None,
    alive: bool,
):
    """Where nothing tells when a process began, it is alive if its number is taken."""

    def kill(process: int, signal: int) -> None:
        assert (process, signal) == (number, 0)
        if refusal:
            raise refusal

    monkeypatch.setattr(os, "kill", kill)
    assert is_alive(Owner("here", number, started), b"", Owner("here", 6, 0)) is alive


def test_an_owner_on_another_host():
    """A turn of another host may be alive: it is taken over only on demand."""
    facts = recorded(World().agent([asks("look"), "x"]).session("s"), "Do it")
    store = cut(facts, [fact.type for fact in facts].index("tool.called") + 1)
    session = agent_of("Done.", tools=World().tools, store=store, sources=Sources()).session("s")
    assert socket.gethostname() != "host"
    assert session.unfinished_turn is not None
    assert session.unfinished_turn.owner_alive is None
    for act in (session.resume, session.abandon, lambda: session.run("Next")):
        with pytest.raises(OwnerAlive, match="process 1 on host, which may be alive") as raised:
            act()
        assert (raised.value.owner.host, raised.value.certain) == ("host", False)
    with pytest.raises(OwnerAlive):
        session.resolve("call_5_0", retry=True)

    assert session.resume(takeover=True).text == "Done."


def test_an_ended_turn_is_nobodys():
    """A turn that has failed is run by nobody, on whatever host that was."""
    script = [asks("look"), ServerFailed("down")]
    facts = recorded(World().agent(script).session("s"), "Do it")
    agent = agent_of("Done.", tools=World().tools, store=cut(facts, len(facts)), sources=Sources())
    session = agent.session("s")
    assert session.unfinished_turn is not None
    assert session.unfinished_turn.owner_alive is False

    assert session.resume().text == "Done."


@pytest.mark.parametrize("policy", ["resume", "abandon"])
def test_no_policy_takes_a_turn_over(policy: Any):
    """A turn that may be alive is neither resumed nor abandoned by a new one."""
    facts = recorded(World().agent(["x"]).session("s"), "Do it")
    store = cut(facts, len(facts) - 2)
    agent = agent_of("Done.", store=store, sources=Sources(), on_unfinished=policy)
    with pytest.raises(OwnerAlive):
        agent.session("s").run("Next")


# Within one process


def test_a_rival_handle():
    """While one handle drives a turn another is told so; a takeover fences the first."""
    agent = agent_of("one two", "Hello", "More", store=MemoryStore())
    slow, fast = agent.session("s"), agent.session("s")
    stream = slow.stream("Hi")
    next(stream)
    with pytest.raises(OwnerAlive, match="which is alive"):
        fast.resume()
    assert fast.resume(takeover=True).text == "Hello"
    with pytest.raises(ConflictError):
        list(stream)

    assert shown(fast) == ["Hi", "Hello"]
    assert slow.run("Next").text == "More"
    assert kinds(agent.session("s")).count("turn.completed") == 2


def test_a_stream_of_ones_own_is_not_decided_about():
    """What this handle is streaming is abandoned only on demand."""
    session = agent_of("one two", "x").session("s")
    stream = session.stream("Hi")
    next(stream)
    with pytest.raises(OwnerAlive):
        session.abandon()
    session.abandon(takeover=True)

    assert kinds(session)[-2:] == ["model.failed", "turn.abandoned"]
    assert session.run("Hi").text == "x"


# Processes that die


class Outside(NamedTuple):
    """A file that tools write to, and the file of the sessions."""

    db: Path
    journal: Path

    def lines(self) -> list[list[str]]:
        """What tools have done: tool, and idempotency key."""
        text = self.journal.read_text() if self.journal.exists() else ""
        return [line.split() for line in text.splitlines()]


@pytest.fixture
def outside(tmp_path: Path) -> Outside:
    """A world outside of the processes."""
    return Outside(tmp_path / "s.db", tmp_path / "journal")


PROGRAM = """
from agent import Tool, ToolContext, tool

db, journal, how = sys.argv[1:]

def act(name, **flags):
    def work(context: ToolContext) -> str:
        with open(journal, "a") as file:
            file.write(f"{name} {context.idempotency_key}\\n")
        if how == "stop" and name == "pay":
            print("stopping", flush=True)
            os.kill(os.getpid(), signal.SIGSTOP)
        elif name == how:
            os.kill(os.getpid(), signal.SIGKILL)
        return f"{name} done"
    work.__name__ = name
    return Tool(work, **flags)

tools = [act("pay"), act("send", idempotent=True), act("look", retry_safe=True)]
calls = Call("pay") if how in ("stop", "pay") else Call(how)
model = ScriptedModel(["Hello", calls, "Done.", "Again."])
session = Agent(model, "m", store=SQLiteStore(db), tools=tools).session("s")
session.run("Hi")
"""


def here(outside: Outside, store: SQLiteStore, **options: Any) -> Session:
    """The session in this process, with the same tools."""

    def act(name: str, context: ToolContext) -> str:
        with outside.journal.open("a") as file:
            file.write(f"{name} {context.idempotency_key}\n")
        return f"{name} done"

    def pay(context: ToolContext) -> str:
        return act("pay", context)

    def send(context: ToolContext) -> str:
        return act("send", context)

    def look(context: ToolContext) -> str:
        return act("look", context)

    tools = [Tool(pay), Tool(send, idempotent=True), Tool(look, retry_safe=True)]
    script = ["Done."] * 3
    return Agent(ScriptedModel(script), "m", store=store, tools=tools, **options).session("s")


def begin(program: str, *args: object) -> subprocess.Popen[str]:
    """Start a program after the prelude."""
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + program, *map(str, args)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


@pytest.mark.parametrize("tool", ["pay", "send", "look"])
def test_killed_inside_of_a_tool(outside: Outside, tool: str):
    """What a process was doing when it was killed is done again only as its tool allows."""
    owner = begin(PROGRAM + "session.run('Do it')", *outside, tool)
    assert owner.wait(60) == -signal.SIGKILL
    owner.communicate()
    with SQLiteStore(outside.db) as store:
        session = here(outside, store)
        with pytest.raises(TurnUnfinished):
            session.run("Next")
        assert session.unfinished_turn is not None
        assert session.unfinished_turn.owner_alive is False
        if tool == "pay":
            with pytest.raises(OutcomeUnknown):
                session.resume()
            session.resolve(session.unfinished_turn.calls[0].call_id, result="paid, it says")
        assert session.resume().text == "Done."
        check_whole(session)

    ran = outside.lines()
    assert [name for name, _ in ran] == [tool] * (1 if tool == "pay" else 2)
    assert len({key for _, key in ran}) == (2 if tool == "look" else 1)


@pytest.fixture
def stopped(outside: Outside) -> Iterator[subprocess.Popen[str]]:
    """A process that sleeps inside of a tool."""
    source = """
try:
    session.run("Do it")
except Exception as error:
    print(type(error).__name__, error.completed_calls, flush=True)
print(session.run("Later").text, len(session.messages), flush=True)
"""
    owner = begin(PROGRAM + source, *outside, "stop")
    assert owner.stdout is not None
    assert owner.stdout.readline() == "stopping\n"
    os.waitid(os.P_PID, owner.pid, os.WSTOPPED | os.WNOWAIT)
    try:
        yield owner
    finally:
        owner.kill()
        owner.communicate()


def test_an_owner_that_sleeps_and_wakes_too_late(outside: Outside, stopped: subprocess.Popen[str]):
    """A sleeping owner is alive; once its turn is taken over nothing of it lands any more."""
    with SQLiteStore(outside.db) as store:
        session = here(outside, store)
        for act in (session.resume, session.abandon, lambda: session.run("Next")):
            with pytest.raises(OwnerAlive, match=f"process {stopped.pid} on .* which is alive"):
                act()
        assert session.unfinished_turn is not None
        (call,) = session.unfinished_turn.calls
        session.resolve(call.call_id, result="as told", takeover=True)
        assert session.resume(takeover=True).text == "Done."
        before = kinds(session)
        stopped.send_signal(signal.SIGCONT)
        assert stopped.stdout is not None
        lines = [stopped.stdout.readline().split() for _ in range(2)]

        assert lines == [["ConflictError", f"('{call.call_id}',)"], ["Done.", "8"]]
        session.refresh()
        assert kinds(session)[: len(before)] == before
        assert kinds(session)[len(before) :] == [
            *("turn.started", "model.requested", "model.responded", "turn.completed")
        ]
        assert shown(session) == [
            *("Hi", "Hello", "Do it", "", "as told", "Done.", "Later", "Done.")
        ]
        list(verified(session.events(), stream="s"))
    assert [name for name, _ in outside.lines()] == ["pay"]


def test_two_that_resume_at_once(outside: Outside):
    """Of two handles that take up a dead turn one has it; the other is told and changes nothing."""
    owner = begin(PROGRAM + "session.run('Do it')", *outside, "look")
    owner.communicate(timeout=60)
    with SQLiteStore(outside.db) as store:
        first, second = here(outside, store), here(outside, store)
        stream = first.resume_stream()
        next(stream)
        with pytest.raises(OwnerAlive, match=f"process {os.getpid()} on"):
            second.resume()
        events = list(stream)
        assert events[-1].type == "done"
        assert second.unfinished_turn is not None
        second.refresh()
        assert second.unfinished_turn is None
        check_whole(second)


def test_every_owner_is_named():
    """The owner of a turn is in its first event, and who took it up in a later one."""
    facts = recorded(World().agent(["x"], sources=dead_sources()).session("s"), "Do it")
    session = agent_of("Done.", store=cut(facts, len(facts) - 2)).session("s")
    session.resume()

    owners = [f.event.owner for f in session.events() if f.type in ("turn.started", "turn.resumed")]  # pyright: ignore[reportAttributeAccessIssue]
    assert owners == [GONE, OWNER]
