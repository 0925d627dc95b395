import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import BaseModel

from agent import Agent, Message, Session
from agent.engine.effects import StoreEffect
from agent.engine.errors import RateLimited, ServerFailed
from agent.engine.handle import Handle
from agent.engine.scripted import Call, Reply, Scripted, ScriptedModel
from agent.eventstore.backends.memory import MemoryLog
from agent.eventstore.errors import AgentError
from agent.eventstore.events import Event, ModelFailed, TurnAbandoned
from agent.eventstore.log import Durability
from agent.eventstore.record import Head, Prepared
from agent.stores import LogStore
from tests.engine.gates import SOON
from tests.engine.given import add, agent_of, fail, kinds, shown

ADD = Call("add", {"a": 1, "b": 2})


class Answer(BaseModel):
    number: int


def timeless(event: Event) -> dict[str, Any]:
    """An event without what the clock says."""
    return {name: getattr(event, name) for name in event.__struct_fields__ if name != "elapsed"} | {
        "type": event.type
    }


def perform_sync(session: Session, turn: str) -> list[object]:
    """A turn's stream events, or its error."""
    try:
        if turn == "json":
            return [session.json("Go", Answer)]
        if turn == "run":
            return [session.run("Go")]
        return list(session.stream("Go"))
    except AgentError as error:
        return [type(error).__name__, str(error), error.completed_calls]


async def perform_async(session: Session, turn: str) -> list[object]:
    """The same turn, async."""
    try:
        if turn == "json":
            return [await session.json_async("Go", Answer)]
        if turn == "run":
            return [await session.run_async("Go")]
        return [event async for event in await session.stream_async("Go")]
    except AgentError as error:
        return [type(error).__name__, str(error), error.completed_calls]


@pytest.mark.parametrize(
    ("turn", "script"),
    [
        ("run", ["Hello"]),
        ("stream", ["Hello big world"]),
        ("run", [ADD, "Three"]),
        ("stream", [ADD, Call("fail", {"reason": "no"}), "Done now"]),
        ("stream", [Call("unknown"), Call("add", "not JSON"), "Sorry"]),
        ("run", [RateLimited("slow", retryable=True, retry_after=0.0), "Hello"]),
        ("run", [ServerFailed("down", status=500)]),
        ("stream", [Reply(text="Hel lo", error=ServerFailed("cut", retryable=True))]),
        ("stream", [ADD, ServerFailed("down")]),
        ("json", ["no", '{"number":3}']),
        ("json", ["no", "no", "no"]),
        ("run", []),
        ("run", [ADD] * 40),
    ],
)
def test_sync_and_async_do_the_same(turn: str, script: Sequence[Scripted]):
    """Both drivers give the same results, perform the same effects and record the same events."""
    found = []
    for is_async in (False, True):
        performed: list[str] = []
        session = agent_of(*script, tools=[add, fail], max_steps=5).session("s")
        tape(session._handle, performed)
        if is_async:
            result = asyncio.run(perform_async(session, turn))
        else:
            result = perform_sync(session, turn)
        found.append((result, performed, [timeless(f.event) for f in session.events()]))

    assert found[0] == found[1]


def tape(handle: Handle, performed: list[str]) -> None:
    """Write down the store effects that a handle performs."""
    perform = handle.perform

    def taped(effect: StoreEffect) -> Any:
        performed.append(type(effect).__name__)
        return perform(effect)

    handle.perform = taped


# Dropped streams

LINES = [Reply(text="Let me see. ", calls=(ADD,)), "It is three."]


def streaming() -> Session:
    """A session with one turn in its history and a turn with a tool in its script."""
    session = agent_of("b", *LINES, tools=[add]).session("s")
    session.run("a")
    return session


def ends_as_dropped(session: Session, before: list[str], reason: str) -> None:
    """The log ends with the one abandonment, the history is as before."""
    events = [fact.event for fact in session.events()]
    new = [event.type for event in events][len(before) :]
    assert new.count("turn.abandoned") == 1
    assert events[-1] == TurnAbandoned(reason=reason)
    assert shown(session) == ["a", "b"]
    asked, got = new.count("model.requested"), new.count("model.responded")
    assert asked == got + new.count("model.failed")


def test_the_stream_has_this_many_events():
    """The stream that is dropped everywhere below has each kind of event."""
    events = list(streaming().stream("Go"))

    assert [event.type for event in events] == [
        *["text_delta"] * 3,
        "tool_call",
        "tool_result",
        *["text_delta"] * 3,
        "done",
    ]


@pytest.mark.parametrize("count", range(1, 9))
def test_dropped_at_each_event(count: int):
    """A stream closed after any of its events has abandoned its turn, and kept the partial text."""
    session = streaming()
    before = kinds(session)
    stream = session.stream("Go")
    events = [next(stream) for _ in range(count)]
    stream.close()
    stream.close()

    ends_as_dropped(session, before, "stream dropped")
    check_partial(session, events)
    assert next(stream, None) is None


@pytest.mark.parametrize("count", range(1, 9))
def test_dropped_at_each_event_async(count: int):
    """The same for an async stream."""
    session = streaming()
    before = kinds(session)
    events: list[Any] = []

    async def main() -> None:
        async with await session.stream_async("Go") as stream:
            async for event in stream:
                events.append(event)
                if len(events) == count:
                    break

    asyncio.run(main())
    ends_as_dropped(session, before, "stream dropped")
    check_partial(session, events)


def check_partial(session: Session, events: Sequence[Any]) -> None:
    """The text of the answer that was cut is in the log, as far as it was handed out."""
    last = max((n for n, e in enumerate(events) if e.type.startswith("tool")), default=-1)
    heard = "".join(event.text for event in events[last + 1 :])
    failed = [f.event for f in session.events() if isinstance(f.event, ModelFailed)]

    if failed:
        assert failed[0].partial == (Message.assistant(heard) if heard else None)
        assert failed[0].error.error == "TurnDropped"


def test_a_stream_that_was_never_read_leaves_nothing():
    """A stream that is closed before its first event has asked and recorded nothing."""
    session = streaming()
    before = kinds(session)
    stream = session.stream("Go")
    stream.close()

    async def main() -> None:
        await (await session.stream_async("Go")).aclose()

    asyncio.run(main())
    assert kinds(session) == before


def test_finished_stream_can_be_closed():
    """Closing a stream at its end does nothing."""
    session = streaming()
    with session.stream("Go") as stream:
        events = list(stream)

    assert events[-1].type == "done"
    assert stream.response.text == "It is three."
    assert kinds(session)[-1] == "turn.completed"


def test_response_of_an_unfinished_stream():
    """A stream has no response before its end."""
    stream = streaming().stream("Go")
    next(stream)

    with pytest.raises(RuntimeError, match="read the stream to its end"):
        _ = stream.response


def run(session: Session, is_async: bool) -> str:
    """The text of a turn."""
    if is_async:
        return asyncio.run(session.run_async("Go")).text
    return session.run("Go").text


@pytest.mark.parametrize("is_async", [False, True])
def test_interrupted_by_the_user(is_async: bool):
    """Ctrl-C in a model call abandons the turn and comes out again."""

    def interrupted(request: object) -> Scripted:
        raise KeyboardInterrupt

    session = Agent(ScriptedModel(interrupted), "m").session()
    with pytest.raises(KeyboardInterrupt):
        run(session, is_async)

    assert kinds(session)[-2:] == ["model.failed", "turn.abandoned"]
    # asyncio turns Ctrl-C into the cancellation of the main task.
    reason = "cancelled" if is_async else "interrupted by the user"
    assert list(session.events())[-1].event == TurnAbandoned(reason=reason)


@pytest.mark.parametrize("is_async", [False, True])
def test_bug_in_a_provider(is_async: bool):
    """An exception that is none of ours abandons the turn and comes out as it is."""
    session = agent_of(ZeroDivisionError("oops")).session()
    with pytest.raises(ZeroDivisionError):
        run(session, is_async)

    assert list(session.events())[-1].event == TurnAbandoned(reason="ZeroDivisionError: oops")


# Cancelled tasks


def test_cancelled_while_a_tool_runs():
    """A cancelled task cancels its async tools, abandons the turn, and is cancelled."""
    states: list[str] = []

    async def wait() -> None:
        """Wait."""
        states.append("began")
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            states.append("cleaned up")

    async def main() -> None:
        task = asyncio.ensure_future(session.run_async("Go"))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    began = asyncio.Event()
    session = agent_of(Call("wait"), "Done", tools=[wait]).session()
    asyncio.run(main())

    assert states == ["began", "cleaned up"]
    assert kinds(session)[-2:] == ["tool.called", "turn.abandoned"]
    assert list(session.events())[-1].event == TurnAbandoned(reason="cancelled")


class GatedLog(MemoryLog):
    """A log whose appends wait at a gate, as those of a slow disk."""

    durability = Durability.FSYNC

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.gate = threading.Event()

    def append(self, stream: str, prepared: Sequence[Prepared], *, expected: Head | None) -> Head:
        """Append once the gate is open."""
        self.entered.set()
        assert self.gate.wait(SOON)
        return super().append(stream, prepared, expected=expected)


def test_cancelled_during_an_append():
    """A task that is cancelled while an append is in flight sees it through, then abandons."""
    log = GatedLog()
    session = agent_of("Hello", store=LogStore(log)).session("s")

    async def main() -> bool:
        task = asyncio.ensure_future(session.run_async("Go"))
        await asyncio.to_thread(log.entered.wait, SOON)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
        waited = not task.done()
        log.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        return waited

    assert asyncio.run(main())
    types = [fact.type for fact in log.read("s")]
    assert types == [
        "session.started",
        "turn.started",
        "model.requested",
        "model.failed",
        "turn.abandoned",
    ]
    assert kinds(session) == types
    assert session.version == 5


def test_cancelled_during_the_last_append():
    """A task that is cancelled while its turn is being completed leaves it completed."""
    log = GatedLog()
    log.gate.set()

    def close_gate(_: object) -> str:
        log.entered.clear()
        log.gate.clear()
        asking.set()
        return "Hello"

    async def main() -> None:
        task = asyncio.ensure_future(session.run_async("Go"))
        await asking.wait()
        await asyncio.to_thread(log.entered.wait, SOON)
        task.cancel()
        await asyncio.sleep(0)
        log.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asking = asyncio.Event()
    session = Agent(ScriptedModel(close_gate), "m", store=LogStore(log)).session("s")
    asyncio.run(main())

    assert kinds(session)[-2:] == ["model.responded", "turn.completed"]
    assert shown(session) == ["Go", "Hello"]


def test_one_agent_in_two_loops():
    """An agent and its session work in one event loop after another."""
    session = agent_of("a", "b", tools=[add]).session()

    assert [asyncio.run(session.run_async("Go")).text for _ in range(2)] == ["a", "b"]


def test_run_inside_a_running_loop():
    """The sync form works inside a running loop too."""

    async def main() -> str:
        return agent_of(Call("later"), "Done", tools=[later]).session().run("Go").text

    async def later() -> str:
        """Answer later."""
        await asyncio.sleep(0)
        return "x"

    assert asyncio.run(main()) == "Done"
