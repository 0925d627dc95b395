"""A call that a person has to allow: the turn stops, waits, and goes on with what that one says."""

import asyncio
from typing import Any

import pytest

from agent import Response, Session, Tool
from agent.engine.approvals import PendingApproval, ProposedCall
from agent.engine.errors import (
    ApprovalPending,
    ConfigurationError,
    InvalidTool,
    NothingUnfinished,
    NotPending,
    OutcomeUnknown,
    OwnerAlive,
    SessionBusy,
    StreamAbandoned,
    TurnOpen,
    TurnUnfinished,
)
from agent.engine.scripted import Call, Reply
from agent.eventstore.errors import InvalidEvent
from agent.eventstore.events import ApprovalGranted, ApprovalRequested
from agent.eventstore.messages import Message
from agent.eventstore.values import Usage, call_digest
from agent.stores import MemoryStore, SessionStore
from tests.engine.crashes import GOOD, Tea, World, asks, check_whole, cut, resumed
from tests.engine.gates import Gate
from tests.engine.given import agent_of, fixed_sources, kinds, shown

WAYS = ["run", "run_async", "stream", "stream_async", "json", "json_async"]
RESUMING = ["resume", "resume_async", "resume_stream", "resume_stream_async"]
SIGN = call_digest("sign", "{}")


def take(session: Session, way: str, prompt: str = "Do it", **options: Any) -> Response[Any]:
    """A turn in one of the ways."""
    match way:
        case "run":
            return session.run(prompt, **options)
        case "run_async":
            return asyncio.run(session.run_async(prompt, **options))
        case "json":
            return session.json(prompt, schema=Tea, **options)
        case "json_async":
            return asyncio.run(session.json_async(prompt, schema=Tea, **options))
        case "stream":
            return list(session.stream(prompt, **options))[-1].response  # pyright: ignore[reportAttributeAccessIssue] - the last is done
        case _:

            async def read() -> list[Any]:
                return [e async for e in await session.stream_async(prompt, **options)]

            return asyncio.run(read())[-1].response


def stopped(*calls: str, world: World | None = None, **options: Any) -> tuple[Session, World]:
    """A session whose turn waits for a person, and what its tools have done."""
    world = world or World()
    session = world.agent([asks(*(calls or ("sign",))), "Done."], **options).session("s")
    session.run("Do it")
    return session, world


# Stopping


@pytest.mark.parametrize("way", WAYS)
def test_a_turn_stops_for_a_person(way: str, store: SessionStore):
    """The response names the calls that wait; nothing has run, and nothing is in the history."""
    world = World()
    script = [Reply(text="I'd like to sign.", calls=(Call("sign"),)), GOOD]
    session = world.agent(script, store=store).session("s")
    response = take(session, way)

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


# Who decides that a person decides


def policy_of(answer: Any, seen: list[ProposedCall]) -> Any:
    """A policy that notes what it is asked."""

    def policy(call: ProposedCall) -> Any:
        seen.append(call)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return policy


def pay(amount: float, currency: str = "EUR") -> str:
    """Pay an amount."""
    return f"paid {amount} {currency}"


@pytest.mark.parametrize("whose", ["tool", "agent"])
@pytest.mark.parametrize(
    ("answer", "waits"),
    [(True, True), (False, False), (None, True), (0, True), (ValueError("no"), True)],
)
def test_policies(whose: str, answer: Any, waits: bool, caplog: pytest.LogCaptureFixture):
    """A policy sees the call, validated; one that raises or gives no bool leaves it to a person."""
    seen: list[ProposedCall] = []
    policy = policy_of(answer, seen)
    tool = Tool(pay, requires_approval=policy) if whose == "tool" else Tool(pay)
    options = {"requires_approval": policy} if whose == "agent" else {}
    arguments = {"amount": 7}
    agent = agent_of(Call("pay", arguments), "Done.", tools=[tool], **options)
    session = agent.session("s")
    response = session.run("Do it")

    assert (response.pending_approvals != ()) == waits
    (call,) = seen
    assert (call.session_id, call.call_id, call.tool) == ("s", "call_5_0", "pay")
    assert (call.arguments, dict(call.values)) == ('{"amount":7}', {"amount": 7, "currency": "EUR"})
    with pytest.raises(TypeError):
        call.values["amount"] = 1  # pyright: ignore[reportIndexIssue]
    warned = [line for line in caplog.records if line.getMessage() == "approval.policy_failed"]
    assert len(warned) == (not isinstance(answer, bool))
    if waits:
        session.approve(response.pending_approvals[0].call_id)
        session.resume()
    assert shown(session)[2] == "paid 7.0 EUR"
    assert len(seen) == 1


async def later(call: ProposedCall) -> bool:
    """Decide some other time."""
    return call.tool == ""


class Later:
    """Decides some other time, too."""

    async def __call__(self, call: ProposedCall) -> bool:
        """Decide."""
        return call.tool == ""


@pytest.mark.parametrize("policy", ["yes", 1, later, Later()])
def test_what_is_no_policy(policy: Any):
    """A policy is True, False or a plain function."""
    with pytest.raises(InvalidTool, match="tool pay: requires_approval takes"):
        Tool(pay, requires_approval=policy)
    with pytest.raises(ConfigurationError, match="requires_approval= takes"):
        agent_of(requires_approval=policy)


def test_a_tool_of_a_tool_asks_as_well():
    """Renaming a tool does not free it, unless told to."""
    asking = Tool(pay, requires_approval=True)
    assert Tool(asking, name="b").requires_approval is True
    assert Tool(asking, requires_approval=False).requires_approval is False


@pytest.mark.parametrize(("own", "everywhere"), [(True, False), (False, True), (True, True)])
def test_tool_and_agent(own: bool, everywhere: bool):
    """A person is asked if the tool or the agent says so, and once."""
    tools = [Tool(pay, requires_approval=own)]
    agent = agent_of(Call("pay", {"amount": 1}), tools=tools, requires_approval=everywhere)
    session = agent.session("s")
    session.run("Do it")
    assert kinds(session).count("approval.requested") == 1


@pytest.mark.parametrize("arguments", ['{"amount": "x"}', "{", '{"amount": 1, "amount": 2}'])
def test_arguments_that_do_not_fit(arguments: str):
    """No person is bothered with a call that cannot run: the model is told at once."""
    seen: list[ProposedCall] = []
    tool = Tool(pay, requires_approval=policy_of(True, seen))
    script = [[Call("pay", arguments), Call("pay", {"amount": 1})], "Done."]
    session = agent_of(*script, tools=[tool]).session("s")
    response = session.run("Do it")
    assert [one.call_id for one in response.pending_approvals] == ["call_5_1"]
    assert len(seen) == 1
    assert kinds(session)[5:] == ["tool.returned", "approval.requested"]
    session.approve("call_5_1")
    session.resume()
    first, second = session.messages[2].tool_results
    assert (first.is_error, second.is_error) == (True, False)
    plain = agent_of(*script, tools=[pay]).session("s")
    plain.run("Do it")
    assert plain.messages[2].tool_results[0] == first
