"""A person decides somewhere else: real processes that ask, decide and go on, and that die."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent import Agent
from agent.engine.errors import NotPending, OutcomeUnknown
from agent.eventstore.errors import ConflictError
from agent.stores import LogStore, SQLiteStore
from agent.testing import ScriptedModel
from tests.engine.crashes import World, asks, check_whole
from tests.engine.gates import TappedLog
from tests.engine.given import kinds, shown
from tests.engine.programs import PRELUDE, printed, run_program

PROGRAM = """
from agent import tool
from agent.errors import AgentError
from agent.testing import FailingLog

db, journal, dies = sys.argv[1:]

@tool(requires_approval=True)
def pay(amount: int) -> str:
    "Pay an amount."
    with open(journal, "a") as file:
        file.write(f"paid {amount}\\n")
    if dies == "in the tool":
        os.kill(os.getpid(), signal.SIGKILL)
    return "paid"

def answer(request):
    return "Done." if request.messages[-1].role == "tool" else Call("pay", {"amount": 7})

store = SQLiteStore(db)
if dies == "once asked":
    store = LogStore(FailingLog(store.log, fail_at=2, when="after", how="kill"))
session = Agent(ScriptedModel(answer), "m", store=store, tools=[pay]).session("s")
"""

ASK = "print(session.run('Pay').pending_approvals[0].call_id)"
APPROVE = "print(session.approve(session.pending_approvals[0].call_id))"
REJECT = "print(session.reject(session.pending_approvals[0].call_id, 'no'))"
RESUME = "print(session.resume().text)"


@pytest.fixture
def outside(tmp_path: Path) -> tuple[Path, Path]:
    """The file of the sessions, and one that the tool writes to."""
    return tmp_path / "s.db", tmp_path / "journal"


def paid(outside: tuple[Path, Path]) -> list[str]:
    """What the tool has done."""
    return outside[1].read_text().splitlines() if outside[1].exists() else []


@pytest.mark.parametrize("dies", ["no", "once asked"])
@pytest.mark.parametrize(("decide", "runs"), [(APPROVE, 1), (REJECT, 0)])
def test_three_processes(outside: tuple[Path, Path], dies: str, decide: str, runs: int):
    """One asks and is gone, one decides, one goes on: the tool runs once, or not at all."""
    asking = run_program(PROGRAM + ASK, *outside, dies)
    assert (asking.code, asking.out) == ((0, "call_5_0") if dies == "no" else (-signal.SIGKILL, ""))
    refused = run_program(PROGRAM + RESUME, *outside, "no")
    assert refused.errors.splitlines()[-1].startswith("agent.engine.errors.ApprovalPending")
    assert printed(PROGRAM + decide, *outside, "no") == "None"
    assert paid(outside) == []
    assert printed(PROGRAM + RESUME, *outside, "no") == "Done."

    assert paid(outside) == ["paid 7"] * runs
    again = run_program(PROGRAM + "session.approve('call_5_0')", *outside, "no")
    assert again.errors.splitlines()[-1].startswith("agent.engine.errors.NotPending")
    with SQLiteStore(outside[0]) as store:
        session = Agent(ScriptedModel([]), "m", store=store).session("s")
        check_whole(session)
        assert kinds(session).count("turn.completed") == 1


def begin(source: str, *args: object) -> "subprocess.Popen[str]":
    """Start a program after the prelude, to talk with."""
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + source, *map(str, args)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def test_while_the_first_process_lives(outside: tuple[Path, Path]):
    """A server that has asked lives on; another process decides and goes on all the same."""
    server = begin(PROGRAM + ASK + "\nsys.stdout.flush()\ninput()\n" + RESUME, *outside, "no")
    assert server.stdout is not None
    try:
        assert server.stdout.readline() == "call_5_0\n"
        printed(PROGRAM + APPROVE, *outside, "no")
        assert printed(PROGRAM + RESUME, *outside, "no") == "Done."
        assert server.poll() is None
    finally:
        server.kill()
        server.communicate()
    assert paid(outside) == ["paid 7"]


def test_the_first_process_goes_on(outside: tuple[Path, Path]):
    """The process that has asked sees what another decided, and goes on itself."""
    server = begin(PROGRAM + ASK + "\nsys.stdout.flush()\ninput()\n" + RESUME, *outside, "no")
    assert server.stdout is not None
    assert server.stdout.readline() == "call_5_0\n"
    printed(PROGRAM + APPROVE, *outside, "no")
    assert server.communicate("go\n", timeout=60)[0] == "Done.\n"
    assert paid(outside) == ["paid 7"]


def test_killed_inside_of_an_approved_tool(outside: tuple[Path, Path]):
    """An approval is used up by the run that was killed: another run needs another one."""
    printed(PROGRAM + ASK, *outside, "no")
    printed(PROGRAM + APPROVE, *outside, "no")
    assert run_program(PROGRAM + RESUME, *outside, "in the tool").code == -signal.SIGKILL
    refused = run_program(PROGRAM + RESUME, *outside, "no")
    assert refused.errors.splitlines()[-1].startswith(
        f"agent.engine.errors.{OutcomeUnknown.__name__}"
    )
    retried = "session.resolve('call_5_0', retry=True)\nprint(session.resume().pending_approvals)"
    assert "call_5_0" in printed(PROGRAM + retried, *outside, "no")
    assert paid(outside) == ["paid 7"]
    printed(PROGRAM + APPROVE, *outside, "no")
    assert printed(PROGRAM + RESUME, *outside, "no") == "Done."
    assert paid(outside) == ["paid 7"] * 2


def test_processes_that_decide_at_once(outside: tuple[Path, Path]):
    """Of several that decide at the same moment one decision lands, and the others are told."""
    printed(PROGRAM + ASK, *outside, "no")
    source = """
(waiting,) = session.pending_approvals
print("ready", flush=True)
input()
try:
    DECIDE
    print("landed")
except AgentError as error:
    print(type(error).__name__)
"""
    decisions = ["session.approve(waiting.call_id)", "session.reject(waiting.call_id)"] * 2
    programs = [PROGRAM + source.replace("DECIDE", decision) for decision in decisions]
    running = [begin(program, *outside, "no") for program in programs]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    told = [process.communicate(timeout=60)[0].strip() for process in running]

    assert told.count("landed") == 1
    assert set(told) <= {"landed", "NotPending", "ConflictError"}
    printed(PROGRAM + RESUME, *outside, "no")
    assert paid(outside) == ["paid 7"] * (told.index("landed") % 2 == 0)
    with SQLiteStore(outside[0]) as store:
        session = Agent(ScriptedModel([]), "m", store=store).session("s")
        assert (
            sum(kind in ("approval.granted", "approval.rejected") for kind in kinds(session)) == 1
        )


def test_a_decision_that_comes_second():
    """Who is overtaken between looking and writing gets a conflict, and nothing is written."""
    world = World()
    log = TappedLog()
    agent = world.agent([asks("sign"), "Done."], store=LogStore(log))
    session, other = agent.session("s"), agent.session("s")
    session.run("Do it")
    log.before = {"approval.granted": lambda: other.reject("call_5_0", "no")}
    with pytest.raises(ConflictError):
        session.approve("call_5_0")
    with pytest.raises(NotPending, match="was rejected already"):
        session.approve("call_5_0")
    session.resume()
    assert world.journal == []
    assert shown(session)[2].endswith("refused this call: no")
