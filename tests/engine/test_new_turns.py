"""A new turn beside one that did not end: refused, or whatever else was chosen."""

from typing import Any

import pytest

from agent.engine.errors import (
    ConfigurationError,
    NothingUnfinished,
    OutcomeUnknown,
    TurnUnfinished,
)
from agent.eventstore.errors import AppendUnknown, StoreFull
from agent.stores import LogStore, MemoryStore
from agent.testing import FailingLog
from tests.engine.crashes import (
    World,
    asks,
    check_whole,
    left,
    opened,
)
from tests.engine.gates import TappedLog, once
from tests.engine.given import agent_of, kinds, shown


def test_a_new_turn_is_refused():
    """By default a new turn says that an old one never ended, what to do, and writes nothing."""
    store = left("pay")
    session = opened(store)
    before = store.log.head("s")
    with pytest.raises(TurnUnfinished) as raised:
        session.run("Next")

    assert str(raised.value) == (
        "the turn of session 's', version 3, never ended: resume() continues it, abandon() closes "
        "it; first decide with resolve(call_id, result=... | retry=True | failed='why') about: "
        "call_5_0 (pay)"
    )
    assert (raised.value.started, len(raised.value.calls)) == (3, 1)
    assert store.log.head("s") == before


def test_a_new_turn_resumes_first():
    """With on_unfinished="resume" the old turn is finished first; the stream is the new one's."""
    session = opened(left("look"), on_unfinished="resume")
    events = list(session.stream("Next"))

    assert [event.type for event in events] == ["text_delta", "done"]
    assert shown(session) == ["Do it", "", "look done", "Done.", "Next", "Done."]


def test_a_new_turn_that_cannot_resume_first():
    """With on_unfinished="resume" what waits for a decision still does."""
    session = opened(left("pay"), on_unfinished="resume")
    with pytest.raises(OutcomeUnknown):
        session.run("Next")
    assert session.version == 6


def test_a_new_turn_abandons_first():
    """With on_unfinished="abandon" the old turn is closed in the commit that begins the new one."""
    session = opened(left("pay"), on_unfinished="abandon")
    session.run("Next")

    assert kinds(session)[6:9] == ["turn.abandoned", "turn.started", "model.requested"]
    assert shown(session) == ["Next", "Done."]


def test_a_turn_that_this_handle_left_is_given_up():
    """Whoever was told that the store refused a result may go on with the same session."""
    log = TappedLog(before={"tool.returned": once(StoreFull("full"))})
    agent = World().agent([asks("pay"), "x", "y"], store=LogStore(log))
    session = agent.session("s")
    with pytest.raises(StoreFull):
        session.run("Do it")
    other = agent.session("s")
    with pytest.raises(TurnUnfinished):
        other.run("Next")
    assert other.unfinished_turn is not None
    other.resolve(other.unfinished_turn.calls[0].call_id, result="x")
    session.run("Next")

    assert kinds(session).count("turn.abandoned") == 1


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_turn_that_may_have_landed_is_given_up(number: int, when: Any):
    """Whoever got no answer to an append may go on with the same session, landed or not."""
    log = FailingLog(MemoryStore().log, fail_at=number, when=when)
    script = ["x"] if number == 1 else [asks("pay"), "x", "x"]
    session = World().agent(script, store=LogStore(log)).session("s")
    with pytest.raises(AppendUnknown):
        session.run("Do it")
    session.run("Next")

    assert shown(session) == ["Next", "x"]
    assert kinds(session).count("turn.abandoned") == ((number, when) != (1, "before"))
    check_whole(session)


def test_a_turn_that_never_landed_gives_nothing_up():
    """A turn that could not begin leaves the one before it as this handle's own."""
    log = TappedLog(before={"tool.returned": once(StoreFull("full"))})
    session = World().agent([asks("pay"), "x", "y"], store=LogStore(log)).session("s")
    with pytest.raises(StoreFull):
        session.run("Do it")
    log.before = {"turn.started": once(StoreFull("full"))}
    with pytest.raises(StoreFull):
        session.run("Next")
    session.run("Next")

    assert kinds(session).count("turn.abandoned") == 1


def test_a_handle_that_is_behind_looks_again():
    """What another handle has finished or begun since is noticed before anything is refused."""
    store = left("pay")
    behind, stale = opened(store), opened(store)
    assert behind.unfinished_turn == stale.unfinished_turn != None  # noqa: E711 - all three
    other = opened(store)
    other.resolve("call_5_0", result="x")
    assert behind.resume().text == "Done."

    assert stale.run("Next").text == "Done."
    with pytest.raises(NothingUnfinished):
        other.resume()


def test_a_decision_follows_what_others_wrote():
    """A handle that is behind decides and gives up all the same."""
    store = left("look", "pay", after="tool.returned")
    first, second, third = opened(store), opened(store), opened(store)
    assert (first.version, second.version, third.version) == (8, 8, 8)
    assert first.unfinished_turn is not None
    call = next(c.call_id for c in first.unfinished_turn.calls if c.state == "unknown")
    first.resolve(call, result="x")
    with pytest.raises(ConfigurationError, match="unknown in this turn: none"):
        second.resolve(call, result="x")
    third.abandon()

    assert kinds(third)[8:] == ["tool.resolved", "turn.abandoned"]


def test_choices_of_a_new_turn():
    """Another word for on_unfinished is refused."""
    with pytest.raises(ConfigurationError, match="'raise', 'resume', 'abandon'"):
        agent_of(on_unfinished="wait")
