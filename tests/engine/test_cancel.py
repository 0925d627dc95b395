"""A turn that is cancelled from outside: wherever it is, it has one end, and the next is whole."""

import asyncio
import signal
import threading
from collections.abc import Callable

import pytest

from agent import Agent, Session
from agent.engine.errors import ServerFailed, TurnCancelled
from agent.engine.scripted import Call, Reply, ScriptedModel
from agent.eventstore.errors import InvalidEvent
from agent.eventstore.events import ModelFailed, TurnAbandoned
from agent.stores import LogStore
from tests.engine.gates import SOON, TappedLog
from tests.engine.given import TURN, add, agent_of, kinds, shown
from tests.engine.ways import STREAMS, WAYS, WHOLES, agent_at, take
from tests.fakes.raw_server import Peer, RawServer, chunk, delta, holding

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def cancelled(session: Session, way: str, when: Callable[[], object]) -> TurnCancelled:
    """The error of a turn that another thread cancels once the call returns."""
    found: list[bool] = []

    def work() -> None:
        when()
        found.append(session.cancel("stop"))

    thread = threading.Thread(target=work)
    thread.start()
    with pytest.raises(TurnCancelled, match="cancelled: stop") as caught:
        take(session, way)
    thread.join(SOON)
    assert found == [True]
    assert abandoned(session) == ["stop"]
    assert session.messages == []
    return caught.value


def abandoned(session: Session) -> list[str]:
    """The reason of each turn that was abandoned."""
    return [f.event.reason for f in session.events() if isinstance(f.event, TurnAbandoned)]


@pytest.mark.parametrize("way", WAYS)
def test_in_a_model_call(way: str):
    """The connection is hung up, and the call has failed in the log."""
    read = threading.Event()

    def act(peer: Peer) -> None:
        peer.read_request()
        read.set()
        peer.wait(SOON)

    with RawServer(act) as server, agent_at(server.base_url) as agent:
        session = agent.session()
        cancelled(session, way, lambda: read.wait(SOON))
        assert server.hung_up.wait(SOON)
    assert kinds(session)[-4:] == [*TURN[:2], "model.failed", "turn.abandoned"]


@pytest.mark.parametrize("is_async", [False, True])
def test_the_partial_answer(is_async: bool):
    """What the reader had been handed is in the log when the turn is cancelled."""
    act = holding(HEAD + chunk(delta(b'"Hel"')))
    with RawServer(act) as server, agent_at(server.base_url) as agent:
        session = agent.session()

        async def read() -> None:
            async for _ in await session.stream_async("Hi"):
                assert session.cancel("stop")

        def turn() -> None:
            if is_async:
                asyncio.run(read())
            for _ in session.stream("Hi"):
                assert session.cancel("stop")

        with pytest.raises(TurnCancelled):
            turn()
        assert server.hung_up.wait(SOON)
    (failed,) = [f.event for f in session.events() if isinstance(f.event, ModelFailed)]
    assert failed.partial is not None
    assert failed.partial.text == "Hel"
    assert abandoned(session) == ["stop"]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("is_async", [False, True])
def test_in_a_tool(way: str, is_async: bool):
    """What had run is listed, an async tool is cancelled, and the call is of unknown outcome."""
    began, release, ended = threading.Event(), threading.Event(), threading.Event()

    def block() -> None:
        began.set()
        release.wait(SOON)

    async def wait() -> None:
        began.set()
        try:
            await asyncio.sleep(SOON)
        finally:
            ended.set()

    name = "wait" if is_async else "block"
    script = [Call("add", {"a": 1, "b": 2}), Call(name), "Done"]
    session = agent_of(*script, tools=[add, block, wait]).session()
    error = cancelled(session, way, lambda: began.wait(SOON))
    release.set()

    assert len(error.completed_calls) == 1
    assert kinds(session)[-2:] == ["tool.called", "turn.abandoned"]
    assert not is_async or ended.wait(SOON)
    unfinished = session.unfinished_turn
    assert unfinished is not None
    assert [call.state for call in unfinished.calls] == ["done", "unknown"]


@pytest.mark.parametrize("way", WAYS)
def test_while_waiting_to_retry(way: str):
    """The wait is over at once, and the model is not asked again."""
    failed = threading.Event()
    log = TappedLog(after={"model.failed": failed.set})
    model = ScriptedModel([ServerFailed("down", retryable=True, retry_after=SOON), "Done"])
    session = Agent(model, "m", store=LogStore(log)).session("s")
    cancelled(session, way, lambda: failed.wait(SOON))

    assert len(model.requests) == 1


@pytest.mark.parametrize("way", STREAMS)
def test_between_two_reads(way: str):
    """A stream that nobody reads at the moment ends with its next read."""
    session = agent_of("one two three", "Next").session()

    async def read() -> None:
        stream = await session.stream_async("Hi")
        await anext(stream)
        assert session.cancel("stop")
        async for _ in stream:
            pass

    def turn() -> None:
        if way == "stream_async":
            asyncio.run(read())
        stream = session.stream("Hi")
        next(stream)
        assert session.cancel("stop")
        list(stream)

    with pytest.raises(TurnCancelled):
        turn()
    assert abandoned(session) == ["stop"]
    assert take(session, way).text == "Next"


def test_a_cancelled_stream_that_is_closed():
    """The log has the reason of whoever cancelled, once."""
    session = agent_of("one two three").session()
    with session.stream("Hi") as stream:
        next(stream)
        assert session.cancel("first")
        assert session.cancel("second")

    assert abandoned(session) == ["first"]


def test_from_a_signal_handler():
    """The turn of the thread that the handler interrupts ends too."""
    session = agent_of(Call("hit"), "Done", tools=[hit]).session()
    before = signal.signal(signal.SIGUSR1, lambda *_: session.cancel("signal"))
    try:
        with pytest.raises(TurnCancelled):
            session.run("Hi")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert abandoned(session) == ["signal"]


def hit() -> None:
    """Interrupt the main thread, and stay."""
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
    threading.Event().wait(0.5)


def test_from_another_task():
    """The task that takes the turn goes on after the error: it is not cancelled itself."""
    began = asyncio.Event()

    async def wait() -> None:
        began.set()
        await asyncio.Event().wait()

    session = agent_of(Call("wait"), "Done", tools=[wait]).session()

    async def main() -> str:
        turn = asyncio.create_task(run_twice(session))
        await began.wait()
        assert session.cancel("stop")
        return await turn

    assert asyncio.run(main()) == "Done"


async def run_twice(session: Session) -> str:
    """The answer of the turn after one that is cancelled."""
    with pytest.raises(TurnCancelled):
        await session.run_async("Hi")
    await asyncio.sleep(0)
    return (await session.run_async("Again")).text


@pytest.mark.parametrize("way", WAYS)
def test_right_after_the_end(way: str):
    """A turn that has ended is not cancelled, and the next is not either."""
    session = agent_of("one", "two").session()
    take(session, way)

    assert not session.cancel()
    assert take(session, way).text == "two"
    assert abandoned(session) == []


def test_without_a_turn():
    """There is nothing to cancel before the first turn, nor in a stream that nobody has read."""
    session = agent_of("one").session()
    stream = session.stream("Hi")

    assert not session.cancel()
    assert len(list(stream)) == 2


@pytest.mark.parametrize("way", WHOLES)
def test_while_the_last_append_lands(way: str):
    """What is being written is kept: the caller gets the response."""
    found: list[bool] = []
    log = TappedLog(before={"turn.completed": lambda: found.append(session.cancel())})
    session = Agent(ScriptedModel(["one"]), "m", store=LogStore(log)).session("s")

    assert take(session, way).text == "one"
    assert found == [True]
    assert shown(session) == ["Hi", "one"]


def test_at_any_moment():
    """Cancelled at random, each turn is in the history whole or not at all, with one end."""
    session = agent_of(*[Reply(text="a b c", delay=0.0002)] * 200).session()
    over = threading.Event()

    def pester() -> None:
        while not over.wait(0.0005):
            session.cancel()

    thread = threading.Thread(target=pester)
    thread.start()
    completed = 0
    for _ in range(100):
        try:
            list(session.stream("Hi"))
        except TurnCancelled:
            continue
        completed += 1
    over.set()
    thread.join(SOON)

    types = kinds(session)
    assert types.count("turn.started") == completed + types.count("turn.abandoned")
    assert types.count("turn.completed") == completed
    assert len(session.messages) == 2 * completed


def test_a_reason_that_no_log_can_keep():
    """It is refused where it is given, and the turn goes on."""
    session = agent_of("one two").session()
    stream = session.stream("Hi")
    next(stream)
    with pytest.raises(InvalidEvent):
        session.cancel("\ud800")

    assert next(stream).type == "text_delta"
    stream.close()
