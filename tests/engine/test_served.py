"""Recorded results, served again: for which calls, and whatever had answered them."""

from pathlib import Path
from typing import Any

import pytest

from agent import Session
from agent.engine.errors import NoRecordedResult
from agent.engine.scripted import Call
from agent.engine.served import same_call
from agent.engine.tools import Tool
from agent.eventstore.messages import ToolCallPart
from tests.engine.crashes import World, cut
from tests.engine.given import Stage, agent_of, answered, kinds, outcome
from tests.engine.reruns import BERN, OSLO, ROME, SAME, Town, known, own, told

# Which calls are the same


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ('{"a":1,"b":2}', '{ "b": 2, "a": 1 }', True),
        ('{"a":{"x":1,"y":2}}', '{"a":{"y":2,"x":1}}', True),
        ("", "{}", True),
        ('{"a":1}', '{"a":2}', False),
        ('{"a":[1,2]}', '{"a":[2,1]}', False),
        ('{"a":1}', '{"a":"1"}', False),
        ('{"a":1}', '{"a":true}', False),
        ('{"a":1}', "{}", False),
        (" ", "{}", True),
        ('{"a":1,"a":2}', '{"a":2}', False),
        ('{"a":123456789012345678901}', '{"a":123456789012345678902}', False),
        ("{", "{", True),
        ("{", "{x", False),
        ("{", "{}", False),
        ("[" * 5000, "[" * 5000, True),
    ],
)
def test_arguments(one: str, other: str, same: bool):
    """Spaces and the order of names do not count; what does not decode has to be the same text."""
    calls = [ToolCallPart("c", "a", text) for text in (one, other)]
    assert same_call(*calls) is same
    assert same_call(*reversed(calls)) is same


def test_tools():
    """Another tool is another call; another id is not."""
    assert same_call(ToolCallPart("1", "a", "{}"), ToolCallPart("2", "a", "{}", "theirs"))
    assert not same_call(ToolCallPart("1", "a", "{}"), ToolCallPart("1", "b", "{}"))


# Served


def test_nothing_runs(tmp_path: Path):
    """A tool that would write a file is not asked, though its code is there."""

    def weather(city: str) -> str:
        (tmp_path / city).write_text("asked")
        return city

    rerun = known(*SAME, tools=[weather]).rerun()
    assert rerun.error is None
    assert list(tmp_path.iterdir()) == []


def test_other_spellings():
    """The same call is the same, however it is written."""
    spelled = [Call("weather", '{ "city" : "Oslo" }'), ROME]
    rerun = known(spelled, BERN, "Mixed.").rerun()
    assert (rerun.error, rerun.departure, rerun.served) == (None, None, (13, 14, 18))


def test_another_order_of_parallel_calls():
    """Each gets its own result."""
    rerun = known([ROME, OSLO], BERN, "Mixed.").rerun()
    assert [text for _, text, _ in told(rerun)] == ["fog", "sun", "rain"]
    assert (rerun.error, rerun.served) == (None, (14, 13, 18))


def test_calls_in_other_answers():
    """One after the other, or together."""
    rerun = known(BERN, [ROME], [OSLO], "Mixed.").rerun()
    assert [text for _, text, _ in told(rerun)] == ["rain", "fog", "sun"]
    assert rerun.error is None


def test_a_call_less():
    """Its result is left over."""
    rerun = known([OSLO], "Sunny.").rerun()
    assert (rerun.error, rerun.served) == (None, (13,))


def twice(first: str, second: str) -> Session:
    """A session in which one call was made twice, with these results."""
    stage = Stage(tools=Town().tools)
    calls = [OSLO, OSLO]
    results = [outcome("call_5_0", first), outcome("call_5_1", second)]
    stage.play(answered(calls=calls), None, results, answered("So."))
    agent = agent_of([OSLO], [OSLO], [OSLO], "So.", store=cut(stage.facts, 99), tools=Town().tools)
    return agent.session("s")


def test_the_same_call_twice():
    """It gets its results one after the other, and no third."""
    rerun = twice("sun", "fog").rerun()
    assert [text for _, text, _ in told(rerun)] == ["sun", "fog"]
    assert isinstance(rerun.error, NoRecordedResult)
    assert rerun.error.arguments == '{"city":"Oslo"}'


def test_an_error_is_served_as_an_error():
    """As the tool raised it then."""

    def weather(city: str) -> str:
        raise ValueError(city)

    session = known([ROME], "Hm", [ROME], "Hm", until=7, tools=[weather])
    session.run("Rome?")
    rerun = session.rerun()
    assert told(rerun) == [("call_12_0", "ValueError: Rome", True)]
    assert (rerun.error, rerun.departure) == (None, None)


@pytest.mark.parametrize(
    ("given", "text", "is_error"),
    [({"result": "sun"}, "sun", False), ({"failed": "gone"}, "gone", True)],
)
def test_what_somebody_decided_is_served(given: Any, text: str, is_error: bool):
    """As the result of its call."""
    session = known(*SAME[1:], *SAME, until=13)
    session.resolve("call_10_1", **given)
    session.resume()
    rerun = session.rerun()
    assert told(rerun)[1] == ("call_11_1", text, is_error)
    assert (rerun.error, rerun.departure) == (None, None)


def test_a_call_that_was_repeated():
    """The result of the repetition is that of the call."""
    town = Town()
    session = known(*SAME[1:], *SAME, until=13, town=town)
    session.resolve("call_10_1", retry=True)
    session.resume()
    assert sorted(town.asked) == ["Bern", "Rome"]
    rerun = session.rerun()
    assert [text for _, text, _ in told(rerun)] == ["sun", "snow in Rome", "snow in Bern"]
    assert (rerun.error, rerun.departure, len(town.asked)) == (None, None, 2)


def test_a_tool_that_there_was_not():
    """The model is told again that there is none."""
    session = known(Call("nope"), "Oh", Call("nope"), "Oh", until=7)
    session.run("Try")
    rerun = session.rerun()
    assert (rerun.error, rerun.departure, rerun.served) == (None, None, ())
    assert "tool.returned" in own(rerun)


def test_a_tool_that_there_was_not_and_is_now():
    """That there was none is no result of it."""

    def nope() -> str:
        return "yes"

    session = known(Call("nope"), "Oh", Call("nope"), "Oh", until=7)
    session.run("Try")
    rerun = session.rerun(tools=[nope])
    assert isinstance(rerun.error, NoRecordedResult)
    assert rerun.error.tool == "nope"


@pytest.mark.parametrize("how", ["recorded", "ask", "live"])
def test_a_tool_that_nobody_has_called_before(how: Any):
    """With the record alone the turn ends: how often it would be tried nobody could say."""
    rerun = known(Call("nope"), [OSLO, ROME], "So.").rerun(tool_results=how)
    if how == "recorded":
        assert isinstance(rerun.error, NoRecordedResult)
        return
    assert rerun.error is None
    assert (len(rerun.served), kinds(rerun.session).count("tool.returned")) == (
        (2, 1) if how == "ask" else (0, 3)
    )


def test_a_tool_that_came_in_the_middle_of_a_turn():
    """Its result is one."""

    def late() -> str:
        return "now"

    tools = [*Town().tools, late]
    session = known(ValueError("down"), until=7)
    with pytest.raises(ValueError, match="down"):
        session.run("Try")
    script = [Call("late"), "So.", Call("late"), "So."]
    again = agent_of(*script, store=session._agent.store, tools=tools).session("s")
    again.resume()
    rerun = again.rerun()
    assert (rerun.error, [text for _, text, _ in told(rerun)]) == (None, ["now"])


def test_a_refusal_is_served():
    """Nobody is asked again what a person has refused, and the tool does not run."""
    world = World()
    session = world.agent([Call("sign"), "Well", Call("sign"), "Well"]).session("s")
    (pending,) = session.run("Sign").pending_approvals
    session.reject(pending.call_id, "no")
    session.resume()
    rerun = session.rerun()
    words = "ApprovalRejected: a person has refused this call: no"
    assert told(rerun) == [("call_6_0", words, True)]
    assert (rerun.error, rerun.departure, world.journal) == (None, None, [])


def test_an_approved_call_is_served():
    """Without another approval: nothing runs."""
    world = World()
    session = world.agent([Call("sign"), "Well", Call("sign"), "Well"]).session("s")
    (pending,) = session.run("Sign").pending_approvals
    session.approve(pending.call_id)
    session.resume()
    rerun = session.rerun()
    assert [text for _, text, _ in told(rerun)] == ["sign done"]
    assert (rerun.error, rerun.departure, len(world.journal)) == (None, None, 1)


def test_arguments_that_were_refused():
    """Also before a person would have been asked."""
    tool = Tool(Town().weather, requires_approval=True)
    wrong = Call("weather", {"town": 1})
    session = known(wrong, "Oh", wrong, "Oh", until=7, tools=[tool])
    session.run("Try")
    rerun = session.rerun()
    assert (rerun.error, rerun.departure, len(rerun.served)) == (None, None, 1)


def test_a_turn_that_waits_for_a_person():
    """Its call has no result; the record alone does not answer it."""
    world = World()
    session = world.agent([Call("sign"), Call("sign"), Call("sign")]).session("s")
    session.run("Sign")
    alone = session.rerun()
    assert isinstance(alone.error, NoRecordedResult)
    asked = session.rerun(tool_results="ask")
    assert asked.response is not None
    assert [one.tool for one in asked.response.pending_approvals] == ["sign"]
    assert (asked.departure, world.journal) == (None, [])
    assert len(session.pending_approvals) == 1
