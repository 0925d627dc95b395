"""What becomes of calls that have no recorded result: they end the turn, wait, or run."""

from typing import Any

import pytest

from agent.engine.errors import NoRecordedResult
from agent.engine.scripted import Call, Scripted
from tests.engine.crashes import World
from tests.engine.given import shown
from tests.engine.reruns import NICE, OSLO, ROME, SAME, Town, known, listed, own, told

# Recorded alone


def test_a_call_that_was_not_made_then():
    """The turn fails with words that say what to do; it can be resumed, live."""
    town = Town()
    session = known([OSLO, NICE], "Warm.", town=town)
    rerun = session.rerun()
    error = rerun.error
    assert isinstance(error, NoRecordedResult)
    assert (error.call_id, error.tool, error.arguments) == (
        "call_11_1",
        "weather",
        '{"city":"Nice"}',
    )
    assert str(error) == (
        'call call_11_1 asks weather({"city":"Nice"}), for which no result is recorded; rerun with '
        'tool_results="ask" to decide about it, or with "live" to run it'
    )
    assert (rerun.response, rerun.served, error.completed_calls) == (None, (13,), ())
    assert own(rerun)[-3:] == ["model.responded", "tool.resolved", "turn.failed"]
    assert rerun.departure is not None
    assert (rerun.departure.version, rerun.departure.kind) == (10, "arguments")
    assert (shown(rerun.session), town.asked) == (["Hello", "Hi"], [])

    assert rerun.session.resume().text == "Warm."
    assert town.asked == ["Nice"]
    results = [m for m in rerun.session.messages if m.role == "tool"]
    assert results[0].text == "sun\nsnow in Nice"


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize("until", [11, 12, 13])
def test_a_call_that_was_under_way_and_has_no_result(until: int, dry_run: Any):
    """With the record alone it cannot go on: nothing is written."""
    session = known(until=until)
    with pytest.raises(NoRecordedResult) as caught:
        session.rerun(until, dry_run=dry_run)
    assert caught.value.call_id == ("call_10_1" if until == 13 else "call_10_0")
    assert listed(session) == ["s"]


# Asked


def test_a_person_is_asked_about_a_call_that_was_not_made_then():
    """It runs once it is approved; nothing recorded is served after it."""
    town = Town()
    rerun = known([OSLO, NICE], [ROME], "So.", town=town).rerun(tool_results="ask")
    assert rerun.response is not None
    assert [one.arguments for one in rerun.response.pending_approvals] == ['{"city":"Nice"}']
    assert (rerun.served, rerun.error, town.asked) == ((13,), None, [])

    fork = rerun.session
    fork.approve(fork.pending_approvals[0].call_id)
    (rome,) = fork.resume().pending_approvals
    assert (rome.arguments, town.asked) == ('{"city":"Rome"}', ["Nice"])
    fork.reject(rome.call_id)
    assert fork.resume().text == "So."
    assert town.asked == ["Nice"]


def test_after_the_first_other_call_nothing_is_served():
    """In the same answer, and in the next."""
    rerun = known([NICE, OSLO], town=Town()).rerun(tool_results="ask")
    assert rerun.response is not None
    assert [one.arguments for one in rerun.response.pending_approvals] == [
        '{"city":"Nice"}',
        '{"city":"Oslo"}',
    ]
    assert rerun.served == ()


def test_calls_under_way_are_asked_about():
    """Those that have a result are served, the others wait for a person."""
    town = Town()
    session = known("Wet.", until=13, town=town)
    rerun = session.rerun(12, tool_results="ask")
    assert told(rerun) == [("call_10_0", "sun", False)]
    assert rerun.response is not None
    (rome,) = rerun.response.pending_approvals
    rerun.session.approve(rome.call_id)
    assert rerun.session.resume().text == "Wet."
    assert town.asked == ["Rome"]


def test_later_turns_of_the_fork_are_asked_about_too():
    """Whoever asks to be asked is."""
    rerun = known(*SAME, [ROME]).rerun(tool_results="ask")
    assert rerun.departure is None
    assert len(rerun.session.run("Rome?").pending_approvals) == 1


# Live


def test_everything_runs():
    """Under keys of its own."""
    town = Town()
    session = known(*SAME, *SAME, town=town, until=7)
    session.run("Weather?")
    keys = list(town.keys)
    rerun = session.rerun(tool_results="live")
    assert sorted(town.asked) == ["Bern", "Bern", "Oslo", "Oslo", "Rome", "Rome"]
    assert len({*town.keys}) == 6
    assert keys == town.keys[:3]
    assert (rerun.error, rerun.departure, rerun.served) == (None, None, ())


def test_other_results_depart():
    """At the first that is another one."""
    rerun = known(*SAME).rerun(tool_results="live")
    assert rerun.departure is not None
    assert (rerun.departure.version, rerun.departure.kind, rerun.departure.causes) == (
        *(13, "result"),
        ("tool result",),
    )


def test_calls_under_way_run_again():
    """As new calls, with keys of their own."""
    town = Town()
    rerun = known("Wet.", until=13, town=town).rerun(13, tool_results="live")
    assert town.asked == ["Rome"]
    called = [f for f in rerun.session.events() if f.type == "tool.called"]
    assert [town.keys] == [[called[-1].hash.hex()]]
    assert own(rerun)[:4] == ["session.forked", "tool.resolved", "turn.resumed", "tool.called"]
    assert rerun.response is not None


@pytest.mark.parametrize("how", ["ask", "live"])
def test_the_policies_of_the_agent_stay_in_force(how: Any):
    """What asks a person asks in a rerun."""
    world = World()
    script: list[Scripted] = [Call("sign"), "Well", Call("sign")]
    session = world.agent(script).session("s")
    (pending,) = session.run("Sign").pending_approvals
    session.approve(pending.call_id)
    session.resume()
    rerun = session.rerun(tool_results=how)
    assert rerun.error is None or how == "ask"
    assert len(rerun.session.pending_approvals) == (1 if how == "live" else 0)
    assert len(world.journal) == 1


def test_what_the_agent_asks_about_is_asked_about():
    """Its policy is in force for every tool."""
    town = Town()
    rerun = known([ROME], town=town, requires_approval=True).rerun(tool_results="live")
    assert (len(rerun.session.pending_approvals), town.asked) == (1, [])
