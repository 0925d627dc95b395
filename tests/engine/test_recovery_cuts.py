"""Sessions that stop after any of their events: all can be explained, resumed, given up, forked."""

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from itertools import cycle
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from agent import Session
from agent.engine.errors import ApprovalPending, BadRequest, OutcomeUnknown, ServerFailed
from agent.engine.scripted import Scripted
from agent.eventstore.errors import AgentError
from agent.eventstore.events import (
    ApprovalGranted,
    ApprovalRejected,
    ApprovalRequested,
    SessionForked,
    ToolCalled,
    ToolResolved,
    ToolReturned,
    TurnAbandoned,
    TurnFailed,
)
from agent.eventstore.record import Recorded
from tests.engine.crashes import BAD, GOOD, World, asks, check_whole, cut, recorded, resumed
from tests.engine.given import kinds, shown

answers = st.one_of(
    st.lists(st.sampled_from(["pay", "send", "look", "sign", "gone"]), min_size=1, max_size=3),
    st.just(ServerFailed("down", retryable=True, retry_after=0.0)),
)
ends = st.sampled_from(["Done.", BadRequest("no"), None])
decisions = st.sampled_from([{"result": "as told"}, {"retry": True}, {"failed": "lost"}])


class Story(NamedTuple):
    """What a session of two turns is told: the second has everything in it.

    A person who is asked has these answers one after another, each when the turn has stopped.
    """

    script: list[Scripted]
    shaped: bool
    allowed: list[bool]

    def played(self) -> "Played":
        """The session's events. Results of parallel tools come in any order."""
        session = World().agent(self.script).session("s")
        recorded(session, "Hi")
        recorded(session, "Do it", shaped=self.shaped)
        answers = cycle(self.allowed)
        while session.pending_approvals:
            say(session, allowed=next(answers))
            with suppress(AgentError):
                resumed(session, "resume", shaped=self.shaped)
        return Played(list(session.events()), self.shaped)


def say(session: Session, *, allowed: bool) -> None:
    """A person decides about the first call that waits for one."""
    call = session.pending_approvals[0]
    if allowed:
        session.approve(call.call_id, digest=call.digest)
    else:
        session.reject(call.call_id)


class Played(NamedTuple):
    """A story as it went."""

    facts: list[Recorded]
    shaped: bool


def intents(facts: Sequence[Recorded]) -> dict[str, tuple[str, str]]:
    """Tool and key of the calls that were started and have no result."""
    found: dict[str, tuple[str, str]] = {}
    for fact in facts:
        match fact.event:
            case ToolCalled(call_id=call_id, tool=tool):
                found[call_id] = (tool, fact.hash.hex())
            case ToolReturned(call_id=call_id) | ToolResolved(call_id=call_id):
                found.pop(call_id, None)
            case _:
                pass
    return found


def waiting(facts: Sequence[Recorded]) -> set[str]:
    """The calls that a person was asked about, and has not decided."""
    found: set[str] = set()
    for fact in facts:
        match fact.event:
            case ApprovalRequested(call_id=call_id):
                found.add(call_id)
            case ApprovalGranted(call_id=call_id) | ApprovalRejected(call_id=call_id):
                found.discard(call_id)
            case TurnFailed():
                found.clear()
            case _:
                pass
    return found


def check_runs(world: World, before: Sequence[Recorded], again: set[str]) -> None:
    """Each call ran once at most; of unknown outcome only what may, with the key that it has to."""
    ran = Counter(run.call_id for run in world.journal)
    assert all(times == 1 for times in ran.values())
    for call_id, (tool, key) in intents(before).items():
        match tool:
            case "pay":
                assert (call_id in ran) == (call_id in again)
            case "sign":
                assert call_id not in ran or call_id in again
            case "send":
                assert (tool, call_id, key) in world.journal
            case _:
                assert ran[call_id] == 1
                assert (tool, call_id, key) not in world.journal


def check_approved(session: Session, world: World, at: int) -> None:
    """Of what a person has to allow each ran once, after that one's word, in this very session.

    It inherits the first ``at`` events of another: a word in those is another session's.
    """
    allowed: Counter[str] = Counter()
    for fact in session.events():
        match fact.event:
            case ApprovalGranted(call_id=call_id):
                allowed[call_id] += fact.version > at
            case SessionForked() | TurnFailed() | TurnAbandoned():
                allowed.clear()
            case ToolCalled(call_id=call_id, tool="sign") if fact.version > at:
                assert allowed.pop(call_id)
            case _:
                pass
    signed = [run for run in world.journal if run.tool == "sign"]
    called = {f.hash.hex() for f in session.events() if isinstance(f.event, ToolCalled)}
    assert {run.key for run in signed} <= called


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """Draw what a session is told."""
    shaped, end = draw(st.booleans()), draw(ends)
    steps = draw(st.lists(answers, min_size=1, max_size=3))
    script: list[Scripted] = [
        "Hello",
        *(step if isinstance(step, Exception) else asks(*step) for step in steps),
    ]
    if shaped and draw(st.booleans()):
        script.append(BAD)
    if end is not None:
        script.append(GOOD if shaped and isinstance(end, str) else end)
    return Story(script, shaped, draw(st.lists(st.booleans(), min_size=1, max_size=3)))


def opened(story: Played, version: int, world: World) -> Session:
    """The session as the next process finds it."""
    return world.agent(store=cut(story.facts, version)).session("s")


def cuts(story: Played) -> list[int]:
    """Every version inside of the second turn, and the one after a failed one."""
    begun = [f.version for f in story.facts if f.type == "turn.started"][-1]
    last = len(story.facts)
    return list(range(begun, last + (story.facts[-1].type != "turn.completed")))


def decide(session: Session, decision: dict[str, Any], ways: Sequence[str]) -> set[str]:
    """Resume to the end, deciding about what is unknown, and allowing or refusing what waits.

    Returns the calls that were told to run again.
    """
    shaped = session._handle.state.conversation.unfinished.input.output is not None  # pyright: ignore[reportOptionalMemberAccess]
    again: set[str] = set()
    for way, allowed in zip(cycle(ways), cycle([True, False]), strict=False):
        before = session.version
        try:
            if not resumed(session, way, shaped=shaped).pending_approvals:
                return again
        except OutcomeUnknown as unknown:
            assert session.version == before
            for call in unknown.calls:
                session.resolve(call.call_id, **decision)
                again |= {call.call_id} if "retry" in decision else set()
        except ApprovalPending:
            assert session.version == before
            say(session, allowed=allowed)
    raise AssertionError("unreachable")


@given(stories(), decisions, st.sampled_from(["resume", "resume_async"]))
def test_resumed_after_any_event(told: Story, decision: dict[str, Any], way: str):
    """A turn that stopped anywhere ends whole; nothing is done twice that must not be."""
    story = told.played()
    for version in cuts(story):
        world = World()
        session = opened(story, version, world)
        again = decide(session, decision, (way, way))

        check_whole(session)
        assert shown(session)[:2] == ["Hi", "Hello"]
        assert shown(session)[2] == "Do it"
        assert session.unfinished_turn is None
        assert kinds(session).count("turn.completed") == 2
        check_runs(world, story.facts[:version], again)
        check_approved(session, world, 0)


@given(stories(), st.sampled_from(["resume_stream", "resume_stream_async"]))
def test_streamed_after_any_event(told: Story, way: str):
    """The rest of a turn is streamed as a turn is."""
    story = told.played()
    for version in [] if story.shaped else cuts(story):
        session = opened(story, version, World())
        decide(session, {"result": "x"}, (way, way))

        check_whole(session)
        assert kinds(session)[-1] == "turn.completed"


@given(stories())
def test_explained_after_any_event(told: Story):
    """Looking says where the turn stands, and writes nothing."""
    story = told.played()
    for version in cuts(story):
        session = opened(story, version, World())
        found = session.unfinished_turn

        assert found is not None
        assert (found.started, found.stopped) == (cuts(story)[0], version)
        assert {c.call_id for c in found.calls if c.state == "unknown"} == set(
            intents(story.facts[:version])
        )
        started = intents(story.facts[:version])
        waits = {tool for tool, _ in started.values()} & {"pay", "sign"}
        assert (found.waiting_for == "decision") == bool(waits)
        asked = waiting(story.facts[:version])
        assert {call.call_id for call in session.pending_approvals} == asked
        assert {c.call_id for c in found.calls if c.approval == "requested"} == asked
        left = {call.call_id for call in found.calls if call.state != "done"}
        assert (found.waiting_for == "approval") == bool(asked and left == asked)
        assert (found.ended is not None) == (story.facts[version - 1].type == "turn.failed")
        assert found.owner_alive is False
        assert (session.version, len(list(session.events()))) == (version, version)
        assert shown(session) == ["Hi", "Hello"]


@given(stories())
def test_abandoned_after_any_event(told: Story):
    """A turn that stopped anywhere can be given up: the evidence stays, the history goes on."""
    story = told.played()
    for version in cuts(story):
        session = opened(story, version, World())
        session.abandon()
        session.abandon()

        expected = [fact.type for fact in story.facts[:version]]
        ended = expected[-1] == "turn.failed"
        assert kinds(session) == [*expected, *([] if ended else ["turn.abandoned"])]
        assert shown(session) == ["Hi", "Hello"]
        session.run("Go on")
        assert shown(session) == ["Hi", "Hello", "Go on", "Done."]
        check_whole(session)


@given(stories(), decisions)
def test_forked_after_any_event(told: Story, decision: dict[str, Any]):
    """A fork of any event goes on alone: what its parent had begun it runs only if it reads."""
    story = told.played()
    for version in cuts(story):
        world = World()
        parent = opened(story, version, world)
        child = parent.fork("child", at=version)
        found = child.unfinished_turn
        assert found is not None
        assert (found.owner, found.owner_alive) == (None, False)
        again = decide(child, decision, ("resume", "resume"))

        check_whole(child)
        check_approved(child, world, version)
        assert (parent.version, shown(parent)) == (version, ["Hi", "Hello"])
        ran = {run.call_id: run for run in world.journal}
        for call_id, (tool, key) in intents(story.facts[:version]).items():
            assert (call_id in ran) == (tool == "look" or call_id in again) or tool == "sign"
            assert call_id not in ran or ran[call_id].key != key


@given(stories(), st.data())
def test_stopped_again_and_again(told: Story, data: st.DataObject):
    """A turn whose resuming stops after any event, and so on, still ends whole."""
    story = told.played()
    facts, first = story.facts, cuts(story)[0]
    for _ in range(3):
        version, world = data.draw(st.integers(first, len(facts))), World()
        session = world.agent(store=cut(facts, version)).session("s")
        if session.unfinished_turn is None:
            break
        again = decide(session, {"retry": True}, ("resume", "resume"))
        check_whole(session)
        check_runs(world, facts[:version], again)
        facts = list(session.events())
