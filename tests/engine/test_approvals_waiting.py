"""What may be done while a turn waits for a person, and what that one's word is good for."""

from typing import Any

import pytest

from agent import Session, Tool
from agent.engine.errors import (
    ApprovalPending,
    NotPending,
    OutcomeUnknown,
    TurnOpen,
    TurnUnfinished,
)
from agent.eventstore.messages import Message
from agent.stores import MemoryStore
from tests.engine.crashes import World, asks, cut, stopped
from tests.engine.given import agent_of, kinds, shown

# A new turn, and everything else that has to wait


@pytest.mark.parametrize("same", [True, False], ids=["same session", "opened anew"])
def test_a_new_turn_is_refused(same: bool):
    """A turn that waits is abandoned by nobody's new turn unasked, not even its own session's."""
    store = MemoryStore()
    session, world = stopped(store=store)
    session = session if same else world.agent(store=store).session("s")
    version = session.version
    with pytest.raises(ApprovalPending, match=r"call_5_0 \(sign\)"):
        session.run("Next")
    session.approve("call_5_0")
    with pytest.raises(TurnUnfinished, match=r"resume\(\) continues it"):
        session.run("Next")
    assert session.version == version + 1
    assert session.resume().text == "Done."


def test_a_new_turn_abandons_it():
    """With on_unfinished="abandon" the new turn closes it, and nobody's approval counts then."""
    session, world = stopped(on_unfinished="abandon")
    assert session.run("Next").text == "Done."
    assert kinds(session)[6:8] == ["turn.abandoned", "turn.started"]
    with pytest.raises(NotPending):
        session.approve("call_5_0")
    assert world.journal == []


def test_a_new_turn_resumes_it():
    """With on_unfinished="resume" it is finished first, if that can be."""
    world = World()
    script = [asks("sign", "sign"), "Done.", "Next one."]
    session = world.agent(script, on_unfinished="resume").session("s")
    session.run("Do it")
    with pytest.raises(ApprovalPending):
        session.run("Next")
    session.approve("call_5_0")
    with pytest.raises(ApprovalPending, match=r"reject\(call_id\) call_5_1 \(sign\), then"):
        session.run("Next")
    assert [ran.call_id for ran in world.journal] == ["call_5_0"]
    session.reject("call_5_1")
    assert session.run("Next").text == "Next one."
    assert shown(session)[3:] == ["Done.", "Next", "Next one."]


@pytest.mark.parametrize("policy", ["raise", "resume", "abandon"])
def test_the_same_request_again(policy: Any):
    """Under its key the same request shows what waits, writes nothing, and goes on if it may."""
    world, store = World(), MemoryStore()
    script = [asks("sign", "sign"), "Done."]
    session = world.agent(script, store=store, on_unfinished=policy).session("s")
    first = session.run("Do it", idempotency_key="k")
    other = world.agent(store=store, on_unfinished=policy).session("s")
    for again in (session, other):
        assert again.run("Do it", idempotency_key="k") == first
        events = list(again.stream("Do it", idempotency_key="k"))
        assert [event.type for event in events] == ["done"]
    assert session.version == first.version
    other.approve("call_5_0")
    second = session.run("Do it", idempotency_key="k")
    assert [one.call_id for one in second.pending_approvals] == ["call_5_1"]
    session.reject("call_5_1")
    last = other.run("Do it", idempotency_key="k")
    assert (last.text, last.pending_approvals) == ("Done.", ())
    assert session.run("Do it", idempotency_key="k") == last
    assert len(world.journal) == 1


def test_it_is_given_up():
    """Abandoned, its requests are withdrawn; taken up again it asks anew."""
    session, world = stopped()
    session.abandon("the customer has left")
    assert session.pending_approvals == ()
    assert session.unfinished_turn is not None
    assert [call.approval for call in session.unfinished_turn.calls] == [None]
    with pytest.raises(NotPending):
        session.approve("call_5_0")
    again = session.resume()
    assert [one.call_id for one in again.pending_approvals] == ["call_5_0"]
    session.abandon()
    session.run("Next")
    assert world.journal == []


def test_a_granted_call_that_is_given_up():
    """What was allowed before the turn was abandoned has to be allowed again."""
    session, world = stopped()
    session.approve("call_5_0")
    session.abandon()
    assert session.resume().pending_approvals != ()
    assert world.journal == []


def test_the_history_waits():
    """Nothing changes the history while a turn waits for a person."""
    session, _ = stopped()
    changes = [
        *(session.clear, session.undo, session.compact, lambda: session.rewind(1)),
        lambda: session.add_message(Message.user("x")),
    ]
    for change in changes:
        with pytest.raises(TurnOpen):
            change()
    assert session.version == 6
    assert session.cancel() is False


# Once, and for nobody else


def test_an_approval_is_used_once():
    """A call of unknown outcome that is to run again as a new one is asked about anew."""
    session, world = stopped()
    session.approve("call_5_0")
    stream = session.resume_stream()
    assert next(stream).type == "tool_call"
    facts = list(session.events())
    stream.close()
    assert facts[-1].type == "tool.called"
    later = world.agent(store=cut(facts, len(facts))).session("s")
    assert later.unfinished_turn is not None
    assert [c.approval for c in later.unfinished_turn.calls] == ["granted"]
    with pytest.raises(NotPending, match="was approved already"):
        later.approve("call_5_0")
    with pytest.raises(OutcomeUnknown):
        later.resume()
    ran = len(world.journal)
    later.resolve("call_5_0", retry=True)
    assert later.resume().pending_approvals != ()
    assert len(world.journal) == ran


@pytest.mark.parametrize(("flag", "asked"), [("retry_safe", 2), ("idempotent", 1)])
def test_repetition_and_approval(flag: str, asked: int):
    """What is run again as a new call is asked about again; the same call under its key is not."""

    def sign() -> str:
        return "signed"

    flags: dict[str, Any] = {flag: True, "requires_approval": True}
    tools = [Tool(sign, **flags)]
    session = agent_of(asks("sign"), "Done.", tools=tools).session("s")
    session.run("Do it")
    session.approve("call_5_0")
    session.resume()
    facts = list(session.events())
    version = [fact.type for fact in facts].index("tool.called") + 1
    later = agent_of("Done.", tools=tools, store=cut(facts, version)).session("s")
    response = later.resume()
    assert kinds(later).count("approval.requested") == asked
    assert (response.pending_approvals != ()) == (asked == 2)


@pytest.mark.parametrize("said", ["approve", "reject", None])
def test_a_fork_asks_anew(said: str | None):
    """A fork inherits no request and no answer: it asks for itself, and the parent is as before."""
    session, world = stopped(store=MemoryStore())
    if said:
        getattr(session, said)("call_5_0")
    child = session.fork("child", at=session.version)
    assert child.pending_approvals == ()
    with pytest.raises(NotPending):
        child.approve("call_5_0")
    response = child.resume()
    assert [one.call_id for one in response.pending_approvals] == ["call_5_0"]
    assert world.journal == []
    child.approve("call_5_0")
    child.resume()
    assert len(world.journal) == 1
    assert session.unfinished_turn is not None
    states = {"approve": "granted", "reject": "rejected", None: "requested"}
    assert [c.approval for c in session.unfinished_turn.calls] == [states[said]]


@pytest.mark.parametrize("key", [None, "copy"])
def test_an_export_in_between(key: str | None):
    """An import of the session goes on with what was decided; under a new id it asks anew."""
    session, world = stopped()
    session.approve("call_5_0")
    data = session.to_dict()
    other = Session.from_dict(data, world.agent(), session_id=key)
    response = other.resume()
    assert (response.pending_approvals != ()) == (key == "copy")
    assert len(world.journal) == (0 if key else 1)


def test_a_tool_that_is_gone():
    """What waits for a person does so under any agent; the model is told that the tool is gone."""
    session, _ = stopped(store=(store := MemoryStore()))
    bare = agent_of("Done.", store=store).session("s")
    with pytest.raises(ApprovalPending):
        bare.resume()
    session.approve("call_5_0")
    bare.resume()
    assert shown(bare)[2].startswith("UnknownTool: there is no tool 'sign'")


def test_an_agent_that_no_longer_asks():
    """What was asked about waits also where the tool of now needs nobody's word."""
    session, _ = stopped(store=(store := MemoryStore()))
    free = agent_of("Done.", store=store, tools=[Tool(session.abandon, name="sign")]).session("s")
    with pytest.raises(ApprovalPending):
        free.resume()
