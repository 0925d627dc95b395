"""Disks that are full, or not to be written, or fail: with real ones, in processes of their own."""

import platform
import sys
from contextlib import closing
from pathlib import Path

import pytest

from agent.eventstore.backends.sqlite import SQLiteLog
from agent.eventstore.conformance.facts import said
from agent.eventstore.record import Head
from tests.eventstore.backends.mounts import READ_ONLY, TINY, run_mounted
from tests.eventstore.backends.processes import output, start

# Full


def test_full_disk_at_the_first_use(tmp_path: Path):
    """However much room is missing for a new file, it says so, and with room it is made."""
    program = """
for kilobytes in range(0, 132, 12):
    fill(leave=kilobytes * 1024)
    with SQLiteStore(path) as store:
        assert "free some space" in str(refused(StoreFull, store.list_sessions))
        ballast.unlink()
        assert store.list_sessions() == []
    for file in folder.iterdir():
        file.unlink()
"""
    run_mounted(TINY, tmp_path, program)


def test_full_disk_in_a_turn(tmp_path: Path):
    """The history stays; a turn whose tool has run says so; with room again all goes on."""
    program = """
from agent import tool
from agent.engine.scripted import Call
paid = []

@tool
def pay(amount: int) -> str:
    "Pay."
    paid.append(amount)
    fill()
    return "paid"

store = SQLiteStore(path)
agent = agent_of("b", Call("pay", {"amount": 7}), "never", "h", store=store, tools=[pay])
session = agent.session("s")
session.run("a")
error = refused(StoreFull, lambda: session.run("c"))
assert (paid, error.completed_calls) == ([7], ("call_9_0",)), error.completed_calls
assert (shown(session), kinds(session)[-1]) == (["a", "b"], "tool.called")
assert refused(StoreFull, lambda: session.run("e")).completed_calls == ()

ballast.unlink()
assert session.run("g").text == "never"
assert shown(session) == shown(agent_of(store=store).session("s")) == ["a", "b", "g", "never"]
assert paid == [7]
store.close()
"""
    run_mounted(TINY, tmp_path, program)


def test_full_disk_at_a_checkpoint(tmp_path: Path):
    """When there is no room to move events into the file, they stay beside it, and count."""
    program = """
from agent import Message
from agent.eventstore.backends.sqlite import SQLiteLog
store = SQLiteStore(path)
session = agent_of(store=store).session("s")
for number in range(8):
    session.add_message(Message.user("x" * 99))
fill()
store.close()
assert (folder / "log.db-wal").stat().st_size > 0
with SQLiteStore(path) as again:
    assert len(shown(agent_of(store=again).session("s"))) == 8
    ballast.unlink()
    agent_of(store=again).session("s").add_message(Message.user("more"))
assert [file.name for file in folder.iterdir()] == ["log.db"]
with SQLiteStore(path) as again:
    assert len(shown(agent_of(store=again).session("s"))) == 9
"""
    run_mounted(TINY, tmp_path, program)


# Not to be written

ARCHIVE = """
with SQLiteStore(path) as store:
    assert store.list_sessions() == ["a"]
    assert [(info.key, info.version) for info in store.sessions()] == [("a", 3)]
    session = agent_of("never", store=store).session("a")
    assert shown(session) == ["Here:", "end"]
    assert len(store.load("a")["attachments"]) == 1
    assert len(list(store.log.read_all())) == 3
    for call in (
        lambda: session.run("x"),
        lambda: agent_of(store=store).session("new").fork(),
        lambda: store.delete("a"),
    ):
        assert "can be read, but not written" in str(refused(StoreUnusable, call))
    assert shown(session) == ["Here:", "end"]
"""


def test_archive_is_read(log: SQLiteLog, head: Head, path: Path):
    """A log on a read-only medium is listed, opened and exported; writing says what to do."""
    log.close()

    run_mounted(READ_ONLY, path.parent, ARCHIVE)

    with closing(SQLiteLog(path)) as again:
        assert head == again.head("a")


def test_archive_of_a_dead_program_is_read(path: Path):
    """So is one whose program was killed, when all of its files came along."""
    program = """
from agent.eventstore.conformance.facts import attached
log.put_blob(b"x")
log.append("a", [started("a"), attached(b"x"), said("end")], expected=None)
os._exit(0)
"""
    output(start(program, path))
    assert Path(f"{path}-wal").stat().st_size > 0

    run_mounted(READ_ONLY, path.parent, ARCHIVE)


def test_archive_without_its_events_is_refused(log: SQLiteLog, head: Head, path: Path):
    """Where events lie in a file that cannot be read there, it is refused, not read without."""
    wal = Path(f"{path}-wal")
    copies = path.read_bytes(), wal.read_bytes()
    log.close()
    path.write_bytes(copies[0])
    wal.write_bytes(copies[1])
    program = """
store = SQLiteStore(path)
assert "copy both" in str(refused(StoreUnusable, store.list_sessions))
"""
    run_mounted(READ_ONLY, path.parent, program)

    with closing(SQLiteLog(path)) as again:
        assert head == again.head("a")


# Failing

NUMBERS = {"x86_64": (74, 75, 26, 277), "aarch64": (82, 83, 227, 84)}
"""What the kernel calls fsync, fdatasync, msync and sync_file_range."""

FAILING = f"""
import ctypes, errno, struct, time
from concurrent.futures import ThreadPoolExecutor
from agent.eventstore.errors import AppendUnknown, StoreUnusable

def fail(numbers):
    "Let these system calls fail from now on, with an input/output error."
    steps = [(0x20, 0, 0, 0)]
    for number in numbers:
        steps += [(0x15, 0, 1, number), (0x06, 0, 0, 0x50000 | errno.EIO)]
    steps.append((0x06, 0, 0, 0x7FFF0000))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    address = ctypes.addressof(code)
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(steps), address))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program, 0, 0):
        print("not permitted")
        sys.exit()

def refused(error, call):
    try:
        call()
    except error as caught:
        return str(caught)
    raise AssertionError(error)

head = log.append("a", [started("a")], expected=None)
fail({NUMBERS.get(platform.machine(), ())})
with ThreadPoolExecutor(2) as pool, log._writer.shared.exclusive():
    appends = [pool.submit(log.append, name, [started(name)], expected=None) for name in "bc"]
    while len(log._writer._queue) < 2:
        time.sleep(0.001)
for append in appends:
    assert "may or may not" in refused(AppendUnknown, append.result)
for _ in range(2):
    assert "open it again" in refused(
        StoreUnusable, lambda: log.append("a", [said("x")], expected=head)
    )
    refused(StoreUnusable, lambda: log.put_blob(b"x"))
assert log.head("a") == head
print("done")
os._exit(0)
"""


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in NUMBERS, reason="needs Linux's seccomp"
)
def test_failed_flush_ends_the_writing(path: Path):
    """After a flush has failed nothing is taken for written any more until the log is opened anew.

    The next flush may succeed without having written what the failed one was for.
    """
    if output(start(FAILING, path)) != ["done"]:
        pytest.skip("system calls cannot be made to fail here")

    with closing(SQLiteLog(path)) as log:
        head = log.head("a")
        assert log.append("a", [said("y")], expected=head).version == 2
