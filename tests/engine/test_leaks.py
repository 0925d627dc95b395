"""What is left behind: no connection, no thread, no memory, however a turn ends."""

import asyncio
import gc
import threading
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from agent import Agent, Session
from agent.engine.errors import SessionBusy
from agent.engine.scripted import Call, ScriptedModel
from agent.eventstore.errors import StoreBusy
from agent.eventstore.record import Recorded
from agent.stores import LogStore, MemoryStore
from tests.engine.gates import SOON, TappedLog
from tests.engine.given import add, agent_of, kinds, shown
from tests.fakes import ChatServer, Stream, Text

DESCRIPTORS = Path("/proc/self/fd")
LINES = 4


def leave_by_close(session: Session) -> None:
    """Close a stream."""
    stream = session.stream("a")
    next(stream)
    stream.close()


def leave_by_drop(session: Session) -> None:
    """Drop a stream."""
    next(session.stream("a"))


def leave_by_cycle(session: Session) -> None:
    """Drop a stream that only the garbage collector finds."""
    cycle: list[Any] = [session.stream("a")]
    cycle.append(cycle)
    next(cycle[0])
    del cycle
    gc.collect()


def leave_by_exception(session: Session) -> None:
    """Raise in the body of the loop."""

    def fail() -> None:
        with session.stream("a") as stream:
            for _ in stream:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()


def leave_in_a_thread(session: Session) -> None:
    """Read in one thread and close in another."""
    stream = session.stream("a")
    next(stream)
    thread = threading.Thread(target=stream.close)
    thread.start()
    thread.join(SOON)


def leave_by_break_async(session: Session) -> None:
    """Break out of an async stream."""

    async def main() -> None:
        async for _ in await session.stream_async("a"):
            break

    asyncio.run(main())


def leave_by_cancel(session: Session) -> None:
    """Cancel the task that reads."""

    async def main() -> None:
        stream = await session.stream_async("a")
        await anext(stream)
        task = asyncio.ensure_future(stream.finish())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(main())


def leave_by_end(session: Session) -> None:
    """Read to the end."""
    list(session.stream("a"))


WAYS: list[Callable[[Session], None]] = [
    leave_by_close,
    leave_by_drop,
    leave_by_cycle,
    leave_by_exception,
    leave_in_a_thread,
    leave_by_break_async,
    leave_by_cancel,
    leave_by_end,
]


@pytest.mark.skipif(not DESCRIPTORS.exists(), reason="counting descriptors takes /proc")
@pytest.mark.parametrize("leave", WAYS, ids=lambda way: way.__name__)
def test_no_connection_is_left(openai_env: ChatServer, leave: Callable[[Session], None]):
    """However a stream over HTTP is left, its connection is given back or closed."""
    with Agent(provider="openai", model="gpt-4o") as agent:
        session = agent.session()
        session.run("first")
        counts: list[int] = []
        for _ in range(4):
            openai_env.script([Stream(Text("one two three four"), delay=0.01)])
            leave(session)
            gc.collect()
            counts.append(mine(openai_env))
        assert max(counts) <= 1  # the one that is kept for the next call
        assert session.run("last").text
    assert mine(openai_env) == 0


def mine(server: ChatServer) -> int:
    """How many connections to a server this process holds open, the server's ends apart."""
    port = int(server.base_url.rpartition(":")[2].split("/")[0])
    inodes = {
        fields[9]
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]
        if int((fields := line.split())[2].rpartition(":")[2], 16) == port
    }
    held = 0
    for descriptor in DESCRIPTORS.iterdir():
        with suppress(OSError):
            held += str(descriptor.readlink()).strip("socket:[]") in inodes
    return held


async def later(a: int, b: int) -> int:
    """Add two numbers, later."""
    await asyncio.sleep(0)
    return a + b


def test_no_thread_is_left():
    """A hundred turns with tools, sync and async, leave one thread: that of the async tools."""
    calls = [Call("add", {"a": 1, "b": 2}), Call("later", {"a": 1, "b": 2})]
    model = ScriptedModel(lambda r: "x" if r.messages[-1].role == "tool" else calls)
    session = Agent(model, "m", tools=[add, later]).session()
    session.run("a")
    before = set(threading.enumerate())
    for _ in range(50):
        session.run("a")
        list(session.stream("a"))
    asyncio.run(session.run_async("a"))

    until = time.monotonic() + SOON
    while not set(threading.enumerate()) <= before and time.monotonic() < until:
        time.sleep(0.001)
    assert set(threading.enumerate()) <= before


def test_memory_stays_bounded():
    """Two thousand turns, dropped and whole, cost what their events cost and nothing besides."""
    # Clearing keeps the history short: what grows then is the log, and nothing else.
    model = ScriptedModel(lambda _: "one two")
    session = Agent(model, "m", store=MemoryStore()).session()
    sizes: list[int] = []
    try:
        for turn in range(2000):
            if turn == 1100:
                tracemalloc.start()
            if turn % 4:
                session.run("a")
            else:
                next(session.stream("a"))
                session.clear()
            model.requests.clear()
            if turn >= 1100 and turn % 300 == 199:
                gc.collect()
                sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    steps = [after - before for before, after in pairwise(sizes)]
    assert max(steps) < 2 * min(steps)
    assert max(steps) / 300 < 20_000  # bytes a turn


# Collected in the middle of something


def collected(session: Session) -> None:
    """Leave a half read stream to the garbage collector."""
    cycle: list[Any] = [session.stream("a")]
    cycle.append(cycle)
    next(cycle[0])


class CollectingLog(TappedLog):
    """Collects garbage inside of its own operations, when armed."""

    armed = False

    def _write(self, stream: Any, recorded: Any) -> None:
        if self.armed:
            self.armed = False
            gc.collect()
        super()._write(stream, recorded)


@pytest.mark.parametrize("whose", ["own", "another"])
def test_collected_inside_of_an_append(whose: str):
    """A stream that is collected while its log is writing stays open; the next turn closes it."""
    log = CollectingLog()
    agent = agent_of("one two", *"xyz", store=LogStore(log))
    session, other = agent.session("s"), agent.session("other")
    gc.disable()
    try:
        collected(session if whose == "own" else other)
        log.armed = True
        assert session.run("b").text == "x"
    finally:
        gc.enable()
    left = session if whose == "own" else other
    assert left.run("c").text == "y"

    assert kinds(left).count("turn.abandoned") == 1
    assert shown(left) == (["b", "x"] if whose == "own" else []) + ["c", "y"]
    assert kinds(agent.session(left.session_id)) == kinds(left)
    assert left.run("d").text == "z"


def test_calls_from_inside_are_refused_and_not_waited_for():
    """The refusals that keep such a stream from waiting for itself are errors like any."""
    log = CollectingLog()
    session = agent_of("x", store=LogStore(log)).session("s")
    session.run("a")
    with session._handle.exclusive(), pytest.raises(SessionBusy):
        session.clear()
    with log._exclusive(), pytest.raises(StoreBusy):
        session.clear()
    facts: list[Recorded] = list(session.events())
    assert facts[-1].type == "turn.completed"
