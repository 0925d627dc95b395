"""Event loops: one after another, several at once, inside of each other, and cancelled anywhere."""

import asyncio
import gc
import threading
import warnings
from collections import Counter
from collections.abc import Awaitable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from agent import Agent, Session
from agent.engine.drivers import off_loop
from agent.engine.errors import ConfigurationError
from agent.engine.provider import ModelRequest
from agent.engine.scripted import Call, Reply, Scripted, ScriptedModel
from agent.engine.streams import AsyncStream
from agent.eventstore.backends.memory import MemoryLog
from agent.eventstore.events import TurnAbandoned
from agent.eventstore.log import Durability
from agent.stores import LogStore, MemoryStore, SQLiteStore
from tests.engine.gates import SOON, Gate
from tests.engine.given import add, agent_of, kinds, shown
from tests.fakes import ChatServer

ENDS = ("turn.completed", "turn.failed", "turn.abandoned")


async def later(a: int, b: int) -> int:
    """Add two numbers, later."""
    await asyncio.sleep(0)
    return a + b


# One after another, and at once


def test_loops_one_after_another_over_http(openai_env: ChatServer):
    """Connections that a loop has kept are closed with it; the next loop opens its own."""
    with Agent(provider="openai", model="gpt-4o") as agent:
        session = agent.session()
        for text in ("a", "b"):
            asyncio.run(session.run_async(text))
            assert asyncio.run(read(session, text)) == "done"
        session.run("c")

    assert len(session.messages) == 10
    assert openai_env.connections == 5


async def read(session: Session, text: str) -> str:
    """The type of a stream's last event."""
    types = [event.type async for event in await session.stream_async(text)]
    return types[-1]


def test_loops_at_once_over_http(openai_env: ChatServer):
    """Threads with a loop each share one agent; within a loop connections are used again."""

    async def turns(session: Session) -> list[str]:
        return [(await session.run_async(text)).text for text in ("a", "b", "c")]

    with Agent(provider="openai", model="gpt-4o") as agent, ThreadPoolExecutor(4) as pool:
        sessions = [agent.session() for _ in range(4)]
        answers = list(pool.map(lambda s: asyncio.run(turns(s)), sessions))

    assert [len(texts) for texts in answers] == [3] * 4
    assert openai_env.connections == 4


# Inside of each other


def test_the_sync_form_inside_of_a_running_loop():
    """Run and stream work in async code, async tools included; they block it meanwhile."""
    script = [Call("later", {"a": 1, "b": 2}), "one", Call("later", {"a": 1, "b": 2}), "two"]
    session = agent_of(*script, tools=[later]).session()

    async def main() -> list[object]:
        text = session.run("a").text
        types = [event.type for event in session.stream("b")]
        return [text, types]

    types = ["tool_call", "tool_result", "text_delta", "done"]
    assert asyncio.run(main()) == ["one", types]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_tool_that_runs_a_loop_of_its_own(is_async: bool):
    """A sync tool may call asyncio.run, and take turns of other sessions in it."""
    other = agent_of("inner").session("other")

    def nest() -> str:
        """Run a loop."""
        return asyncio.run(other.run_async("x")).text

    session = agent_of(Call("nest"), "Done", tools=[nest]).session("s")
    answer = asyncio.run(session.run_async("a")) if is_async else session.run("a")

    assert answer.text == "Done"
    assert shown(session) == ["a", "", "inner", "Done"]


def test_where_asyncio_does_not_run():
    """An async turn outside of asyncio (under trio, say) names the way out, and leaves nothing."""
    session = agent_of("b").session("s")
    for turn in (session.run_async("a"), session.json_async("a", int)):
        with pytest.raises(ConfigurationError, match="in a thread"):
            turn.send(None)

    assert session.version == 0
    assert session.run("a").text == "b"


# Cancelled at every step


class Stepped:
    """An awaitable whose task is cancelled when it waits for the n-th time."""

    def __init__(self, turn: Coroutine[Any, Any, object], step: int, again: bool) -> None:
        self._turn = turn
        self._left = step
        self._again = again

    @property
    def reached(self) -> bool:
        """Whether there were that many steps."""
        return self._left <= 0

    def __await__(self) -> Generator[Any, Any, object]:
        steps = self._turn.__await__()
        error: BaseException | None = None
        while True:
            try:
                waiting = next(steps) if error is None else steps.throw(error)
            except StopIteration as stop:
                return stop.value
            error = None
            self._left -= 1
            task = asyncio.current_task()
            if task and (self._left == 0 or (self._again and self._left == -1)):
                task.cancel()
            try:
                yield waiting
            except BaseException as raised:  # noqa: BLE001 - thrown into the turn, which is asked
                error = raised


def work(request: ModelRequest) -> Scripted:
    """Two parallel calls if asked to work, else a text."""
    calls = [Call("add", {"a": 1, "b": 2}), Call("later", {"a": 3, "b": 4})]
    return calls if request.messages[-1].text == "work" else Reply(text="one two")


@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
@pytest.mark.parametrize("way", ["run", "stream"])
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_cancelled_at_every_step(tmp_path: Path, kind: str, way: str, again: bool):
    """Wherever a turn is cancelled it has one end, and is in the history whole or not at all."""
    store = MemoryStore() if kind == "memory" else SQLiteStore(tmp_path / "s", durability="os")
    agent = Agent(ScriptedModel(work), "m", store=store, tools=[add, later])

    async def cancelled(session: Session, step: int) -> bool:
        await session.run_async("first")
        turn = session.run_async("work") if way == "run" else read(session, "work")
        stepped = Stepped(turn, step, again)
        task = asyncio.ensure_future(waited_for(stepped))
        await asyncio.wait([task])
        assert task.cancelled() == stepped.reached
        return stepped.reached

    step = 0
    going = True
    with asyncio.Runner() as runner:
        while going:
            step += 1
            session = agent.session(f"s{step}")
            going = runner.run(cancelled(session, step))
            counted = Counter(kinds(session))
            assert counted["turn.started"] == sum(counted[end] for end in ENDS)
            completed = kinds(session)[-1] == "turn.completed" and counted["turn.started"] == 2
            assert len(shown(session)) == (6 if completed else 2)
            anew = agent.session(session.session_id)
            assert (kinds(anew), shown(anew)) == (kinds(session), shown(session))
            assert session.run("next").text == "one two"
    assert step > (3 if kind == "memory" else 10)
    store.close()


async def waited_for(awaitable: Awaitable[object]) -> object:
    """A coroutine that waits for anything."""
    return await awaitable


def test_a_timeout():
    """asyncio.timeout around a turn raises TimeoutError, and the turn is abandoned."""

    async def hang() -> str:
        """Hang."""
        await asyncio.Event().wait()
        return "never"

    session = agent_of(Call("hang"), "x", tools=[hang]).session()

    async def main() -> str:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await session.run_async("a")
        return (await session.run_async("b")).text

    assert asyncio.run(main()) == "x"
    assert kinds(session).count("turn.abandoned") == 1
    assert shown(session) == ["b", "x"]


def test_a_task_group():
    """When one turn of a task group fails, the others are abandoned, and all sessions go on."""
    began = asyncio.Event()

    async def hang() -> str:
        """Hang."""
        began.set()
        await asyncio.Event().wait()
        return "never"

    hanging = [agent_of(Call("hang"), "x", tools=[hang]).session() for _ in range(3)]
    failing = agent_of(ZeroDivisionError("bug"), "x").session()

    async def fail() -> None:
        await began.wait()
        await failing.run_async("a")

    async def main() -> None:
        with pytest.RaisesGroup(ZeroDivisionError):
            async with asyncio.TaskGroup() as group:
                for session in hanging:
                    group.create_task(session.run_async("a"))
                group.create_task(fail())
        for session in (*hanging, failing):
            assert (await session.run_async("b")).text == "x"

    asyncio.run(main())
    reasons = [[f.event for f in s.events() if isinstance(f.event, TurnAbandoned)] for s in hanging]
    assert reasons == [[TurnAbandoned(reason="cancelled")]] * 3


def test_an_exception_in_the_body_of_the_loop():
    """What the consumer of a stream raises comes out, and the stream is closed by its context."""
    session = agent_of("one two", "x").session()

    async def main() -> None:
        async with await session.stream_async("a") as stream:
            async for _ in stream:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(main())
    assert kinds(session)[-1] == "turn.abandoned"
    assert asyncio.run(session.run_async("b")).text == "x"


# Loops that are gone


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@pytest.mark.parametrize("where", ["tool", "stream"])
def test_a_loop_that_was_closed_in_a_turn(tmp_path: Path, kind: str, where: str):
    """A turn whose loop was closed by hand does not stand in the way of the next one."""
    store: LogStore = MemoryStore() if kind == "memory" else SQLiteStore(tmp_path / "s.db")
    hung = asyncio.Event()
    script = [Call("hang") if where == "tool" else "one two", "x", "y"]

    async def hang() -> str:
        """Hang."""
        hung.set()
        await asyncio.Event().wait()
        return "never"

    session = agent_of(*script, tools=[hang], store=store).session("s")
    streams: list[Any] = []

    async def main() -> asyncio.Task[Any]:
        task = asyncio.ensure_future(session.run_async("a"))
        await hung.wait()
        return task

    async def begin() -> None:
        streams.append(await session.stream_async("a"))
        await anext(streams[0])

    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # asyncio warns of the tasks that were left
    left = loop.run_until_complete(main() if where == "tool" else begin())
    loop.close()
    del left, loop
    streams.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pytest.PytestUnraisableExceptionWarning)
        gc.collect()

    assert session.run("b").text == "x"
    assert asyncio.run(session.run_async("c")).text == "y"
    assert shown(session) == ["b", "x", "c", "y"]
    assert kinds(session).count("turn.abandoned") == 1
    store.close()


def test_a_stream_that_is_closed_without_a_loop():
    """A stream whose loop is gone can be closed all the same: its turn is abandoned at once."""
    session = agent_of(Reply(text="one two"), "x").session("s")
    loop = asyncio.new_event_loop()
    stream = loop.run_until_complete(begun(session))
    loop.close()
    with pytest.raises(StopIteration):
        stream.aclose().send(None)

    assert kinds(session)[-1] == "turn.abandoned"
    assert session.run("b").text == "x"


async def begun(session: Session) -> AsyncStream[None]:
    """A stream whose whole answer has arrived, and of which one event is read."""
    stream = await session.stream_async("a")
    await anext(stream)
    await asyncio.sleep(0.01)
    return stream


def test_a_store_effect_whose_caller_is_dropped():
    """A coroutine that is closed while a thread writes for it leaves without a word."""
    gate = Gate()
    handle = agent_of(store=LogStore(SlowLog())).session("s")._handle

    async def main() -> None:
        writing = off_loop(handle, gate)
        writing.send(None)
        writing.close()

    with gate:
        loop = asyncio.new_event_loop()
        loop.run_until_complete(main())
        gate.open()
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


class SlowLog(MemoryLog):
    """A log that is not to be used on an event loop."""

    durability = Durability.FSYNC


def test_two_loops_on_one_session():
    """A session goes from loop to loop while both are open, as long as its turns do not overlap."""
    session = agent_of(*["x"] * 4).session()
    loops = [asyncio.new_event_loop() for _ in range(2)]
    for loop in loops * 2:
        thread = threading.Thread(target=loop.run_until_complete, args=(session.run_async("a"),))
        thread.start()
        thread.join(SOON)
    for loop in loops:
        loop.close()

    assert shown(session) == ["a", "x"] * 4
