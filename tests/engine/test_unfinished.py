"""A turn that did not end: what it shows, what may be done about it, and what may not."""

from typing import Any

import pytest
from pydantic import BaseModel

from agent import Tool
from agent.engine.errors import (
    ConfigurationError,
    InvalidTool,
    LimitExceeded,
    NothingUnfinished,
    OutcomeUnknown,
    OutputError,
    ServerFailed,
)
from agent.engine.scripted import Call, Reply
from agent.engine.unfinished import Ending
from agent.eventstore.errors import InvalidEvent
from agent.eventstore.messages import Message
from agent.stores import LogStore
from tests.engine.crashes import (
    BAD,
    GOOD,
    Tea,
    World,
    asks,
    check_whole,
    cut,
    left,
    opened,
    recorded,
    resumed,
)
from tests.engine.gates import TappedLog
from tests.engine.given import add, agent_of, kinds, shown

WAYS = ["resume", "resume_async", "resume_stream", "resume_stream_async"]


# Going on


@pytest.mark.parametrize("way", WAYS)
def test_the_call_is_made_again(way: str):
    """A model call without an answer is made again with the recorded model and settings."""
    first = agent_of(Reply(text="x"), store=(store := LogStore(TappedLog()))).session("s")
    stream = first.stream("Hi", model="big", temperature=0.5)
    next(stream)
    facts = list(first.events())
    stream.close()
    agent = agent_of("Hello", store=cut(facts, len(facts)))
    session = agent.session("s")
    response = resumed(session, way)

    assert (response.text, shown(session)) == ("Hello", ["Hi", "Hello"])
    prompt = agent.provider.requests[0].prompt  # pyright: ignore[reportAttributeAccessIssue]
    assert (prompt.model, prompt.settings.temperature) == ("big", 0.5)
    assert prompt.stream == ("stream" in way)
    assert kinds(session)[3:] == [
        *("turn.resumed", "model.requested", "model.responded", "turn.completed")
    ]
    store.close()


def test_results_are_used_and_not_repeated():
    """What has run does not run again; usage and calls of the whole turn are in the response."""
    whole = World()
    session = whole.agent([asks("pay", "look"), "Done."]).session("s")
    response = session.run("Do it")
    facts = list(session.events())
    last = [f.version for f in facts if f.type == "tool.returned"][-1]
    world = World()
    again = opened(cut(facts, last), world).resume()

    assert world.journal == []
    assert (again.messages[:3], again.tool_calls) == (response.messages[:3], response.tool_calls)
    assert again.usage == response.usage
    assert again.version == response.version + 1


def test_an_answer_is_not_asked_for_again():
    """A turn that only lacks its end gets that alone."""
    facts = recorded(World().agent(["Hello"]).session("s"), "Hi")
    session = opened(cut(facts, len(facts) - 1))
    assert session.unfinished_turn is not None
    assert session.unfinished_turn.waiting_for == "end"

    assert session.resume().text == "Hello"
    assert kinds(session)[-2:] == ["turn.resumed", "turn.completed"]


def test_attempts_are_counted_on():
    """Step and attempt go on where the log stops."""
    flaky = ServerFailed("down", retryable=True, retry_after=0.0)
    facts = recorded(World().agent([flaky, "Hello"]).session("s"), "Hi")
    session = opened(cut(facts, [f.type for f in facts].index("model.failed") + 1))
    session.resume()

    asked = [f.event for f in session.events() if f.type == "model.requested"]
    assert [(e.step, e.attempt) for e in asked] == [(1, 1), (1, 2)]  # pyright: ignore[reportAttributeAccessIssue]


def test_a_failed_turn_is_taken_up_again():
    """A turn whose tools had run and whose model then failed goes on after them."""
    world = World()
    session = world.agent([asks("pay"), ServerFailed("down"), "Done."]).session("s")
    with pytest.raises(ServerFailed):
        session.run("Do it")
    found = session.unfinished_turn
    assert found is not None
    assert found.ended == Ending("failed", "ServerFailed: down")
    assert [(call.tool, call.state) for call in found.calls] == [("pay", "done")]

    assert session.resume().text == "Done."
    assert len(world.journal) == 1
    assert session.unfinished_turn is None
    check_whole(session)


def test_a_turn_at_its_limit_goes_on_with_a_higher_one():
    """Resuming under the same limit fails and writes nothing; under a higher one it goes on."""
    store = LogStore(TappedLog())
    session = agent_of(Call("add", {"a": 1, "b": 2}), tools=[add], store=store, max_steps=1)
    with pytest.raises(LimitExceeded):
        session.session("s").run("Hi")
    before = store.log.head("s")
    with pytest.raises(LimitExceeded):
        session.session("s").resume()
    assert store.log.head("s") == before

    again = agent_of("3", tools=[add], store=store, max_steps=2).session("s")
    assert again.resume().text == "3"


def test_a_dropped_stream_is_taken_up_again():
    """A stream that was left half way can be resumed, and is until something else happens."""
    session = agent_of("one two", "Hello", "x").session("s")
    stream = session.stream("Hi")
    next(stream)
    assert session.unfinished_turn is not None
    assert session.unfinished_turn.owner_alive is True

    assert session.resume().text == "Hello"
    assert shown(session) == ["Hi", "Hello"]
    session.run("More")
    with pytest.raises(NothingUnfinished, match="takes a new one"):
        session.resume()


def test_an_abandoned_turn_says_why():
    """What was given up shows the reason, until the next turn."""
    session = opened(left("pay"))
    session.abandon("the customer has left")
    assert session.unfinished_turn is not None
    assert session.unfinished_turn.ended == Ending("abandoned", "the customer has left")
    session.run("Next")
    assert session.unfinished_turn is None


def test_a_change_of_the_history_closes_the_door():
    """What failed cannot be taken up once the history was changed."""
    session = agent_of(ServerFailed("down")).session("s")
    with pytest.raises(ServerFailed):
        session.run("Hi")
    session.add_message(Message.user("x"))

    assert session.unfinished_turn is None
    with pytest.raises(NothingUnfinished):
        session.resume()


def test_a_forced_tool_that_is_gone():
    """A turn that began goes on as its log says, even if no such turn could begin today."""
    session = agent_of(Call("add", {"a": 1, "b": 2}), "3", tools=[add]).session("s")
    session.run("Add", tool_choice="required", parallel_tool_calls=False)
    version = kinds(session).index("model.requested") + 1
    again = agent_of("3", store=cut(list(session.events()), version)).session("s")

    assert again.resume().text == "3"


def test_tools_of_now_are_offered():
    """A resumed turn offers the tools that there are now; a call of another is answered."""
    facts = recorded(World().agent([asks("pay"), "x"]).session("s"), "Do it")
    store = cut(facts, [f.type for f in facts].index("model.responded") + 1)
    session = agent_of("Sorry", tools=[add], store=store).session("s")
    session.resume()

    assert kinds(session)[5:9] == [
        *("turn.resumed", "tools.declared", "tool.returned", "model.requested")
    ]
    assert shown(session)[2] == "UnknownTool: there is no tool 'pay'; the tools are: add"


# Unknown outcomes


@pytest.mark.parametrize(
    ("decision", "told", "runs"),
    [
        ({"result": {"paid": 7}}, '{"paid":7}', 0),
        ({"result": None}, "null", 0),
        ({"failed": "card declined"}, "card declined", 0),
        ({"retry": True}, "pay done", 1),
    ],
)
def test_somebody_decides(decision: dict[str, Any], told: str, runs: int):
    """A call of unknown outcome waits for a decision, and the turn goes on with it."""
    store, world = left("pay"), World()
    session = opened(store, world)
    before = store.log.head("s")
    with pytest.raises(OutcomeUnknown, match=r"knows whether they have run: call_5_0 \(pay\)") as e:
        session.resume()
    assert store.log.head("s") == before
    (call,) = e.value.calls
    assert (call.tool, call.arguments, call.state) == ("pay", "{}", "unknown")
    session.resolve(call.call_id, **decision)
    assert session.unfinished_turn is not None
    assert session.unfinished_turn.waiting_for == ("tools" if runs else "model")
    session.resume()

    assert shown(session)[2] == told
    assert session.messages[2].tool_results[0].is_error == ("failed" in decision)
    assert len(world.journal) == runs


def test_a_missing_tool_is_decided_about():
    """A call that was started by a tool that is gone waits as well, whatever that tool was."""
    session = agent_of("Done.", store=left("look")).session("s")
    with pytest.raises(OutcomeUnknown):
        session.resume()


def test_decisions_about_an_ended_turn():
    """A decision opens a turn again that had ended, and is not lost when the next one comes."""
    store = left("pay", "look")
    opened(store).abandon()
    session = opened(store)
    with pytest.raises(OutcomeUnknown) as raised:
        session.resume()
    session.resolve(raised.value.calls[0].call_id, failed="lost")
    session.resume()

    assert kinds(session)[6:10] == [
        *("turn.abandoned", "turn.resumed", "tool.resolved", "turn.resumed")
    ]
    check_whole(session)


@pytest.mark.parametrize(
    "decision",
    [{}, {"result": 1, "retry": True}, {"retry": False}, {"retry": 1}, {"failed": ""}],
)
def test_decisions_that_are_none(decision: dict[str, Any]):
    """A decision is exactly one of three."""
    session = opened(left("pay"))
    with pytest.raises(ConfigurationError, match="takes one of"):
        session.resolve("call_5_0", **decision)
    assert session.version == 6


def test_decisions_about_other_calls():
    """Only a call of unknown outcome is decided about, and once; results are JSON."""
    store = left("pay", "look")
    session = opened(store)
    for call_id in ("call_1_1", ""):
        with pytest.raises(ConfigurationError, match="unknown in this turn: call_5_0"):
            session.resolve(call_id, retry=True)
    with pytest.raises(InvalidEvent):
        session.resolve("call_5_0", result=float)
    session.resolve("call_5_0", result="x")
    with pytest.raises(ConfigurationError, match="unknown in this turn: none"):
        session.resolve("call_5_0", result="x")
    session.resume()
    with pytest.raises(NothingUnfinished):
        session.resolve("call_5_0", result="x")


@pytest.mark.parametrize("flags", [{"retry_safe": True, "idempotent": True}, {"idempotent": 1}])
def test_contradictory_tools(flags: dict[str, Any]):
    """A tool is run again as a new call, or with the same key: not both."""
    with pytest.raises(InvalidTool, match=r"choose one|True or False"):
        Tool(add, **flags)


def test_a_tool_of_a_tool_keeps_what_it_is():
    """Renaming a tool changes nothing about its repetition, unless told to."""
    read = Tool(add, retry_safe=True)
    assert (Tool(read, name="b").retry_safe, Tool(read, name="b").idempotent) == (True, False)
    assert not Tool(read, retry_safe=False).retry_safe
    assert Tool(read, idempotent=True).idempotent


def test_giving_up_nothing_writes_nothing():
    """A session that was never used is not begun by abandoning its turn."""
    session = agent_of("x").session("s")
    session.abandon()
    assert (session.version, session.unfinished_turn) == (0, None)


# Shapes


def test_a_shape_is_resumed_with_its_schema():
    """A json turn goes on with the schema that it was given, and no other."""

    class Coffee(BaseModel):
        name: str
        beans: int

    facts = recorded(World().agent([BAD, GOOD]).session("s"), "Tea?", shaped=True)
    store = cut(facts, [f.type for f in facts].index("output.rejected") + 1)
    session = agent_of(GOOD, store=store).session("s")
    before = store.log.head("s")
    with pytest.raises(ConfigurationError, match=r"'Tea': resume it with its schema"):
        session.resume()
    with pytest.raises(ConfigurationError, match="its schema has changed since"):
        session.resume(schema=Coffee)
    with pytest.raises(ConfigurationError, match="resume it with its schema"):
        list(session.resume_stream())
    assert store.log.head("s") == before

    assert session.resume(schema=Tea).output == Tea(name="Assam")
    assert shown(session) == ["Tea?", GOOD]


def test_a_shape_that_was_cut_is_asked_for_again():
    """Resuming a turn whose answer the token limit has cut asks for it again, and says so."""
    script = [Reply(text='{"na', finish_reason="length"), Reply(text='{"', finish_reason="length")]
    session = agent_of(*script, GOOD).session("s")
    with pytest.raises(OutputError, match="cut at the token limit"):
        session.json("Tea?", schema=Tea)
    with pytest.raises(OutputError, match="cut at the token limit"):
        session.resume(schema=Tea)
    assert session.resume(schema=Tea).output == Tea(name="Assam")

    provider: Any = session._handle.provider
    assert [len(request.messages) for request in provider.requests] == [1, 3, 5]
    assert "cut at the token limit" in provider.requests[1].messages[-1].text
    assert shown(session) == ["Tea?", GOOD]
    check_whole(session)


def test_a_plain_turn_takes_no_schema():
    """A turn that was not asked for a shape is not resumed into one."""
    with pytest.raises(ConfigurationError, match="without schema="):
        opened(left("look")).resume(schema=Tea)
