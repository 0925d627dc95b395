"""What tests of crashes are made of: appends that fail, models that hang, die or answer twice."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent import Agent, Message
from agent.engine.errors import ProviderTimeout
from agent.engine.provider import Answer, Delta, ModelRequest
from agent.engine.scripted import Reply, Scripted, ScriptedModel
from agent.eventstore.errors import AppendUnknown
from agent.stores import LogStore, MemoryStore, SQLiteStore
from agent.testing import FailingLog
from tests.engine.crashes import World, asks, check_whole
from tests.engine.given import TURN, agent_of, kinds, shown
from tests.engine.programs import INTERRUPTED, printed, run_program
from tests.engine.ways import WAYS, take

HANGING = Reply(text="one two ", hangs=True)


# Appends whose answer is lost


@pytest.mark.parametrize("same", [True, False], ids=["same session", "opened anew"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_any_append_fails(number: int, when: Any, same: bool):
    """Whichever append gets no answer, the same request again ends its turn, with no loss."""
    log, world = FailingLog(MemoryStore().log, fail_at=number, when=when), World()
    script: list[Scripted] = [asks("send", "look"), "Done.", "Done."]
    if (number, when) == (2, "before"):  # the answer is lost, and asked for again
        script.insert(0, asks("send", "look"))
    agent = world.agent(script, store=LogStore(log), on_unfinished="resume")
    session = agent.session("s")
    with pytest.raises(AppendUnknown):
        session.run("Go", idempotency_key="k")
    session = session if same else agent.session("s")

    assert session.run("Go", idempotency_key="k").text == "Done."
    assert shown(session) == ["Go", "", "send done\nlook done", "Done."]
    assert len({ran.key for ran in world.journal if ran.tool == "send"}) == 1
    check_whole(session)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_history_whose_acknowledgement_was_lost(when: Any):
    """A history whose first append got no answer is there once, and in nobody's way."""
    log = FailingLog(MemoryStore().log, fail_at=1, when=when)
    agent = agent_of("b", "b", store=LogStore(log), on_unfinished="abandon")
    session = agent.session("s", messages=[Message.user("x"), Message.assistant("y")])
    with pytest.raises(AppendUnknown):
        session.run("a")
    session.run("a")

    assert shown(session) == ["x", "y", "a", "b"]
    check_whole(session)


# A model that hangs


@pytest.mark.parametrize("way", WAYS)
def test_a_model_that_hangs_until_the_deadline(way: str):
    """What hangs ends with the turn's time, and what had arrived is in the log."""
    session = agent_of(HANGING, deadline=0.2).session("s")
    with pytest.raises(ProviderTimeout, match="raise deadline"):
        take(session, way)
    failed = list(session.events())[-2]

    assert kinds(session)[-2:] == ["model.failed", "turn.failed"]
    arrived = Message.assistant("one two ") if "stream" in way else None
    assert failed.event.partial == arrived  # pyright: ignore[reportAttributeAccessIssue]


def test_a_task_with_a_hanging_model_is_cancelled():
    """A cancelled task leaves a model that hangs at once."""
    session = agent_of(HANGING).session("s")

    async def main() -> None:
        stream = await session.stream_async("Hi")
        await anext(stream)
        await anext(stream)
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(main())

    assert kinds(session)[-2:] == ["model.failed", "turn.abandoned"]


def test_a_stream_of_a_hanging_model_is_closed():
    """A stream that is closed after a piece does not wait for the rest."""
    session = agent_of(HANGING).session("s")
    with session.stream("Hi") as stream:
        assert next(stream).type == "text_delta"

    assert kinds(session)[-2:] == ["model.failed", "turn.abandoned"]


HANG = """
session = Agent(ScriptedModel([Reply(text="one", hangs=True)]), "m").session("s")
"""


def test_ctrl_c_while_a_model_hangs():
    """Ctrl-C ends a program whose model hangs."""
    ended = run_program(
        HANG + "threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()\n"
        "session.run('Hi')"
    )

    assert ended.code == INTERRUPTED
    assert ended.errors.strip().splitlines()[-1] == "KeyboardInterrupt"


@pytest.mark.parametrize("take", ["session.run('Hi')", "asyncio.run(session.run_async('Hi'))"])
def test_a_hanging_model_does_not_keep_the_interpreter(take: str):
    """A thread whose model hangs goes on until the program is at its end, and no longer."""
    program = f"""
from agent.errors import ProviderTimeout

def hang():
    began.set()
    try:
        {take}
    except ProviderTimeout:
        print("over")

threading.Thread(target=hang).start()
assert began.wait(40)
"""

    assert printed(HANG + program) == "over"


# A model that kills


def test_a_process_dies_while_the_model_answers(tmp_path: Path):
    """The process is killed after the pieces; the turn is open and can be resumed."""
    program = """
model = ScriptedModel([Reply(text="one two", dies=True)])
for event in Agent(model, "m", store=SQLiteStore(sys.argv[1])).session("s").stream("Hi"):
    print(event.text, flush=True)
"""
    ended = run_program(program, tmp_path / "s.db")
    with SQLiteStore(tmp_path / "s.db") as store:
        session = Agent(ScriptedModel(["Done."]), "m", store=store).session("s")
        assert session.unfinished_turn is not None
        assert session.unfinished_turn.waiting_for == "model"
        assert session.resume().text == "Done."

    assert tuple(ended) == (-9, "one \ntwo", "")


# A model that answers twice


class Twice(ScriptedModel):
    """Gives each answer twice, and notes whether anybody hears the second one."""

    heard = 0

    def call(self, request: ModelRequest) -> Iterator[Delta | Answer]:
        """Answer."""
        for item in super().call(request):
            yield item
            if isinstance(item, Answer):
                self.heard += 1
                yield item

    async def call_async(self, request: ModelRequest) -> AsyncIterator[Delta | Answer]:
        """Answer."""
        for item in self.call(request):
            yield item


@pytest.mark.parametrize("way", WAYS)
def test_an_answer_that_comes_twice(way: str):
    """The first answer ends the call: the second is never asked for, nor in the log."""
    model = Twice(["Hello"])
    session = Agent(model, "m").session("s")

    assert take(session, way).text == "Hello"
    assert kinds(session)[-4:] == TURN
    assert (shown(session), model.heard) == (["Hi", "Hello"], 0)
