"""Long histories and recovery together: crashes in compactions, windows, keys and forks."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec
import pytest

from agent import Agent, CompactionPolicy, Message, Session
from agent.engine.provider import ModelRequest
from agent.engine.scripted import ScriptedModel
from agent.engine.sources import Sources
from agent.engine.unfinished import Ending
from agent.errors import (
    CannotRewind,
    NothingUnfinished,
    OutcomeUnknown,
    OwnerAlive,
    ServerFailed,
)
from agent.eventstore.record import Recorded
from agent.eventstore.values import Owner
from agent.stores import MemoryStore
from tests.engine.crashes import World, asks, check_whole, cut
from tests.engine.given import agent_of, dead_sources, digests, fixed_sources, kinds, rebuilt, shown

SUM = "Summary of the conversation so far:\n\nsum"
DUE = CompactionPolicy(messages=6, keep_last=2)


def reply(request: ModelRequest) -> str:
    """A summary if one is asked for, else the prompt in capitals."""
    text = request.messages[-1].text
    return "sum" if text.startswith("Summarize") else text.upper()


def replying(sources: Sources | None = None, **options: Any) -> Agent:
    """An agent whose model answers so."""
    return Agent(ScriptedModel(reply), "m", sources=sources or fixed_sources(), **options)


def asked(session: Session) -> list[str]:
    """The last message of each request that the model of a session has got."""
    provider = session._agent.provider
    assert isinstance(provider, ScriptedModel)
    return [request.messages[-1].text for request in provider.requests]


def talked(agent: Agent, prompts: str) -> Session:
    """A session of these turns, each under a key of its own."""
    session = agent.session("s")
    for prompt in prompts:
        session.run(prompt, idempotency_key=f"key-{prompt}")
    return session


def compacting(sources: Sources) -> Sequence[Recorded]:
    """The events of three turns, and of a compaction that waits for its summary."""
    session = talked(replying(sources), "abc")
    session.compact(keep_last=2)
    return list(session.events())[:-3]


def crashed(**options: Any) -> Session:
    """A session as it is found after a crash in a compaction."""
    facts = compacting(dead_sources())
    return replying(store=cut(facts, len(facts)), **options).session("s")


def test_a_rewind_into_a_cut_compaction():
    """The nearest versions are versions that there are, and one can rewind to each."""
    session = crashed()
    before = session.version
    with pytest.raises(CannotRewind) as caught:
        session.rewind(to=before)
    assert (caught.value.nearest, session.version) == ((before - 2,), before)
    session.rewind(to=before - 2)

    assert shown(session) == list("aAbBcC")
    check_whole(session)


@pytest.mark.parametrize(
    "change",
    [
        lambda session: session.run("x"),
        lambda session: session.compact(keep_last=2),
        lambda session: session.undo(),
        lambda session: session.add_message(Message.user("x")),
    ],
    ids=["run", "compact", "undo", "add_message"],
)
def test_a_compaction_elsewhere(change: Callable[[Session], object]):
    """One that may go on elsewhere is waited for or given up; there is nothing in it to resume."""
    owner = Owner("elsewhere", 1, 1)
    facts = compacting(msgspec.structs.replace(fixed_sources(), owner=lambda: owner))
    session = replying(store=cut(facts, len(facts)), compact_at=DUE).session("s")
    with pytest.raises(
        OwnerAlive, match=r"take the compaction from it with abandon\(take"
    ) as caught:
        change(session)
    assert "resume" not in str(caught.value)
    assert session.unfinished_turn is None
    with pytest.raises(NothingUnfinished):
        session.resume(takeover=True)
    session.abandon(takeover=True)
    change(session)

    check_whole(session)


@pytest.mark.parametrize("back", [0, 1], ids=["asked", "begun"])
def test_a_fork_inside_of_a_compaction(back: int):
    """The child's history is whole; what it inherits of the compaction stands in nobody's way."""
    session = crashed()
    child = session.fork("child", at=session.version - back)
    assert child.unfinished_turn is None
    child.undo()
    assert (shown(child), child.compact(keep_last=0).summary) == (list("aAbB"), "sum")
    check_whole(child)


def test_an_export_out_of_a_compaction():
    """Imported elsewhere it is nobody's, and the session goes on."""
    owner = Owner("elsewhere", 1, 1)
    facts = compacting(msgspec.structs.replace(fixed_sources(), owner=lambda: owner))
    exported = replying(store=cut(facts, len(facts))).session("s").to_dict()
    session = Session.from_dict(exported, replying(), session_id="t")
    session.run("d")

    assert shown(session) == list("aAbBcCdD")
    check_whole(session)


def test_a_recorded_answer_needs_no_compaction():
    """Nothing is asked or written for a request that has its answer, however long the history."""
    store = MemoryStore()
    before = talked(replying(store=store), "abc").version
    session = replying(store=store, compact_at=DUE).session("s")

    assert session.run("b", idempotency_key="key-b").text == "B"
    assert (asked(session), session.version) == ([], before)


def test_a_recorded_answer_that_a_handle_has_not_seen():
    """A handle that is behind, whose history is too long, asks for no summary either."""
    store = MemoryStore()
    first = talked(replying(store=store), "abc")
    behind = replying(store=store, compact_at=DUE).session("s")
    first.run("d", idempotency_key="key-d")

    assert behind.run("d", idempotency_key="key-d").text == "D"
    assert asked(behind) == []


@pytest.mark.parametrize("on_unfinished", ["resume", "abandon"])
def test_an_open_turn_before_a_due_compaction(on_unfinished: Literal["resume", "abandon"]):
    """The open turn is seen to, nothing is compacted; before the next turn the history is."""
    facts = list(talked(replying(dead_sources()), "abcd").events())
    store = cut(facts, len(facts) - 2)
    session = replying(store=store, compact_at=DUE, on_unfinished=on_unfinished).session("s")
    session.run("e")
    assert "history.compacted" not in kinds(session)
    session.run("f")

    assert shown(session) == [SUM, *"eEfF"]
    check_whole(session)


def test_an_error_of_ones_own_in_a_compaction():
    """What is no error of this library comes through; the next turn tries again."""
    errors = [ZeroDivisionError("own")]

    def answer(request: ModelRequest) -> str:
        if reply(request) == "sum" and errors:
            raise errors.pop()
        return reply(request)

    session = talked(Agent(ScriptedModel(answer), "m", compact_at=DUE), "abc")
    with pytest.raises(ZeroDivisionError, match="own"):
        session.run("d")
    assert (kinds(session)[-1], shown(session)) == ("turn.abandoned", list("aAbBcC"))
    session.run("d")

    assert shown(session) == [SUM, *"cCdD"]


DOWN = ServerFailed("down")


def test_a_compaction_closes_the_door():
    """After a compaction that was done a failed turn is taken up in a fork alone."""
    session = agent_of("b", DOWN, "sum", "d").session("s")
    session.run("a")
    with pytest.raises(ServerFailed):
        session.run("c")
    failed = session.version
    session.compact(keep_last=0)
    assert session.unfinished_turn is None

    child = session.fork("child", at=failed)
    assert child.resume().text == "d"
    assert shown(child) == list("abcd")


@pytest.mark.parametrize("ends", ["failed", "begun", "asked"])
def test_a_compaction_that_came_to_nothing(ends: str):
    """After one that failed, or whose process died, a failed turn is taken up as before."""
    sources = dead_sources()
    first = agent_of("b", DOWN, DOWN, sources=sources).session("s")
    first.run("a")
    with pytest.raises(ServerFailed):
        first.run("c")
    with pytest.raises(ServerFailed):
        first.compact(keep_last=0)
    facts = list(first.events())
    store = cut(facts, len(facts) - {"failed": 0, "asked": 2, "begun": 3}[ends])
    session = agent_of("d", store=store).session("s")
    found = session.unfinished_turn
    assert found is not None
    assert (found.started, found.ended) == (6, Ending("failed", "ServerFailed: down"))
    child = session.fork("child", at=session.version)
    assert session.resume().text == "d"

    assert shown(session) == list("abcd")
    assert kinds(session).count("turn.abandoned") == (ends != "failed")
    check_whole(session)
    assert child.unfinished_turn is not None


def test_a_decision_after_a_compaction_that_came_to_nothing():
    """A call of unknown outcome is decided about, though a compaction has died since."""
    agent = World().agent([asks("pay"), DOWN], sources=dead_sources(), deadline=60.0)
    first = agent.session("s", messages=[Message.user("a"), Message.assistant("b")])
    stream = first.stream("c")
    assert next(stream).type == "tool_call"
    stream.close()
    with pytest.raises(ServerFailed):
        first.compact(keep_last=0)
    facts = list(first.events())
    session = World().agent(store=cut(facts, len(facts) - 2)).session("s")
    with pytest.raises(OutcomeUnknown) as raised:
        session.resume()
    session.resolve(raised.value.calls[0].call_id, result="paid")

    assert session.resume().text == "Done."
    check_whole(session)


def test_a_turn_that_failed_before_a_compaction_elsewhere():
    """While the compaction may go on the turn is not taken up, unless it is taken over."""
    first = agent_of("b", DOWN, DOWN).session("s")
    first.run("a")
    with pytest.raises(ServerFailed):
        first.run("c")
    with pytest.raises(ServerFailed):
        first.compact(keep_last=0)
    facts = list(first.events())
    store = cut(facts, len(facts) - 2)
    session = agent_of("d", store=store, sources=Sources()).session("s")
    with pytest.raises(OwnerAlive, match="on host"):
        session.resume()
    assert session.resume(takeover=True).text == "d"


@pytest.mark.parametrize(
    "change",
    [
        lambda session: session.undo(2),
        lambda session: session.rewind(to=5),
        lambda session: session.compact(keep_last=0),
    ],
    ids=["undo", "rewind", "compact"],
)
def test_a_key_whose_turn_no_longer_shows(change: Callable[[Session], object]):
    """The recorded answer is given again, and the history stays without that turn."""
    session = talked(replying(), "abc")
    change(session)
    version, before = session.version, shown(session)
    assert session.run("c", idempotency_key="key-c").text == "C"
    assert (session.version, shown(session)) == (version, before)
    session.run("c", idempotency_key="new")

    assert shown(session) == [*before, "c", "C"]


@pytest.mark.parametrize(("was", "now", "read"), [(4, None, 5), (4, 2, 5), (None, 4, 15)])
@pytest.mark.parametrize("imported", [False, True])
def test_a_windowed_turn_is_resumed(was: int | None, now: int | None, read: int, imported: bool):
    """The request is that of the crashed turn to the byte, whatever the window is by now."""
    facts = list(talked(replying(dead_sources(), window=was), "abcdefgh").events())
    agent = replying(store=cut(facts, len(facts) - 2), window=now)
    session = agent.session("s")
    if imported:
        session = Session.from_dict(session.to_dict(), replying(window=now), session_id="t")
    response = session.resume()
    provider = session._agent.provider
    assert isinstance(provider, ScriptedModel)
    bodies = rebuilt(session, provider)

    assert len(provider.requests[-1].messages) == read
    assert digests(session)[-1] == digests(session)[-2]
    assert bodies[-1] == bodies[-2]
    assert session.run("h", idempotency_key="key-h") == response
