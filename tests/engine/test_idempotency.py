"""The same request twice: one turn, one response."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, field_validator

from agent import Response, Session
from agent.engine.errors import (
    ConfigurationError,
    IdempotencyMismatch,
    OutputError,
    OwnerAlive,
    ServerFailed,
    TurnUnfinished,
)
from agent.engine.scripted import ScriptExhausted
from agent.eventstore.backends.memory import MemoryLog
from agent.eventstore.errors import StoreFull
from agent.eventstore.events import TurnStarted
from agent.eventstore.messages import ImagePart, TextPart
from agent.stores import LogStore, MemoryStore, SQLiteStore
from tests.engine.crashes import BAD, GOOD, Tea, World, asks, cut, taken
from tests.engine.gates import TappedLog, once
from tests.engine.given import agent_of, kinds, shown
from tests.engine.programs import printed


def take(session: Session, way: str, prompt: Any = "Hi", **options: Any) -> Response[Any]:
    """A turn under a key, in one of the ways."""
    return taken(session, way, prompt, **{"idempotency_key": "k", **options})


@pytest.mark.parametrize("first", ["run", "stream"])
@pytest.mark.parametrize("second", ["run", "run_async", "stream", "stream_async"])
def test_the_same_request_twice(first: str, second: str):
    """The same key gives the recorded response, equal in every field, without a model call."""
    world, store = World(), MemoryStore()
    prompt = [TextPart("See"), ImagePart.from_bytes(b"picture")]
    script = [asks("pay", "look"), ServerFailed("x", retryable=True, retry_after=0.0), "Done."]
    session = world.agent(script, store=store).session("s")
    response = take(session, first, prompt)
    agent_of("x", store=store).session("s").run("Between")
    before = store.log.head("s")

    assert take(agent_of(store=store).session("s"), second, prompt) == response
    assert take(session, second, prompt) == response
    assert store.log.head("s") == before
    assert len(world.journal) == 2


@pytest.mark.parametrize("way", ["json", "json_async"])
def test_the_same_shape_twice(way: str):
    """A json request gives the validated output again."""
    store = MemoryStore()
    response = take(agent_of(BAD, GOOD, store=store).session("s"), way)
    again = take(agent_of(store=store).session("s"), way)

    assert (again, again.output) == (response, Tea(name="Assam"))


def test_a_stream_of_what_is_recorded():
    """A stream under a known key is the last event alone."""
    session = agent_of("one two").session("s")
    response = session.run("Hi", idempotency_key="k")

    events = list(session.stream("Hi", idempotency_key="k"))
    assert [event.type for event in events] == ["done"]
    assert events[0].response == response  # pyright: ignore[reportAttributeAccessIssue]


def test_keys_are_apart():
    """Another key is another request, and so is none."""
    session = agent_of("a", "b", "c", "d").session("s")
    texts = [session.run("Hi", idempotency_key=key).text for key in ("1", "2", "1", "2")]
    assert texts == ["a", "b", "a", "b"]
    assert [session.run("Hi").text for _ in range(2)] == ["c", "d"]


def test_settings_may_differ():
    """A program with other defaults still gets the answer that it was given."""
    session = agent_of("a").session("s")
    session.run("Hi", idempotency_key="k", temperature=0.1)
    assert session.run("Hi", idempotency_key="k", model="other").text == "a"


@pytest.mark.parametrize("finished", [True, False])
def test_another_request_under_the_same_key(finished: bool):
    """Another prompt or another shape under a key that is taken is refused."""
    facts = recorded_with_key()
    session = agent_of(store=cut(facts, len(facts) - (0 if finished else 2))).session("s")
    with pytest.raises(IdempotencyMismatch, match="version 3, which has another prompt") as raised:
        session.run("Other", idempotency_key="k")
    error = raised.value
    assert (error.key, error.started) == ("k", 3)
    assert (error.recorded.text, error.given.text) == ("Hi", "Other")
    with pytest.raises(IdempotencyMismatch, match="another schema"):
        session.json("Hi", schema=Tea, idempotency_key="k")
    assert isinstance(error, ConfigurationError)


def recorded_with_key(*script: Any) -> list[Any]:
    """The events of a turn under the key."""
    session = World().agent(script or ["Hello"]).session("s")
    take(session, "run")
    return list(session.events())


def test_an_open_turn_under_the_key():
    """A turn that never ended is not begun again: it is refused, or resumed to give the answer."""
    facts = recorded_with_key(asks("look"), "x")
    version = [fact.type for fact in facts].index("tool.called") + 1
    with pytest.raises(TurnUnfinished):
        take(World().agent(store=cut(facts, version)).session("s"), "run")

    session = World().agent(store=cut(facts, version), on_unfinished="resume").session("s")
    response = take(session, "run")
    assert (response.text, shown(session)) == ("Done.", ["Hi", "", "look done", "Done."])
    assert take(session, "run") == response
    events = list(session.stream("Hi", idempotency_key="k"))
    assert [event.type for event in events] == ["done"]

    session = World().agent(store=cut(facts, version), on_unfinished="abandon").session("s")
    assert take(session, "run").text == "Done."
    assert shown(session) == ["Hi", "Done."]


def test_a_turn_that_this_handle_left_under_the_key():
    """Not even the handle that left a turn open begins it again under its key."""
    log, world = TappedLog(before={"tool.returned": once(StoreFull("full"))}), World()
    session = world.agent([asks("pay"), "x"], store=LogStore(log)).session("s")
    for error in (StoreFull, TurnUnfinished, TurnUnfinished):
        with pytest.raises(error):
            take(session, "run")

    assert len(world.journal) == 1


def test_a_turn_that_is_under_way_under_the_key():
    """While somebody runs the turn, nobody else begins it."""
    store = MemoryStore()
    session = agent_of("one two", store=store).session("s")
    with session.stream("Hi", idempotency_key="k") as stream:
        next(stream)
        with pytest.raises(OwnerAlive):
            take(agent_of("b", store=store).session("s"), "run")


def test_a_failed_turn_under_the_key():
    """A turn that failed gave no response: the next one with its key is a new one."""
    session = agent_of(ServerFailed("down"), "Hello").session("s")
    with pytest.raises(ServerFailed):
        take(session, "run")

    assert take(session, "run").text == "Hello"
    assert take(session, "run").text == "Hello"


def test_a_failed_turn_that_was_resumed():
    """The response of a turn that completed at its second try is the one that is recalled."""
    session = agent_of(ServerFailed("down"), "Hello").session("s")
    with pytest.raises(ServerFailed):
        take(session, "run")
    response = session.resume()

    assert take(session, "run") == response


def test_keys_are_inherited():
    """A fork shares its parent's past, and so its answers; what comes later is its own."""
    session = agent_of("a", "b", "c").session("s")
    take(session, "run")
    child = session.fork("child")
    assert take(child, "run").text == "a"
    session.run("More", idempotency_key="later")
    assert child.run("More", idempotency_key="later").text == "c"


def test_keys_outlive_the_history():
    """Clearing the history answers nothing anew."""
    session = agent_of("a").session("s")
    take(session, "run")
    session.clear()
    assert take(session, "run").text == "a"
    assert session.messages == []


def test_an_export_takes_the_keys_along():
    """A session that was exported and imported knows its keys."""
    session = agent_of("a").session("s")
    response = take(session, "run")
    restored = Session.from_dict(session.to_dict(), agent_of())
    assert take(restored, "run") == response


def test_a_validator_that_has_changed():
    """A shape that now refuses what it once took says so, with the text."""
    session = agent_of(GOOD).session("s")
    take(session, "json")

    class Stricter(BaseModel):
        """A tea."""

        name: str

        @field_validator("name")
        @classmethod
        def refuse(cls, name: str) -> str:
            raise ValueError("no")

    Stricter.__name__ = Stricter.model_config["title"] = "Tea"
    Stricter.model_rebuild(force=True)
    with pytest.raises(OutputError, match="does not fit the schema of now") as raised:
        session.json("Hi", schema=Stricter, idempotency_key="k")
    assert raised.value.text == GOOD


@pytest.mark.parametrize("key", ["", 1, b"k"])
def test_keys_are_text(key: Any):
    """A key is text, and belongs to a turn."""
    with pytest.raises(ConfigurationError, match="idempotency_key"):
        agent_of("a").session("s").run("Hi", idempotency_key=key)
    with pytest.raises(ConfigurationError, match="give it to run"):
        agent_of("a", idempotency_key="k")


class CountingLog(MemoryLog):
    """Counts the events that are read."""

    count = 0

    def read(self, stream: str, **options: Any) -> Any:
        """Read, and count."""
        for fact in super().read(stream, **options):
            self.count += 1
            yield fact


def test_what_a_look_up_costs():
    """A turn reads nothing of the history for its key, one that is recalled only its own events."""
    log = CountingLog()
    session = agent_of(*["a"] * 22, store=LogStore(log)).session("s")
    for number in range(20):
        session.run("Hi", idempotency_key=str(number))
    log.count = 0
    session.run("Hi", idempotency_key="new")
    session.run("Hi")
    assert log.count == 0

    session.run("Hi", idempotency_key="7")
    assert log.count == 3


RACING = """
from multiprocessing import get_context

def work(path, number, ready):
    calls = []
    def answer(request):
        calls.append(1)
        time.sleep(0.2)
        return f"from {number}"
    with SQLiteStore(path) as store:
        session = Agent(ScriptedModel(answer), "m", store=store).session("s")
        session.messages
        ready.wait()
        while True:
            try:
                return session.run("Hi", idempotency_key="k").text, len(calls)
            except Exception as error:
                assert type(error).__name__ in ("ConflictError", "OwnerAlive"), error
                time.sleep(0.02)

def put(path, number, ready, queue):
    queue.put(work(path, number, ready))

if __name__ == "__main__":
    context = get_context("fork")
    queue, ready = context.Queue(), context.Barrier(4)
    processes = [context.Process(target=put, args=(sys.argv[1], n, ready, queue)) for n in range(4)]
    for process in processes:
        process.start()
    found = [queue.get() for _ in processes]
    for process in processes:
        process.join()
    print(len({text for text, _ in found}), sum(calls for _, calls in found))
"""


def test_processes_that_race_with_one_key(tmp_path: Path):
    """Of processes that make the same request at once one asks the model, all get its answer."""
    assert printed(RACING, tmp_path / "s.db") == "1 1"
    with SQLiteStore(tmp_path / "s.db") as store:
        session = agent_of(store=store).session("s")
        assert kinds(session).count("turn.started") == 1
        with pytest.raises(ScriptExhausted):
            session.run("Hi")


def test_recorded_keys_are_what_was_given():
    """The log has the key of each turn."""
    session = agent_of("a", "b").session("s")
    session.run("Hi", idempotency_key="k")
    session.run("Hi")
    started = [f.event for f in session.events() if isinstance(f.event, TurnStarted)]
    assert [event.idempotency_key for event in started] == ["k", None]
