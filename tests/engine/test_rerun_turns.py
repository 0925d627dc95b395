"""Turns of every kind, taken again: abandoned, rejected, waiting, windowed, after a summary."""

from typing import Any

import pytest

from agent import Agent, Message, Session
from agent.engine.errors import ConfigurationError, NoRecordedResult, OutputError
from agent.engine.scripted import Call, Reply
from agent.engine.settings import CompactionPolicy
from agent.errors import UnknownStream
from agent.eventstore.events import HistoryRewound, TurnStarted
from agent.stores import MemoryStore
from tests.engine.crashes import World, cut
from tests.engine.given import agent_of, kinds, shown
from tests.engine.reruns import OSLO, SAME, Town, asked, known, listed, own, told

COMPACTION = [
    *("turn.started", "model.requested", "model.responded", "turn.completed"),
    "history.compacted",
]


def compacted() -> Session:
    """Two turns, a compaction (22 to 26), and a third turn, which begins at 27."""
    session = known("In short.", "Bye", *["Bye"] * 9)
    session.compact(keep_last=2)
    session.run("Thanks")
    return session


@pytest.mark.parametrize("at", range(21, 27))
def test_inside_of_a_compaction(at: int):
    """The turn is the next of the user; it begins after the whole compaction."""
    session = compacted()
    assert kinds(session)[21:26] == COMPACTION
    rerun = session.rerun(at)
    assert (rerun.plan.turn, rerun.plan.at) == (27, 26)
    assert (rerun.error, rerun.departure) == (None, None)
    assert shown(rerun.session) == shown(session)


@pytest.mark.parametrize("until", [22, 23, 24])
def test_a_compaction_that_is_open(until: int):
    """It is no turn to take again, and stands in nobody's way."""
    facts = list(compacted().events())
    session = agent_of(*SAME, store=cut(facts, until), tools=Town().tools).session("s")
    with pytest.raises(ConfigurationError, match="the last began at version 8"):
        session.rerun(until)
    rerun = session.rerun()
    assert (rerun.plan.turn, rerun.error, rerun.departure) == (8, None, None)


def test_a_due_compaction_is_left_for_later():
    """A rerun asks what was asked."""
    policy = CompactionPolicy(messages=6, keep_last=2)
    session = known("Bye", "Bye", "In short.", "Hm")
    session.run("Thanks")
    again = Agent(
        session._agent.provider,
        "m",
        store=session._agent.store,
        tools=Town().tools,
        compact_at=policy,
    )
    rerun = again.session("s").rerun()
    assert (rerun.error, rerun.departure, len(asked(rerun))) == (None, None, 1)
    rerun.session.run("And?")
    assert "history.compacted" in own(rerun)


def test_a_turn_that_was_abandoned():
    """It is taken again as a whole, or from where it stood."""
    town = Town()
    session = known(*SAME[1:], "Mixed.", *SAME[1:], until=14, town=town)
    session.abandon("enough")
    whole = session.rerun(14)
    assert (whole.plan.turn, whole.plan.at) == (8, 14)
    assert told(whole) == []
    assert whole.error is not None  # the record has no third call
    assert whole.departure is not None
    assert (whole.departure.version, whole.departure.kind) == (15, "extra")


@pytest.mark.parametrize("how", ["ask", "live"])
def test_from_inside_of_a_turn_that_waits_for_a_person(how: Any):
    """What a person was asked there is asked again here."""
    world = World()
    script = [[Call("look"), Call("sign")], "Well", "Well"]
    session = world.agent(script).session("s")
    session.run("Sign")
    rerun = session.rerun(session.version, tool_results=how)
    assert [one.tool for one in rerun.session.pending_approvals] == ["sign"]
    assert [ran.tool for ran in world.journal] == ["look"]
    rerun.session.approve(rerun.session.pending_approvals[0].call_id)
    assert rerun.session.resume().text == "Well"
    assert [ran.tool for ran in world.journal] == ["look", "sign"]
    assert len(session.pending_approvals) == 1


def test_a_call_that_waits_for_a_person_has_no_result():
    """With the record alone it cannot go on: nothing is written."""
    session = World().agent([Call("sign")], store=MemoryStore()).session("s")
    session.run("Sign")
    with pytest.raises(NoRecordedResult):
        session.rerun(session.version)
    assert listed(session) == ["s"]


def test_what_a_parent_had_started_is_never_repeated():
    """Also where the tool says that it may be: the recorded result is there."""
    world = World()
    session = world.agent([[Call("look"), Call("pay")], "Well", "Well"]).session("s")
    session.run("Pay")
    called = max(f.version for f in session.events() if f.type == "tool.called")
    rerun = session.rerun(called)
    assert (rerun.error, rerun.departure, len(rerun.served)) == (None, None, 2)
    assert len(world.journal) == 2


@pytest.mark.parametrize("tool", ["look", "send", "pay"])
def test_calls_of_unknown_outcome(tool: str):
    """Live they run, once, under a key of their own, whatever their tools say of themselves."""
    world = World()
    session = world.agent([[Call(tool)], "Well", "Well"]).session("s")
    session.run("Do it")
    facts = list(session.events())
    called = next(f.version for f in facts if f.type == "tool.called")
    world.journal.clear()
    crashed = world.agent(["Well"], store=cut(facts, called)).session("s")
    rerun = crashed.rerun(called, tool_results="live")
    assert (rerun.error, [ran.tool for ran in world.journal]) == (None, [tool])
    assert world.journal[0].key != facts[called - 1].hash.hex()
    assert own(rerun).count("tool.called") == 1


def test_inside_of_a_turn_whose_output_was_rejected():
    """What was rejected stays so."""
    session = known("x", '{"result":1}', '{"result":2}', until=7)
    session.json("A number", schema=int)
    rejected = kinds(session).index("output.rejected") + 1
    rerun = session.rerun(rejected, schema=int)
    assert rerun.response is not None
    assert rerun.response.output == 2
    assert own(rerun)[:2] == ["session.forked", "turn.resumed"]


def test_a_shape_that_nothing_fitted():
    """A turn that failed for its output."""
    session = known("x", "y", "z", '{"result":1}', until=7)
    with pytest.raises(OutputError):
        session.json("A number", schema=int)
    rerun = session.rerun(schema=int)
    assert rerun.response is not None
    assert rerun.response.output == 1
    assert rerun.departure is not None
    assert (rerun.departure.kind, rerun.departure.causes) == ("answer", ("sampling",))


def test_from_the_end_of_a_turn_that_was_cut():
    """What the token limit has cut is asked for again, as when a turn is resumed."""
    session = known(Reply(text="{", finish_reason="length"), '{"result":1}', until=7)
    with pytest.raises(OutputError):
        session.json("A number", schema=int)
    answered = kinds(session).index("model.responded", 8) + 1
    rerun = session.rerun(answered, schema=int)
    assert rerun.response is not None
    assert rerun.response.output == 1


def test_a_window():
    """The agent's of today; what it leaves out is another history."""
    session = known("Bye", "Bye", "Bye")
    session.run("Thanks")
    same = session.rerun()
    assert same.departure is None
    windowed = Agent(
        session._agent.provider, "m", store=session._agent.store, tools=Town().tools, window=2
    )
    rerun = windowed.session("s").rerun()
    assert len(asked(rerun)[0].messages) < len(asked(same)[0].messages)
    assert rerun.error is None


def test_messages_by_hand_between_turns():
    """Whatever lies between ``at`` and the turn belongs to its beginning."""
    session = known("Bye", "Bye")
    session.add_message(Message.user("By"))
    session.add_message(Message.assistant("hand"))
    session.run("Thanks")
    rerun = session.rerun(21)
    assert rerun.plan.at == 23
    assert [message.text for message in asked(rerun)[0].messages][-3:] == ["By", "hand", "Thanks"]


def test_after_a_rewind():
    """A turn that was taken back is taken again from where it was."""
    session = known(*SAME)
    session.rewind(to=7)
    assert any(isinstance(fact.event, HistoryRewound) for fact in session.events())
    rerun = session.rerun()
    assert (rerun.plan.turn, rerun.error, rerun.departure) == (8, None, None)


def test_another_system_prompt_since():
    """The turn had that of then."""
    session = known(*SAME)
    later = session._agent.session("s", system="Be long.")
    later.add_message(Message.user("x"))
    rerun = later.rerun()
    assert (rerun.session.system, rerun.departure) == ("Be brief.", None)


def test_a_turn_with_a_key():
    """Gone on with, it keeps its key; taken from its start, it has none."""
    session = known([OSLO], "Well", "Well", [OSLO], "Well", until=7)
    session.run("Try", idempotency_key="k")
    inside = session.rerun(kinds(session).index("tool.returned") + 1)
    assert inside.session.run("Try", idempotency_key="k").text == "Well"
    starts = [f.event for f in session.rerun().session.events()]
    keys = [event.idempotency_key for event in starts if isinstance(event, TurnStarted)]
    assert keys == [None, None]


def test_a_deleted_session():
    """There is nothing to take again."""
    session = known()
    store = session._agent.store
    assert (session.version, store is not None) == (21, True)
    store.delete("s")  # pyright: ignore[reportOptionalMemberAccess]
    with pytest.raises(UnknownStream, match="was deleted; open it anew to start over"):
        session.rerun()
    assert listed(session) == []


def test_a_session_without_a_store():
    """Its forks share its memory."""
    session = agent_of("a", "b", "c").session()
    session.run("Hi")
    rerun = session.rerun()
    assert rerun.session.run("And?").text == "c"


def test_a_new_session():
    """Has no turn."""
    with pytest.raises(ConfigurationError, match="none was ever taken"):
        agent_of().session().rerun()


def test_a_stale_handle():
    """Takes again what it knows of."""
    session = known(*SAME, "Bye")
    other = session._agent.session("s")
    assert other.version == 21
    rerun = session.rerun()
    assert rerun.plan.turn == 8
    other.run("More")
    assert session.rerun(dry_run=True).turn == 8
