"""A recorded turn, taken again in a fork: which one, from where, and what is left of it."""

import asyncio

import pytest

from agent.engine.errors import ConfigurationError
from agent.engine.scripted import Scripted
from agent.errors import UnknownStream
from agent.eventstore.events import SessionForked
from agent.testing import Call
from tests.engine.given import kinds, shown
from tests.engine.reruns import (
    AGAIN,
    BERN,
    ROME,
    SAME,
    Town,
    asked,
    known,
    listed,
    own,
    recorded,
    told,
    untouched,
)

SERVED = [("call_11_0", "sun", False), ("call_11_1", "fog", False), ("call_15_0", "rain", False)]


def test_the_last_turn_is_taken_again():
    """In a fork from right before it; nothing departs, no tool runs, the original stays."""
    town = Town()
    session = known(*SAME, town=town)
    facts = list(session.events())
    rerun = session.rerun()

    assert rerun.plan.turn == 8
    assert rerun.response is not None
    assert (rerun.response.text, rerun.error, rerun.departure) == ("Mixed.", None, None)
    assert rerun.served == (13, 14, 18)
    assert own(rerun) == AGAIN
    assert told(rerun) == SERVED
    assert town.asked == []
    assert shown(rerun.session) == shown(session)
    untouched(session, facts)


REST = AGAIN[2:]
OPEN: dict[int, tuple[tuple[Scripted, ...], list[str]]] = {
    8: (SAME, ["session.forked", "turn.resumed", *REST]),
    9: (SAME, ["session.forked", "turn.resumed", *REST]),
    10: (SAME[1:], ["session.forked", "turn.resumed", *REST[2:]]),
    11: (SAME[1:], ["session.forked", "tool.resolved", "turn.resumed", *REST[3:]]),
    12: (SAME[1:], ["session.forked", "tool.resolved", "tool.resolved", "turn.resumed", *REST[4:]]),
    13: (SAME[1:], ["session.forked", "tool.resolved", "turn.resumed", *REST[4:]]),
    14: (SAME[1:], ["session.forked", "turn.resumed", *REST[4:]]),
    15: (SAME[1:], ["session.forked", "turn.resumed", *REST[4:]]),
    16: (SAME[2:], ["session.forked", "turn.resumed", *REST[6:]]),
    17: (SAME[2:], ["session.forked", "tool.resolved", "turn.resumed", *REST[7:]]),
    18: (SAME[2:], ["session.forked", "turn.resumed", *REST[7:]]),
    19: (SAME[2:], ["session.forked", "turn.resumed", *REST[7:]]),
    20: ((), ["session.forked", "turn.resumed", "turn.completed"]),
}


@pytest.mark.parametrize("at", OPEN)
def test_a_turn_goes_on_from_any_version_inside_of_it(at: int):
    """What came after is asked and served again, and comes to the same."""
    script, events = OPEN[at]
    town = Town()
    session = known(*script, town=town)
    rerun = session.rerun(at)
    assert (rerun.plan.turn, rerun.plan.at) == (8, at)
    assert own(rerun) == events
    assert (rerun.error, rerun.departure) == (None, None)
    assert rerun.served == tuple(version for version in (13, 14, 18) if version > at)
    assert shown(rerun.session) == shown(session)
    assert town.asked == []


@pytest.mark.parametrize("at", [1, 2, 3])
def test_from_a_settled_version_the_next_turn_is_taken(at: int):
    """From right before it, whatever lies between."""
    session = known("Ahoy")
    rerun = session.rerun(at)
    assert (rerun.plan.turn, rerun.plan.at) == (4, 2)
    assert own(rerun) == [
        *("session.forked", "tools.declared", "turn.started", "model.requested"),
        *("model.responded", "turn.completed"),
    ]
    assert [message.text for message in rerun.session.messages] == ["Hello", "Ahoy"]
    assert rerun.session.system == "Be brief."


def test_after_the_last_turn_there_is_none():
    """It says which was the last; nothing is written."""
    session = known()
    facts = list(session.events())
    with pytest.raises(ConfigurationError) as caught:
        session.rerun(21)
    assert str(caught.value) == (
        "after version 21 there is no turn to take again: the last began at version 8"
    )
    assert listed(session) == ["s"]
    untouched(session, facts)


def test_a_session_without_a_turn():
    """There is nothing to take again."""
    session = known(until=2)
    with pytest.raises(ConfigurationError, match="none was ever taken"):
        session.rerun()


@pytest.mark.parametrize("at", [0, -1, 22, True, "3", 1.5])
def test_versions_that_there_are_not(at: object):
    """As everywhere, it says which there are."""
    with pytest.raises(UnknownStream, match="has versions 1 to 21, not"):
        known().rerun(at)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("until", range(8, 21))
def test_the_last_turn_is_open(until: int):
    """It is taken again from its start; the open one stays as it is."""
    store_of = known(*SAME, until=until)
    rerun = store_of.rerun(tool_results="ask" if until < 18 else "recorded")
    assert rerun.plan.turn == 8
    assert store_of.unfinished_turn is not None
    assert store_of.version == until


def test_a_turn_that_failed_is_taken_again():
    """As one that completed: the answer comes besides."""
    session = known(ValueError("no"), "Now", until=7)
    with pytest.raises(ValueError, match="no"):
        session.run("Try")
    rerun = session.rerun()
    assert rerun.plan.turn == 8
    assert rerun.response is not None
    assert rerun.response.text == "Now"
    assert rerun.departure is not None
    assert (rerun.departure.version, rerun.departure.kind, rerun.departure.causes) == (
        session.version,
        "extra",
        (),
    )


def test_a_turn_that_was_resumed_in_a_fork():
    """It is one turn, whatever stands between its parts."""
    session = known(ValueError("no"), [ROME], "Wet", [ROME], "Wet", town=Town(), until=7)
    with pytest.raises(ValueError, match="no"):
        session.run("Rome?")
    fork = session.fork("fork")
    fork.resume()
    rerun = fork.rerun()
    assert (rerun.error, rerun.departure) == (None, None)
    assert len(rerun.served) == 1


def test_a_turn_that_was_resumed_after_a_failed_compaction():
    """The compaction is no part of the turn."""
    script: list[Scripted] = [ValueError("no"), Call("weather", {}), ROME, "Wet", ROME, "Wet"]
    session = known(*script)
    with pytest.raises(ValueError, match="no"):
        session.run("Rome?")
    with pytest.raises(Exception, match="instead of"):
        session.compact(keep_last=1)
    session.resume()
    rerun = session.rerun()
    assert (rerun.plan.turn, rerun.error, rerun.departure) == (22, None, None)


def test_an_inherited_turn_of_a_fork():
    """A fork forks its parent's events as its own."""
    session = known(*SAME)
    fork = session.fork("fork")
    rerun = fork.rerun(session_id="again")
    assert (rerun.error, rerun.departure) == (None, None)
    (first,) = [f.event for f in rerun.session.events() if f.version == 8]
    assert first == SessionForked(
        session_id="again",
        parent="fork",
        at=7,
        parent_hash=list(session.events())[6].hash.hex(),
    )


def test_a_rerun_of_a_rerun():
    """Its results are recorded, wherever they came from."""
    session = known(*SAME, *SAME, "Bye")
    again = session.rerun().session.rerun()
    assert (again.error, again.departure) == (None, None)
    assert [call for call, _, _ in told(again)] == ["call_12_0", "call_12_1", "call_16_0"]
    assert again.session.run("Thanks").text == "Bye"


@pytest.mark.parametrize(("at", "served"), [(9, 3), (12, 3), (15, 3), (18, 3)])
def test_a_rerun_of_a_turn_that_went_on(at: int, served: int):
    """What it inherited and what it was served are one turn's results."""
    rest = SAME if at == 9 else SAME[1:] if at < 18 else SAME[2:]
    again = known(*rest, *SAME).rerun(at).session.rerun()
    assert (again.error, again.departure, len(again.served)) == (None, None, served)


def test_a_fork_from_inside_of_a_turn():
    """What it inherited is all that there is."""
    session = known(*SAME, *SAME)
    fork = session.fork("fork", at=13)
    rerun = fork.rerun(tool_results="ask")
    assert rerun.response is not None
    assert (rerun.served, [one.arguments for one in rerun.session.pending_approvals]) == (
        (13,),
        ['{"city":"Rome"}'],
    )


def test_async():
    """As the sync form."""
    town = Town()
    rerun = asyncio.run(known(*SAME, town=town).rerun_async())
    assert own(rerun) == AGAIN
    assert (rerun.error, rerun.departure, rerun.served) == (None, None, (13, 14, 18))
    assert town.asked == []


def test_the_fork_goes_on():
    """With its tools: what is recorded is served no longer."""
    town = Town()
    rerun = known(*SAME, BERN, "White", "Copy", town=town).rerun()
    assert rerun.session.run("And Bern now?").text == "White"
    assert town.asked == ["Bern"]
    assert rerun.session.fork().run("Fork").text == "Copy"


def test_requests_are_those_of_then():
    """To the byte, but for the names of the calls."""
    session = known(*SAME)
    first = asked(session.rerun())[0]
    assert first.digest == session.request_at(9).digest


def test_recorded_events():
    """What the other tests count on."""
    assert kinds(known()) == [fact.type for fact in recorded()]
    assert len(recorded()) == 21
