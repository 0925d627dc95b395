import asyncio
import contextvars
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from agent import Agent, Session, tool
from agent.engine.effects import ToolOutcome
from agent.engine.execution import AsyncTools, ThreadedTools
from agent.engine.scripted import Call, ScriptedModel
from agent.engine.tool_run import ToolRun
from agent.engine.tools import Tool, ToolContext
from agent.eventstore.events import ToolReturned
from tests.engine.gates import SOON

NAME: contextvars.ContextVar[str] = contextvars.ContextVar("name", default="nobody")


def runs(*tools: Callable[..., Any]) -> list[ToolRun]:
    """A call of each, without arguments."""
    made = [item if isinstance(item, Tool) else Tool(item) for item in tools]
    return [
        ToolRun(item, "{}", ToolContext("s", str(number), "key"))
        for number, item in enumerate(made)
    ]


def told(outcome: ToolOutcome) -> tuple[str, str, bool]:
    """Call id, text and whether it is an error."""
    text = "".join(getattr(part, "text", "") for part in outcome.content)
    return outcome.call_id, text, outcome.is_error


def run_sync(*tools: Callable[..., Any]) -> list[tuple[str, str, bool]]:
    """The outcomes of a sync turn's tools, by call."""
    started, found = ThreadedTools(), []
    started.start(runs(*tools))
    while len(found) < len(tools):
        found += started.results(None)
    return sorted(map(told, found))


def run_async(*tools: Callable[..., Any]) -> list[tuple[str, str, bool]]:
    """The outcomes of an async turn's tools, by call."""

    async def main() -> list[ToolOutcome]:
        started, found = AsyncTools(), []
        started.start(runs(*tools))
        while len(found) < len(tools):
            found += await started.results(None)
        return found

    return sorted(map(told, asyncio.run(main())))


both = pytest.mark.parametrize("run", [run_sync, run_async])


@both
def test_functions_that_return_something_to_await(run: Callable[..., Any]):
    """Async tools behind a plain decorator share a loop: what they hold in common works."""
    lock = asyncio.Lock()

    def decorated() -> Any:
        async def work() -> str:
            async with lock:
                await asyncio.sleep(0.01)
            return "done"

        return work()

    assert [text for _, text, _ in run(*[decorated] * 3)] == ["done"] * 3


@both
def test_outcomes(run: Callable[..., Any]):
    """Every tool has its outcome: what it returned, or what it raised."""

    def good() -> int:
        return 3

    def bad() -> None:
        raise ValueError("no")

    async def later() -> str:
        await asyncio.sleep(0)
        return "later"

    async def worse() -> None:
        raise KeyError("x")

    assert run(good, bad, later, worse) == [
        ("0", "3", False),
        ("1", "ValueError: no", True),
        ("2", "later", False),
        ("3", "KeyError: 'x'", True),
    ]


@both
@pytest.mark.parametrize("count", [2, 5])
def test_calls_run_together(run: Callable[..., Any], count: int):
    """Parallel calls run at the same time: each waits here for all the others."""
    barrier = threading.Barrier(count, timeout=SOON)

    def meet() -> str:
        barrier.wait()
        return "met"

    assert run(*[meet] * count) == [(str(n), "met", False) for n in range(count)]


@both
def test_async_and_sync_tools_run_together(run: Callable[..., Any]):
    """A blocking tool and an async one run at the same time."""
    barrier = threading.Barrier(2, timeout=SOON)

    def meet() -> str:
        barrier.wait()
        return "met"

    async def meet_async() -> str:
        await asyncio.get_running_loop().run_in_executor(None, barrier.wait)
        return "met"

    assert run(meet, meet_async) == [("0", "met", False), ("1", "met", False)]


@both
def test_context_variables(run: Callable[..., Any]):
    """A tool sees the context variables of whoever runs the turn, and changes only its own."""

    def who() -> str:
        seen = NAME.get()
        NAME.set("tool")
        return seen

    async def who_async() -> str:
        seen = NAME.get()
        NAME.set("tool")
        return seen

    token = NAME.set("caller")
    try:
        assert run(who, who_async, who) == [(str(n), "caller", False) for n in range(3)]
        assert NAME.get() == "caller"
    finally:
        NAME.reset(token)


@both
def test_timeout(run: Callable[..., Any]):
    """A tool that takes too long has an error for its outcome; the others have theirs."""
    release = threading.Event()

    @tool(timeout=0.01)
    def slow() -> str:
        release.wait(SOON)
        return "too late"

    @tool(timeout=0.01)
    async def slow_async() -> None:
        await asyncio.Event().wait()

    try:
        found = run(slow, slow_async, lambda_tool("quick"))
    finally:
        release.set()
    text = "TimeoutError: no result after 0.01 s; it may still be running"
    assert found == [("0", text, True), ("1", text, True), ("2", "quick", False)]


def lambda_tool(result: object) -> Tool[..., Any]:
    """A tool that returns this."""
    return Tool(lambda: result, name="constant")


@both
def test_a_tools_own_timeout_is_an_error_like_any(run: Callable[..., Any]):
    """A TimeoutError that a tool raises itself keeps its words."""

    @tool(timeout=SOON)
    def slow() -> None:
        raise TimeoutError("the database is slow")

    @tool(timeout=SOON)
    async def slow_async() -> None:
        raise TimeoutError("the database is slow")

    text = "TimeoutError: the database is slow"
    assert run(slow, slow_async) == [("0", text, True), ("1", text, True)]


@both
@pytest.mark.parametrize("error", [SystemExit(2), KeyboardInterrupt(), GeneratorExit()])
def test_exits_in_a_thread(run: Callable[..., Any], error: BaseException):
    """A blocking tool that exits does not leave the turn waiting for ever."""

    def leave() -> None:
        raise error

    assert run(leave) == [("0", f"{type(error).__name__}: {error}", True)]


@both
def test_async_tool_that_is_cancelled_by_itself(run: Callable[..., Any]):
    """An async tool that raises CancelledError by itself has failed; its turn goes on."""

    async def leave() -> None:
        raise asyncio.CancelledError

    assert run(leave) == [("0", "CancelledError: ", True)]


def test_late_results_are_dropped():
    """A result that comes after its tool's time is never handed out."""
    release, done = threading.Event(), threading.Event()
    barrier = threading.Barrier(2, timeout=SOON)

    @tool(timeout=0.01)
    def slow() -> str:
        release.wait(SOON)
        done.set()
        return "too late"

    def meet() -> str:
        barrier.wait()
        return "met"

    tools = ThreadedTools()
    tools.start(runs(slow, meet))
    found = tools.results(None)
    release.set()
    assert done.wait(SOON)
    barrier.wait()
    while len(found) < 2:
        found += tools.results(None)

    assert [outcome.call_id for outcome in found] == ["0", "1"]


def test_waiting_ends_at_its_time():
    """No result within the time that the turn has left is an empty answer."""
    release = threading.Event()

    def slow() -> None:
        release.wait(SOON)

    async def main() -> list[ToolOutcome]:
        tools = AsyncTools()
        tools.start(runs(slow))
        try:
            return await tools.results(0.0)
        finally:
            release.set()
            await tools.cancel()

    tools = ThreadedTools()
    tools.start(runs(slow))
    assert tools.results(0.0) == []
    assert asyncio.run(main()) == []


def test_async_tools_are_cancelled():
    """Cancelling ends the async tools that still run; each may clean up."""
    cleaned: list[int] = []

    async def main() -> None:
        began = [asyncio.Event(), asyncio.Event()]

        def waiting(number: int) -> Tool[..., Any]:
            async def wait() -> None:
                began[number].set()
                try:
                    await asyncio.Event().wait()
                finally:
                    await asyncio.sleep(0)
                    cleaned.append(number)

            return Tool(wait, name=f"wait_{number}")

        tools = AsyncTools()
        tools.start(runs(waiting(0), waiting(1)))
        for event in began:
            await event.wait()
        await tools.cancel()

    asyncio.run(main())
    assert sorted(cleaned) == [0, 1]


def test_async_tools_do_not_block_the_loop():
    """While a blocking tool runs, the event loop goes on."""

    async def main() -> list[tuple[str, str, bool]]:
        release = threading.Event()

        def wait_for_loop() -> bool:
            return release.wait(SOON)

        tools = AsyncTools()
        tools.start(runs(wait_for_loop))
        asyncio.get_running_loop().call_soon(release.set)
        return [told(outcome) for outcome in await tools.results(None)]

    assert asyncio.run(main()) == [("0", "true", False)]


# In a turn


def session_with(*tools: Callable[..., Any]) -> Session:
    """A session whose model calls each tool once, together."""
    made = [item if isinstance(item, Tool) else Tool(item) for item in tools]
    model = ScriptedModel([[Call(item.name) for item in made], "Done"])
    return Agent(model, "m", tools=made).session()


@pytest.mark.parametrize("is_async", [False, True])
def test_tools_in_a_turn(is_async: bool):
    """A turn's parallel tools meet, and their results stand in the order of the calls."""
    barrier = threading.Barrier(3, timeout=SOON)

    def tool_named(name: str) -> Tool[..., Any]:
        def meet() -> str:
            barrier.wait()
            return name

        return Tool(meet, name=name)

    session = session_with(*map(tool_named, "abc"))
    response = asyncio.run(session.run_async("Go")) if is_async else session.run("Go")

    assert [part.text for part in response.messages[2].tool_results] == ["a", "b", "c"]


@pytest.mark.parametrize("is_async", [False, True])
def test_results_too_odd_for_the_log(is_async: bool):
    """A result that no log can keep is an error that the model is told; the turn goes on."""

    def odd() -> float:
        return float("nan")

    def odder() -> bytes:
        return b"x"

    session = session_with(odd, odder)
    response = asyncio.run(session.run_async("Go")) if is_async else session.run("Go")
    returned = [f.event for f in session.events() if isinstance(f.event, ToolReturned)]

    assert response.text == "Done"
    assert [event.is_error for event in returned] == [True, True]


def test_subclass_of_text_as_result():
    """A result of a subclass of str does not end the turn."""

    class Markup(str):
        __slots__ = ()

    session = session_with(Tool(lambda: Markup("bold"), name="markup"))

    assert session.run("Go").messages[2].text == "bold"


def test_exit_in_a_tool_of_a_turn():
    """A tool that calls sys.exit() fails; the turn goes on."""
    session = session_with(Tool(lambda: sys.exit(3), name="leave"))

    assert session.run("Go").messages[2].text == "SystemExit: 3"
