"""Many tools at once, and tools that do not end."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agent import Agent, Response, Session, Tool, tool
from agent.engine import tool_loop
from agent.engine.errors import LimitExceeded
from agent.engine.execution import AT_ONCE, AsyncTools, ThreadedTools
from agent.engine.scripted import Call, ScriptedModel
from tests.engine.gates import SOON
from tests.engine.given import Clock, agent_of, fixed_sources, kinds
from tests.engine.test_execution import both, run_async, run_sync, runs, told


class Crowd:
    """Counts who is inside, and how many were at the most."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.inside = self.most = 0

    def __enter__(self) -> None:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)

    def __exit__(self, *exc_info: object) -> None:
        with self._lock:
            self.inside -= 1


def in_turn(session: Session, is_async: bool) -> Response[None]:
    """Take a turn."""
    return asyncio.run(session.run_async("Go")) if is_async else session.run("Go")


@pytest.mark.parametrize("is_async", [False, True])
def test_a_thousand_calls_at_once(is_async: bool):
    """Every call of an answer is served, in order; only so many threads work on them."""
    crowd, gate = Crowd(), threading.Barrier(AT_ONCE, timeout=SOON)

    def count(n: int) -> int:
        with crowd:
            if n < AT_ONCE:
                gate.wait()
            return n

    calls = [Call("count", {"n": n}) for n in range(1000)]
    before = threading.active_count()
    session = Agent(ScriptedModel([calls, "Done."]), "m", tools=[count]).session()
    response = in_turn(session, is_async)

    assert response.text == "Done."
    assert [part.text for part in response.messages[2].tool_results] == [
        str(n) for n in range(1000)
    ]
    assert crowd.most == AT_ONCE
    assert threading.active_count() < before + 2 * AT_ONCE


@pytest.mark.parametrize("is_async", [False, True])
def test_a_hundred_async_calls_at_once(is_async: bool):
    """Async tools are bounded alike."""
    crowd = Crowd()

    async def count(n: int) -> int:
        with crowd:
            await asyncio.sleep(0.001)
            return n

    calls = [Call("count", {"n": n}) for n in range(100)]
    session = Agent(ScriptedModel([calls, "Done."]), "m", tools=[count]).session()

    assert len(in_turn(session, is_async).messages[2].tool_results) == 100
    assert crowd.most <= AT_ONCE


@both
def test_a_tool_that_hangs_gives_up_its_place(run: Callable[..., Any]):
    """Tools whose time is up make room for those that wait, whose own time only begins then."""
    release = threading.Event()

    @tool(timeout=0.05)
    def hang() -> None:
        release.wait(SOON)

    @tool(timeout=SOON)
    def quick() -> str:
        return "quick"

    try:
        found = run(*[hang] * AT_ONCE, quick)
    finally:
        release.set()
    assert [is_error for _, _, is_error in found].count(True) == AT_ONCE
    assert (str(AT_ONCE), "quick", False) in found


@pytest.fixture
def stubborn() -> Iterator[tuple[Tool[..., Any], threading.Event]]:
    """An async tool that does not let itself be cancelled, until the event is set."""
    over, ended = threading.Event(), threading.Event()

    @tool(timeout=0.01)
    async def wait() -> None:
        while not over.is_set():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                continue
        ended.set()

    yield wait, over
    over.set()
    assert ended.wait(SOON)


@pytest.mark.parametrize("is_async", [False, True])
def test_an_async_tool_that_does_not_obey(
    is_async: bool, stubborn: tuple[Tool[..., Any], threading.Event]
):
    """A tool that swallows its cancellation is not waited for; its turn goes on."""
    made, over = stubborn
    session = Agent(ScriptedModel([Call("wait"), "Done."]), "m", tools=[made]).session()

    async def main() -> Response[None]:
        response = await session.run_async("Go")
        over.set()
        return response

    response = asyncio.run(main()) if is_async else session.run("Go")

    assert response.text == "Done."
    text = "TimeoutError: no result after 0.01 s; it may still be running"
    assert response.messages[2].text == text


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("later", [False, True])
def test_a_tool_without_a_time_limit(is_async: bool, later: bool):
    """It is waited for until the turn's deadline; the log then shows the call without a result."""
    clock, release, ended = Clock(), threading.Event(), threading.Event()

    def hang() -> None:
        clock.seconds += 1.0
        release.wait(SOON)
        ended.set()

    async def hang_later() -> None:
        try:
            await asyncio.to_thread(hang)
        finally:
            release.set()

    made = Tool(hang_later if later else hang, name="hang")
    session = agent_of(
        Call("hang"), "Hello", tools=[made], deadline=0.05, sources=fixed_sources(clock)
    ).session()
    try:
        with pytest.raises(LimitExceeded, match="raise deadline to allow more") as raised:
            in_turn(session, is_async)
    finally:
        release.set()
        assert ended.wait(SOON)

    assert (raised.value.limit, raised.value.completed_calls) == ("deadline", ())
    assert kinds(session)[-2:] == ["tool.called", "turn.failed"]
    assert session.messages == []
    assert session.run("Hi").text == "Hello"


async def one_async() -> int:
    """Give one."""
    return 1


def one() -> int:
    """Give one."""
    return 1


@pytest.mark.parametrize("function", [one, one_async])
def test_no_more_threads(monkeypatch: pytest.MonkeyPatch, function: Callable[[], object]):
    """Where the system gives no thread, the call has failed; the turn does not."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    tools = ThreadedTools()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        patched.setattr(tool_loop._current, "running", None)
        tools.start(runs(Tool(function)))

    expected = ("0", "RuntimeError: can't start new thread", True)
    assert [told(outcome) for outcome in tools.results(None)] == [expected]


class Odd(BaseException):
    """Neither an Exception nor anything that Python knows."""


@pytest.mark.parametrize(
    "error",
    [SystemExit(3), GeneratorExit(), Odd("x"), BaseExceptionGroup("g", [Odd("y")])],
    ids=str,
)
@pytest.mark.parametrize("run", [run_sync, run_async])
def test_async_tools_that_raise_what_is_no_exception(run: Callable[..., Any], error: BaseException):
    """Whatever an async tool raises is its result, and ends neither the turn nor the loop."""

    async def leave() -> None:
        raise error

    ((_, text, is_error),) = run(leave)
    assert (text.partition(":")[0], is_error) == (type(error).__name__, True)


def test_ctrl_c_in_an_async_tool_is_meant_for_the_application():
    """On the application's own loop it goes through; the turn is abandoned."""

    async def interrupted() -> None:
        raise KeyboardInterrupt

    session = Agent(
        ScriptedModel([Call("interrupted"), "Hello"]), "m", tools=[interrupted]
    ).session()
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(session.run_async("Go"))

    assert session.messages == []
    assert [fact.type for fact in session.events()][-1] == "turn.abandoned"
    assert session.run("Hi").text == "Hello"


def test_async_tool_that_cancels_its_own_task():
    """It has failed; the turn that waits for it was not cancelled."""

    async def leave() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(SOON)

    async def main() -> list[tuple[str, str, bool]]:
        tools = AsyncTools()
        tools.start(runs(leave))
        return [told(outcome) for outcome in await tools.results(None)]

    assert asyncio.run(main()) == [("0", "CancelledError: ", True)]
