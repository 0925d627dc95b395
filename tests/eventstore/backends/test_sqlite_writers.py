import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from agent.eventstore import core
from agent.eventstore.backends import sqlite_writer
from agent.eventstore.backends.sqlite import SQLiteLog
from agent.eventstore.conformance.facts import attached, deleted, places, said, started
from agent.eventstore.errors import (
    AttachmentMissing,
    ConflictError,
    StoreBusy,
    StoreFull,
)
from agent.eventstore.record import Head
from tests.eventstore.backends.access import Finalized, plain, reader, writer
from tests.eventstore.backends.processes import go, output, ready, start

needs_fork = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")


# Threads


def test_lock_of_another_program_is_busy(path: Path):
    """While another program holds the lock, a write says so, and writes nothing then or later."""
    with closing(SQLiteLog(path, busy_timeout=0.02)) as log, plain(path) as db:
        head = log.append("a", [started("a")], expected=None)
        db.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusy, match="another writer"):
            log.append("a", [said("x")], expected=head)
        assert head == log.head("a")
        db.execute("ROLLBACK")

        log.append("b", [started("b")], expected=None)

        assert places(log.read_all()) == [("a", 1), ("b", 1)]


def test_full_disk_is_no_loss(log: SQLiteLog, head: Head):
    """Without room an append says so and changes nothing; with room again it succeeds."""
    with writer(log) as db:
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages}")
    large = [said("x" * 100_000)]

    with pytest.raises(StoreFull):
        log.append("a", large, expected=head)
    assert head == log.head("a")

    with writer(log) as db:
        db.execute(f"PRAGMA max_page_count = {pages + 100}")
    assert log.append("a", large, expected=head).version == 4


def together(log: SQLiteLog, *jobs: Callable[[], object]) -> tuple[list[Future[object]], int]:
    """Queue the jobs in order, each in its thread, then let all go; how often was committed."""
    commits: list[str] = []
    with ThreadPoolExecutor(len(jobs)) as pool, writer(log) as db:
        db.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
        futures: list[Future[object]] = []
        for job in jobs:
            futures.append(pool.submit(job))
            while len(log._writer._queue) < len(futures):
                threading.Event().wait(0.001)
    with writer(log) as db:
        db.set_trace_callback(None)
    return futures, len(commits)


def test_writes_share_a_commit(log: SQLiteLog, head: Head):
    """What several threads append at once is committed at once."""
    names = [f"s{number}" for number in range(16)]

    futures, commits = together(
        log,
        *(lambda name=name: log.append(name, [started(name)], expected=None) for name in names),
    )

    assert commits == 1
    assert [log.head(name) for name in names] == [future.result() for future in futures]


def test_refusal_concerns_one_writer(log: SQLiteLog, head: Head):
    """A write that is refused in a shared commit takes none of the others along."""
    futures, commits = together(
        log,
        lambda: log.append("a", [said("first")], expected=head),
        lambda: log.append("a", [said("late")], expected=head),
        lambda: log.append("b", [started("b"), attached(b"missing")], expected=None),
        lambda: log.delete("none", deleted()),
        lambda: log.append("c", [started("c")], expected=None),
    )

    won, late, missing, none, made = futures
    assert commits == 1
    assert won.exception() is None
    assert isinstance(late.exception(), ConflictError)
    assert isinstance(missing.exception(), AttachmentMissing)
    assert none.result() is False
    assert log.head("c") == made.result()
    assert [info.stream for info in log.streams()] == ["a", "c"]


def test_failure_reaches_its_own_thread(log: SQLiteLog, head: Head):
    """A write that fails in an unforeseen way raises where it was asked for, nowhere else."""
    futures, _ = together(
        log,
        lambda: log.append("b", [started("b")], expected=None),
        lambda: log.delete("\ud800", deleted()),
        lambda: log.append("c", [started("c")], expected=None),
    )

    made, failed, other = futures
    assert isinstance(failed.exception(), UnicodeEncodeError)
    assert (log.head("b"), log.head("c")) == (made.result(), other.result())


def interrupt(_: object) -> None:
    """A write during which Ctrl-C comes."""
    raise KeyboardInterrupt


def test_an_interrupted_write_takes_no_other_along(log: SQLiteLog, head: Head, monkeypatch):
    """What shared a transaction with an interrupted write is written by the next in the queue."""
    monkeypatch.setattr(sqlite_writer, "_PATIENCE", 60)

    futures, _ = together(
        log,
        lambda: log._writer.run(interrupt),
        lambda: log.append("b", [started("b")], expected=None),
        lambda: log.append("c", [started("c")], expected=None),
    )

    interrupted, made, other = futures
    assert isinstance(interrupted.exception(timeout=10), KeyboardInterrupt)
    assert (log.head("b"), log.head("c")) == (made.result(timeout=10), other.result(timeout=10))


def test_who_waits_behind_an_interrupted_one_is_called(log: SQLiteLog, head: Head, monkeypatch):
    """When the first in the queue goes away without having written, the next one writes."""
    monkeypatch.setattr(sqlite_writer, "_PATIENCE", 60)
    alone, first = log._writer.shared.alone, threading.Event()

    @contextmanager
    def interrupted_once():
        if not first.is_set():
            first.set()
            while len(log._writer._queue) < 2:
                threading.Event().wait(0.001)
            raise KeyboardInterrupt
        with alone():
            yield

    monkeypatch.setattr(log._writer.shared, "alone", interrupted_once)
    with ThreadPoolExecutor(2) as pool:
        gone = pool.submit(log.append, "b", [started("b")], expected=None)
        assert first.wait(10)
        waiting = pool.submit(log.append, "c", [started("c")], expected=None)

        assert isinstance(gone.exception(timeout=10), KeyboardInterrupt)
        assert waiting.result(timeout=10) == log.head("c")
    assert log.head("b") is None


def test_a_lost_call_is_made_up_for(log: SQLiteLog, head: Head, monkeypatch):
    """A write that nobody calls looks for itself, and is found done or writes."""
    monkeypatch.setattr(sqlite_writer, "_PATIENCE", 0.01)
    monkeypatch.setattr(sqlite_writer._Ticket, "call", lambda ticket: None)
    names = "bcdefghi"

    futures, _ = together(
        log, *(lambda name=name: log.append(name, [started(name)], expected=None) for name in names)
    )

    assert [log.head(name) for name in names] == [f.result(timeout=10) for f in futures]


def test_busy_is_waited_for_once(path: Path):
    """Writes that share a transaction share its wait for the lock as well."""
    with closing(SQLiteLog(path, busy_timeout=0.02)) as log, plain(path) as db:
        log.append("a", [started("a")], expected=None)
        begins: list[str] = []
        with writer(log) as own:
            own.set_trace_callback(lambda sql: begins.append(sql) if "BEGIN" in sql else None)
        db.execute("BEGIN IMMEDIATE")
        names = "bcdefghi"
        commits: list[str] = []
        with ThreadPoolExecutor(len(names)) as pool, writer(log):
            futures = [
                pool.submit(log.append, name, [started(name)], expected=None) for name in names
            ]
            while len(log._writer._queue) < len(names):
                threading.Event().wait(0.001)
        db.execute("ROLLBACK")

        assert {StoreBusy} == {type(future.exception()) for future in futures}
        assert begins == ["BEGIN IMMEDIATE"]
        assert commits == []
        assert [info.stream for info in log.streams()] == ["a"]


def test_call_from_inside_is_refused(log: SQLiteLog, head: Head):
    """A finalizer inside an operation is refused, and what it asked for is never done."""
    raised: list[BaseException] = []
    garbage = [
        Finalized(lambda: log.append("b", [started("b")], expected=None), raised),
        Finalized(lambda: log.put_blob(b"y"), raised),
    ]
    with writer(log) as db:
        db.set_trace_callback(lambda sql: garbage.clear())

    head = log.append("a", [said("x")], expected=head)

    assert [StoreBusy] * 2 == [type(error) for error in raised]
    log.append("a", [said("y")], expected=head)
    assert [info.stream for info in log.streams()] == ["a"]


def test_read_from_inside_is_refused(log: SQLiteLog, head: Head):
    """A finalizer that reads inside a read is refused, and the outer read is whole."""
    raised: list[BaseException] = []
    garbage = [Finalized(lambda: log.head("a"), raised)]
    log.head("a")
    with reader(log) as db:
        db.set_trace_callback(lambda sql: garbage.clear())

    assert [fact.version for fact in log.read("a")] == [1, 2, 3]
    assert [StoreBusy] == [type(error) for error in raised]


@pytest.mark.parametrize("inside", [writer, reader])
def test_close_from_inside_is_refused(log: SQLiteLog, head: Head, inside: Callable):
    """A finalizer that closes the log inside an operation does not pull the file away."""
    log.head("a")
    raised: list[BaseException] = []
    garbage = [Finalized(log.close, raised)]

    with inside(log) as db:
        garbage.clear()
        assert db.execute("SELECT 1").fetchone() == (1,)

    assert [StoreBusy] == [type(error) for error in raised]


# Processes


def test_the_slower_process_conflicts(log: SQLiteLog, head: Head, path: Path):
    """Of two processes that append at one head the second conflicts, and can go on from there."""
    program = """
end = log.append("a", [said("theirs")], expected=log.head("a"))
print(end.version)
log.close()
"""
    assert output(start(program, path)) == ["4"]

    with pytest.raises(ConflictError) as caught:
        log.append("a", [said("ours")], expected=head)
    assert caught.value.actual
    log.append("a", [said("ours")], expected=caught.value.actual)

    texts = [fact.payload for fact in log.read("a", after=3)]
    assert [said("theirs").payload, said("ours").payload] == texts


def test_none_is_lost_between_processes(log: SQLiteLog, head: Head, path: Path):
    """Two processes that race for one stream store all of their events, each once."""
    program = """
wait()
for number in range(25):
    while True:
        try:
            log.append("a", [said(f"{name} {number}")], expected=log.head("a"))
            break
        except ConflictError:
            pass
log.close()
"""
    go(*(start(program, path, name) for name in ("one", "two")))

    chain = list(core.verified(log.read("a"), stream="a"))
    for name in ("one", "two"):
        expected = [said(f"{name} {number}").payload for number in range(25)]
        assert expected == [fact.payload for fact in chain if fact.payload in expected]
    assert len(chain) == 53


def test_processes_make_the_file_together(path: Path):
    """Several processes may open a new file at the same time: one makes it, all use it."""
    program = """
wait()
log.append(name, [started(name)], expected=None)
log.close()
"""
    go(*(start(program, path, name) for name in "abcdef"))

    with closing(SQLiteLog(path)) as log:
        assert list("abcdef") == [info.stream for info in log.streams()]


@pytest.mark.parametrize("durability", ["fsync", "os"])
def test_acknowledged_events_survive_a_kill(
    log: SQLiteLog, head: Head, path: Path, durability: str
):
    """What was acknowledged is there after the process was killed."""
    program = """
log = SQLiteLog(sys.argv[1], durability=name)
end = log.append("a", [said("theirs")], expected=log.head("a"))
wait()
"""
    process = start(program, path, durability)
    ready(process)
    process.kill()
    process.communicate(timeout=60)

    assert [said("theirs").payload] == [fact.payload for fact in log.read("a", after=3)]


@needs_fork
def test_forked_process_goes_on(path: Path):
    """After os.fork both processes read and append; they do not share a connection."""
    program = """
import threading, warnings
warnings.simplefilter("ignore")
log.append("a", [started("a")], expected=None)
reading = log.read("a")
held, done = threading.Event(), threading.Event()

def hold():
    with log._writer.shared.exclusive(), log._reader.exclusive():
        held.set()
        done.wait()

thread = threading.Thread(target=hold)
thread.start()
held.wait()
child = os.fork()
if child == 0:
    try:
        log.append("a", [said("child")], expected=log.head("a"))
        log.append("b", [started("b")], expected=None)
        log.close()
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)
_, status = os.waitpid(child, 0)
done.set()
thread.join()
log.append("a", [said("parent")], expected=log.head("a"))
print(status, *(fact.version for fact in log.read("a")), *(s.stream for s in log.streams()))
log.close()
"""
    assert output(start(program, path)) == ["0", "1", "2", "3", "a", "b"]
