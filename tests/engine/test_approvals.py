"""A call that a person has to allow: the turn stops, waits, and goes on with what that one says."""

import asyncio
from typing import Any

import pytest

from agent.engine.approvals import PendingApproval
from agent.engine.effects import StartTools
from agent.engine.errors import (
    ApprovalPending,
    NothingUnfinished,
    NotPending,
    OwnerAlive,
    SessionBusy,
    StreamAbandoned,
)
from agent.engine.scripted import Call, Reply
from agent.eventstore.errors import InvalidEvent
from agent.eventstore.events import ApprovalGranted, ApprovalRequested
from agent.eventstore.values import Usage, call_digest
from agent.stores import MemoryStore, SessionStore
from tests.engine.crashes import GOOD, Tea, World, asks, check_whole, cut, resumed, stopped, taken
from tests.engine.gates import Gate
from tests.engine.given import Stage, agent_of, answered, fixed_sources, kinds, outcome, shown

WAYS = ["run", "run_async", "stream", "stream_async", "json", "json_async"]
RESUMING = ["resume", "resume_async", "resume_stream", "resume_stream_async"]
SIGN = call_digest("sign", "{}")


# Stopping


@pytest.mark.parametrize("way", WAYS)
def test_a_turn_stops_for_a_person(way: str, store: SessionStore):
    """The response names the calls that wait; nothing has run, and nothing is in the history."""
    world = World()
    script = [Reply(text="I'd like to sign.", calls=(Call("sign"),)), GOOD]
    session = world.agent(script, store=store).session("s")
    response = taken(session, way)

    assert response.pending_approvals == (PendingApproval("call_5_1", "sign", "{}", SIGN),)
    assert (response.text, response.output, response.messages) == ("I'd like to sign.", None, ())
    assert [part.name for part in response.tool_calls] == ["sign"]
    assert (response.finish_reason, response.model) == ("tool_calls", "m")
    assert response.usage == session.usage.own != Usage()
    assert response.version == session.version == 6
    assert kinds(session)[2:] == [
        *("turn.started", "model.requested", "model.responded", "approval.requested")
    ]
    assert (shown(session), world.journal) == ([], [])

    later = World()
    other = later.agent(store=store).session("s")
    assert other.pending_approvals == session.pending_approvals == response.pending_approvals
    other.approve("call_5_1")
    schema: dict[str, Any] = {"schema": Tea} if "json" in way else {}
    done = later.agent(store=store).session("s").resume(**schema)
    assert done.pending_approvals == ()
    assert done.output == (Tea(name="Assam") if schema else None)
    assert [ran.tool for ran in later.journal] == ["sign"]


def test_a_request_shares_the_commit_of_the_answer():
    """What waits is in the log with the answer and what runs beside it, before any tool runs."""
    stage = Stage(tools=World().tools)
    stage.begin()
    stage.go()
    stage.send(answered(calls=[Call("sign"), Call("look")]))
    assert isinstance(stage.effect, StartTools)
    stage.send()
    stage.send([outcome("call_5_1", "seen")])
    assert stage.response is not None
    assert [one.call_id for one in stage.response.pending_approvals] == ["call_5_0"]
    assert stage.commits == [
        ("tools.declared", "turn.started", "model.requested"),
        ("model.responded", "approval.requested", "tool.called"),
        ("tool.returned",),
    ]


@pytest.mark.parametrize("way", RESUMING)
@pytest.mark.parametrize("allowed", [True, False])
def test_a_person_decides(way: str, allowed: bool):
    """What is allowed runs and what is refused is told to the model, in every way to resume."""
    session, world = stopped()
    if allowed:
        session.approve("call_5_0", digest=SIGN)
    else:
        session.reject("call_5_0", "too dear")
    assert session.pending_approvals == ()
    assert resumed(session, way).text == "Done."

    told = "sign done" if allowed else "ApprovalRejected: a person has refused this call: too dear"
    assert shown(session) == ["Do it", "", told, "Done."]
    assert session.messages[2].tool_results[0].is_error is not allowed
    assert len(world.journal) == allowed
    decision = (
        ["approval.granted", "turn.resumed", "tool.called"]
        if allowed
        else ["approval.rejected", "turn.resumed"]
    )
    assert kinds(session)[6:-4] == decision
    assert kinds(session)[-4:] == [
        *("tool.returned", "model.requested", "model.responded", "turn.completed")
    ]
    check_whole(session)


def test_a_refusal_without_a_reason():
    """A reason may be left out; one that no log can keep is refused."""
    session, _ = stopped()
    with pytest.raises(InvalidEvent):
        session.reject("call_5_0", "\ud800")
    session.reject("call_5_0")
    session.resume()
    assert shown(session)[2] == "ApprovalRejected: a person has refused this call"


@pytest.mark.parametrize("way", ["stream", "stream_async"])
def test_what_a_stream_tells(way: str):
    """Calls that wait are told when the log has them, beside those that run; done comes last."""
    world = World()
    script = [asks("look", "sign"), "Done."]
    session = world.agent(script).session("s")

    async def read() -> list[Any]:
        return [event async for event in await session.stream_async("Do it")]

    events: list[Any] = list(session.stream("Do it")) if way == "stream" else asyncio.run(read())
    assert [event.type for event in events] == [
        *("tool_call", "approval_request", "tool_result", "done")
    ]
    asked = events[1]
    assert (asked.call_id, asked.name, asked.arguments, asked.digest) == (
        *("call_5_1", "sign", "{}"),
        SIGN,
    )
    assert [one.call_id for one in events[-1].response.pending_approvals] == ["call_5_1"]
    assert [ran.tool for ran in world.journal] == ["look"]
    assert kinds(session)[5:] == ["tool.called", "approval.requested", "tool.returned"]

    session.reject("call_5_1", "no")
    rest = [event.type for event in session.resume_stream()]
    assert rest == ["tool_result", "text_delta", "done"]


def test_some_are_decided():
    """What is decided goes on; the turn stops again for the rest, as often as it takes."""
    session, world = stopped("sign", "sign", "sign")
    session.approve("call_5_1")
    first = session.resume()
    assert [one.call_id for one in first.pending_approvals] == ["call_5_0", "call_5_2"]
    assert [ran.call_id for ran in world.journal] == ["call_5_1"]
    assert first.messages == ()
    session.reject("call_5_2")
    second = session.resume()
    assert [one.call_id for one in second.pending_approvals] == ["call_5_0"]
    session.approve("call_5_0")
    last = session.resume()

    assert (last.text, last.pending_approvals) == ("Done.", ())
    assert [ran.call_id for ran in world.journal] == ["call_5_1", "call_5_0"]
    results = session.messages[2].tool_results
    assert [result.call_id for result in results] == ["call_5_0", "call_5_1", "call_5_2"]
    assert [result.is_error for result in results] == [False, False, True]
    check_whole(session)


def test_two_stops_in_one_turn():
    """Each answer of the model may stop the turn anew."""
    world = World()
    session = world.agent([asks("sign"), asks("sign"), "Done."]).session("s")
    for answer in range(2):
        (waiting,) = (session.resume() if answer else session.run("Go")).pending_approvals
        session.approve(waiting.call_id)
    assert session.resume().text == "Done."
    assert len({ran.key for ran in world.journal}) == 2


def test_nothing_is_decided():
    """Resuming says what waits, and writes nothing."""
    session, _ = stopped("sign", "sign")
    version = session.version
    with pytest.raises(ApprovalPending) as raised:
        session.resume()
    assert str(raised.value) == (
        "the turn of session 's', version 3, waits for a person: approve(call_id) or "
        "reject(call_id) call_5_0 (sign), call_5_1 (sign), then resume(); or abandon() it"
    )
    assert [(call.call_id, call.state) for call in raised.value.calls] == [
        *(("call_5_0", "not started"), ("call_5_1", "not started"))
    ]
    assert session.version == version


def test_what_an_unfinished_turn_shows():
    """Each call shows how far its approval has come; the turn is nobody's while it waits."""
    session, _ = stopped("look", "sign", "sign", "sign")
    left = session.unfinished_turn
    assert left is not None
    assert (left.waiting_for, left.owner, left.owner_alive) == ("approval", None, False)
    session.approve("call_5_1")
    session.reject("call_5_2")
    left = session.unfinished_turn
    assert left is not None
    assert (left.waiting_for, left.owner) == ("tools", None)
    assert [(call.state, call.approval) for call in left.calls] == [
        ("done", None),
        ("not started", "granted"),
        ("not started", "rejected"),
        ("not started", "requested"),
    ]


# Decisions that are none


def test_calls_that_do_not_wait():
    """Only a call that waits is decided about, and once; whatever is refused writes nothing."""
    session, _ = stopped("look", "sign", "sign")
    version = session.version
    for call_id in ("call_5_0", "call_9_9", ""):
        with pytest.raises(NotPending, match="does not wait for an approval; waiting") as raised:
            session.approve(call_id)
        assert raised.value.pending == ("call_5_1", "call_5_2")
        with pytest.raises(NotPending):
            session.reject(call_id)
    assert session.version == version
    session.approve("call_5_1")
    session.reject("call_5_2")
    for call_id, was in (("call_5_1", "approved"), ("call_5_2", "rejected")):
        with pytest.raises(NotPending, match=f"was {was} already; .* none"):
            session.approve(call_id)
        with pytest.raises(NotPending, match=f"was {was} already"):
            session.reject(call_id)
    assert session.version == version + 2
    session.resume()
    with pytest.raises(NotPending):
        session.approve("call_5_1")
    with pytest.raises(NotPending):
        agent_of().session().approve("call_5_1")


def test_another_call_than_was_shown():
    """Who passes on the digest of what was shown approves nothing else."""
    session, world = stopped()
    shown_digest = call_digest("sign", '{"a":1}')
    with pytest.raises(NotPending, match="is not the call that was shown"):
        session.approve("call_5_0", digest=shown_digest)
    with pytest.raises(ApprovalPending):
        session.resume()
    assert world.journal == []


def test_a_digest_stands_for_one_call():
    """Nothing of a tool's name can pass for a part of its arguments."""
    digests = {call_digest(*pair) for pair in [("ab", "c"), ("a", "bc"), ("abc", ""), ("", "abc")]}
    assert len(digests) == 4
    assert call_digest("pay", '{"a":1}') == (
        "e9e5c2dd5768dba048cf18cd38b7ce887207b5dadae050f028edbdbb496b8268"
    )


@pytest.mark.unreplayed
def test_an_approval_of_something_else_does_not_count():
    """A call whose approval was asked for other arguments is asked about anew, as it is."""
    world, facts = World(), list(stopped()[0].events())
    store = cut(facts, 5)
    sources = fixed_sources()
    events = [
        ApprovalRequested(call_id="call_5_0", digest="d"),
        ApprovalGranted(call_id="call_5_0"),
    ]
    prepared = [sources.prepare(event) for event in events]
    store.log.append("s", prepared, expected=store.log.head("s"))
    response = world.agent(store=store).session("s").resume()
    assert response.pending_approvals == (PendingApproval("call_5_0", "sign", "{}", SIGN),)
    assert world.journal == []


def test_two_who_decide_at_once():
    """One decision about a call lands; a handle that is behind follows before it decides."""
    store = MemoryStore()
    session, world = stopped(store=store)
    other = world.agent(store=store).session("s")
    assert other.pending_approvals == session.pending_approvals
    session.reject("call_5_0")
    with pytest.raises(NotPending, match="was rejected already"):
        other.approve("call_5_0")
    other.resume()
    assert world.journal == []
    with pytest.raises(NothingUnfinished):
        session.resume()


def test_while_other_tools_run():
    """Nobody decides about a turn that is under way: not elsewhere, and not beside it."""
    gate, world = Gate(), World()

    def wait() -> str:
        gate()
        return "waited"

    store = MemoryStore()
    agent = agent_of(asks("wait", "sign"), "Done.", tools=[*world.tools, wait], store=store)
    session = agent.session("s")
    with gate:
        stream = session.stream("Do it")
        assert [next(stream).type, next(stream).type] == ["tool_call", "approval_request"]
        with pytest.raises(OwnerAlive):
            session.approve("call_5_1")
        other = agent.session("s")
        assert [one.call_id for one in other.pending_approvals] == ["call_5_1"]
        for decide in (other.approve, other.reject):
            with pytest.raises(OwnerAlive):
                decide("call_5_1")
        with session._handle.exclusive(), pytest.raises(SessionBusy):
            session.approve("call_5_1")
    assert list(stream)[-1].type == "done"
    other.approve("call_5_1")
    assert other.resume().text == "Done."


# A stream that is not read to its end


def test_deciding_before_the_stream_is_read():
    """A person may decide while a stream tells of one call after another."""
    world = World()
    session = world.agent([asks("sign", "sign"), "Done."]).session("s")
    for event in session.stream("Do it"):
        if event.type == "approval_request":
            session.approve(event.call_id)
    assert session.resume().text == "Done."
    assert len(world.journal) == 2


@pytest.mark.parametrize("way", ["close", "drop", "resume"])
def test_a_stream_that_is_left_at_its_request(way: str):
    """Whoever leaves the stream once the turn waits leaves the turn as it is."""
    session = World().agent([asks("sign"), "Done."]).session("s")
    stream = session.stream("Do it")
    assert next(stream).type == "approval_request"
    if way == "close":
        stream.close()
    elif way == "drop":
        del stream
    assert session.pending_approvals
    session.approve("call_5_0")
    assert session.resume().text == "Done."
    if way == "resume":
        with pytest.raises(StreamAbandoned):
            next(stream)  # pyright: ignore[reportPossiblyUnboundVariable]
    assert "turn.abandoned" not in kinds(session)


def test_an_async_stream_that_is_left_at_its_request():
    """The same for an async one."""
    session = World().agent([asks("sign"), "Done."]).session("s")

    async def leave() -> None:
        async with await session.stream_async("Do it") as stream:
            async for event in stream:
                assert event.type == "approval_request"
                break

    asyncio.run(leave())
    assert session.pending_approvals
    assert "turn.abandoned" not in kinds(session)


def test_a_stream_that_is_left_while_tools_run():
    """Whoever leaves before the turn has come to its stop gives it up, as any other."""
    gate, world = Gate(), World()

    def wait() -> str:
        gate()
        return "waited"

    session = agent_of(asks("wait", "sign"), tools=[*world.tools, wait]).session("s")
    with gate, session.stream("Do it") as stream:
        assert [next(stream).type, next(stream).type] == ["tool_call", "approval_request"]
    assert kinds(session)[-1] == "turn.abandoned"
    assert session.pending_approvals == ()
    with pytest.raises(NotPending):
        session.approve("call_5_1")
