import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from agent.engine.sources import Sources
from agent.eventstore.backends.failing import FailingLog
from agent.eventstore.backends.memory import MemoryLog
from agent.eventstore.backends.sqlite import SQLiteLog
from agent.eventstore.errors import AppendUnknown
from agent.eventstore.events import SessionDeleted, SessionStarted
from agent.eventstore.record import Prepared


def fact() -> Prepared:
    """What a session begins with."""
    return Sources().prepare(SessionStarted(session_id="s", library="0"))


@pytest.mark.parametrize(("when", "landed"), [("before", False), ("after", True)])
def test_an_append_that_fails(when: Any, landed: bool):
    """The chosen append fails before or after it lands; its retry and all others pass."""
    log, second = FailingLog(MemoryLog(), fail_at=2, when=when), [fact()]
    log.append("a", [fact()], expected=None)
    with pytest.raises(AppendUnknown, match="append 2 fails on purpose"):
        log.append("b", second, expected=None)

    assert (log.head("b") is not None) == landed
    assert log.append("b", second, expected=None) == log.head("b")
    assert log.appends == 3


def test_a_log_that_only_counts():
    """Without a number nothing fails; a deletion is not counted."""
    log = FailingLog(MemoryLog())
    log.append("a", [fact()], expected=None)
    log.delete("a", Sources().prepare(SessionDeleted()))

    assert log.appends == 1


def test_threads_that_append():
    """Of appends in several threads exactly one fails, and each is counted."""
    log, failed = FailingLog(MemoryLog(), fail_at=20), list[str]()

    def work(name: str) -> None:
        for number in range(10):
            try:
                log.append(f"{name}{number}", [fact()], expected=None)
            except AppendUnknown:
                failed.append(name)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (log.appends, len(failed), len(list(log.streams()))) == (40, 1, 39)


KILLED = """
import sys
from agent import Agent
from agent.stores import LogStore, SQLiteStore
from agent.testing import FailingLog, ScriptedModel

log = FailingLog(SQLiteStore(sys.argv[1]).log, fail_at=2, when=sys.argv[2], how="kill")
Agent(ScriptedModel(["Hello"]), store=LogStore(log)).session("s").run("Hi")
"""


@pytest.mark.parametrize(("when", "last"), [("before", "model.requested"), ("after", "completed")])
def test_a_process_that_is_killed(tmp_path: Path, when: str, last: str):
    """The process dies by SIGKILL before or after the append, and nothing of it comes later."""
    file = tmp_path / "s.db"
    done = subprocess.run([sys.executable, "-c", KILLED, file, when], check=False)
    log = SQLiteLog(file)
    *_, end = log.read("s")
    log.close()

    assert done.returncode == -signal.SIGKILL
    assert end.type.endswith(last)


@pytest.mark.parametrize(
    "wrong", [{"fail_at": 0}, {"fail_at": True}, {"fail_at": 1.5}, {"when": "at"}, {"how": "stop"}]
)
def test_impossible_failures(wrong: dict[str, Any]):
    """A failure that could never come is refused, with what there is."""
    with pytest.raises(ValueError, match=f"{next(iter(wrong))}= is"):
        FailingLog(MemoryLog(), **wrong)
