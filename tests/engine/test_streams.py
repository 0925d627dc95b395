"""Who may close a stream, and what becomes of one that nobody holds any more."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agent import Agent, Session
from agent.engine.errors import SessionBusy
from agent.engine.provider import ModelRequest
from agent.engine.scripted import Call, ScriptedModel
from agent.eventstore.events import TurnAbandoned
from agent.stores import SQLiteStore
from tests.engine.gates import SOON, Gate
from tests.engine.given import TURN, agent_of, kinds, shown

DROPPED = ["turn.started", "model.requested", "model.failed", "turn.abandoned"]


def test_closed_while_another_thread_reads():
    """A stream that another thread is reading cannot be closed; the reader reads on."""
    gate = Gate()

    def answer(_: ModelRequest) -> str:
        gate()
        return "one two"

    session = Agent(ScriptedModel(answer), "m").session("s")
    stream = session.stream("a")
    with ThreadPoolExecutor(1) as pool, gate:
        reading = pool.submit(list, stream)
        gate.wait_until_reached()
        with pytest.raises(SessionBusy) as raised:
            stream.close()
        assert raised.value.session_id == "s"
        gate.open()
        events = reading.result(SOON)
    stream.close()

    assert [event.type for event in events] == ["text_delta", "text_delta", "done"]
    assert kinds(session) == ["session.started", *TURN]
    assert shown(session) == ["a", "one two"]


def test_closed_while_another_task_reads():
    """The same for an async stream and another task."""

    async def main() -> list[str]:
        inside, release = asyncio.Event(), asyncio.Event()

        async def hold() -> str:
            """Hold the turn open."""
            inside.set()
            await release.wait()
            return "held"

        session = agent_of(Call("hold"), "Done", tools=[hold]).session("s")
        stream = await session.stream_async("a")

        async def read() -> list[str]:
            return [event.type async for event in stream]

        reading = asyncio.ensure_future(read())
        await asyncio.wait_for(inside.wait(), SOON)
        with pytest.raises(SessionBusy):
            await stream.aclose()
        release.set()
        types = await asyncio.wait_for(reading, SOON)
        await stream.aclose()
        assert shown(session) == ["a", "", "held", "Done"]
        return types

    assert asyncio.run(main()) == ["tool_call", "tool_result", "text_delta", "done"]


def test_read_by_two_threads():
    """Of two threads that read one stream, the second is refused."""
    gate = Gate()

    def answer(_: ModelRequest) -> str:
        gate()
        return "one"

    session = Agent(ScriptedModel(answer), "m").session("s")
    stream = session.stream("a")
    with ThreadPoolExecutor(1) as pool, gate:
        reading = pool.submit(list, stream)
        gate.wait_until_reached()
        for act in (lambda: next(stream), stream.finish):
            with pytest.raises(SessionBusy):
                act()
        gate.open()
        assert [event.type for event in reading.result(SOON)] == ["text_delta", "done"]

    assert kinds(session) == ["session.started", *TURN]


# Streams that nobody holds


def leave(session: Session, leaving: Callable[[], None] = lambda: None) -> None:
    """Read the first event of a stream, and drop it on return."""
    stream = session.stream("a")
    next(stream)
    leaving()


def test_a_dropped_stream_ends_its_turn_at_once():
    """When the last reference goes, the turn is abandoned with what had arrived."""
    session = agent_of("one two", "x").session("s")
    leave(session)

    assert kinds(session) == ["session.started", *DROPPED]
    assert list(session.events())[-1].event == TurnAbandoned(reason="stream dropped")
    session.refresh()
    assert session.run("b").text == "x"
    assert kinds(session) == ["session.started", *DROPPED, *TURN]


def test_a_stream_dropped_while_the_session_is_in_use():
    """The turn of such a stream is left open, and the next turn closes it."""
    session = agent_of("one two", "x").session("s")
    gate = Gate()

    def use() -> None:
        with session._handle.exclusive():
            gate()

    with ThreadPoolExecutor(1) as pool, gate:

        def begin_use() -> None:
            pool.submit(use)
            gate.wait_until_reached()

        leave(session, begin_use)
        assert kinds(session) == ["session.started", "turn.started", "model.requested"]

    assert kinds(session) == ["session.started", "turn.started", "model.requested"]
    assert session.run("b").text == "x"
    assert kinds(session)[3:] == ["turn.abandoned", *TURN]
    assert list(session.events())[3].event == TurnAbandoned(reason="interrupted")
    assert shown(session) == ["b", "x"]


def test_a_stream_dropped_in_another_thread():
    """It does not matter which thread lets go of a stream last."""
    session = agent_of("one two").session("s")
    thread = threading.Thread(target=leave, args=(session,))
    thread.start()
    thread.join(SOON)

    assert kinds(session) == ["session.started", *DROPPED]


# Forked processes

FORKING = """
import os, sys
from agent import Agent
from agent.engine.scripted import ScriptedModel
from agent.stores import SQLiteStore

path, leaving = sys.argv[1:]
agent = Agent(ScriptedModel(["one two three"]), "m", store=SQLiteStore(path))
text, child = "", None
stream = agent.session("s").stream("a")
for event in stream:
    if event.type != "text_delta":
        continue
    text += event.text
    if child is None:
        child = os.fork()
        if child == 0:
            if leaving == "close":
                stream.close()
            if leaving == "drop":
                del stream
                break
            sys.exit()
        _, status = os.waitpid(child, 0)
        assert status == 0, status
if child:
    print(text)
"""


@pytest.mark.parametrize("leaving", ["close", "drop", "exit"])
def test_fork_inside_a_stream(tmp_path: Path, leaving: str):
    """A forked child that closes, drops or leaves the stream does not end its parent's turn."""
    path = tmp_path / "sessions.db"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FORKING, str(path), leaving],
        capture_output=True,
        text=True,
        timeout=SOON,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "one two three\n", "")

    with SQLiteStore(path) as store:
        session = agent_of(store=store).session("s")
        assert kinds(session) == ["session.started", *TURN]
        assert shown(session) == ["a", "one two three"]
