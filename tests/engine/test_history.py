"""Rewinding and undoing: the log only grows, what is visible goes back and forth."""

from pathlib import Path

import pytest

from agent import Message
from agent.engine.errors import ServerFailed
from agent.errors import (
    CannotRewind,
    ConfigurationError,
    ConflictError,
    TurnOpen,
    UnknownStream,
)
from agent.stores import MemoryStore, SQLiteStore
from tests.engine.given import add, agent_of, kinds, shown

HI = Message.user("hi")


def test_rewinding_back_and_forth():
    """A rewind shows a version again, another one goes forward; the log keeps everything."""
    session = agent_of("b", "d").session()
    versions = [session.run(prompt).version for prompt in "ac"]
    session.rewind(to=versions[0])
    assert shown(session) == ["a", "b"]
    session.rewind(to=versions[1])

    assert shown(session) == ["a", "b", "c", "d"]
    assert kinds(session)[-2:] == ["history.rewound"] * 2


def test_a_rewound_session_goes_on():
    """The next turn follows what is visible, and the model reads no more than that."""
    agent = agent_of("b", "d", "f")
    session = agent.session()
    first = session.run("a").version
    session.run("c")
    session.rewind(to=first)
    session.run("e")

    assert shown(session) == ["a", "b", "e", "f"]
    assert [m.text for m in agent.provider.requests[-1].messages] == ["a", "b", "e"]  # pyright: ignore[reportAttributeAccessIssue]


def test_what_a_rewind_restores(tmp_path: Path):
    """System prompt and tools are those of then; metadata and usage stay as they are."""
    with SQLiteStore(tmp_path / "s.db") as store:
        first = agent_of("b", store=store, tools=[add])
        version = first.session("s", system="old", metadata={"n": 1}).run("a").version
        second = agent_of("d", store=store)
        session = second.session("s", system="new", metadata={"n": 2})
        session.run("c")
        session.rewind(to=version)
        state = session._handle.state.conversation

        assert (session.system, session.metadata) == ("old", {"n": 2})
        assert [tool.name for tool in state.tools.definitions] == ["add"]
        assert session.usage.own.output_tokens == 2


@pytest.mark.parametrize(("to", "nearest"), [(2, (1, 5)), (4, (1, 5)), (8, (5, 9))])
def test_rewinding_into_a_turn(to: int, nearest: tuple[int, ...]):
    """A version inside of a turn is refused; the error names the nearest that can be shown."""
    session = agent_of("b", "d").session()
    session.run("a")
    session.run("c")
    with pytest.raises(CannotRewind, match=f"version {to} .*{nearest[0]} and {nearest[1]}") as e:
        session.rewind(to=to)

    assert e.value.nearest == nearest
    assert shown(session) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("to", [0, -1, 6, True, "1", None])
def test_rewinding_to_what_there_is_not(to: int):
    """A version that there is not is refused; the error says which there are."""
    session = agent_of("b").session()
    session.run("a")

    with pytest.raises(UnknownStream, match="versions 1 to 5"):
        session.rewind(to=to)


def test_rewinding_to_the_present():
    """To show what is shown already takes no event."""
    session = agent_of("b").session()
    session.rewind(to=session.run("a").version)

    assert kinds(session)[-1] == "turn.completed"


def test_given_messages_are_rewound():
    """Messages that a session began with are versions of their own, also before its first turn."""
    session = agent_of().session(messages=[HI, Message.assistant("ho")])
    session.rewind(to=2)

    assert shown(session) == ["hi"]


def test_changes_on_a_stale_handle():
    """A handle that others have overtaken changes nothing, and says so."""
    agent = agent_of("b", "d", store=MemoryStore())
    stale, other = agent.session("s"), agent.session("s")
    version = stale.run("a").version
    other.run("c")
    for change in (lambda: stale.rewind(to=1), stale.undo):
        with pytest.raises(ConflictError):
            change()
    assert shown(other) == ["a", "b", "c", "d"]
    stale.refresh()
    stale.undo()

    assert shown(stale) == ["a", "b"]
    stale.rewind(to=version)


def test_changes_during_a_turn():
    """While a turn is open nothing is rewound."""
    session = agent_of("b", "d").session()
    session.run("a")
    fork = session.fork(at=session.version - 1)
    for change in (lambda: fork.rewind(to=1), fork.undo):
        with pytest.raises(TurnOpen):
            change()


# Undo


def test_undo_takes_turns_back():
    """The last turns leave the history, one by one or together."""
    session = agent_of("b", "d", "f", "h").session()
    for prompt in "aceg":
        session.run(prompt)
    session.undo()
    assert shown(session) == ["a", "b", "c", "d", "e", "f"]
    session.undo(turns=2)

    assert shown(session) == ["a", "b"]


def test_an_undo_is_undone():
    """The version before an undo can be shown again, and undone again."""
    session = agent_of("b", "d").session()
    session.run("a")
    before = session.run("c").version
    session.undo()
    session.rewind(to=before)
    assert shown(session) == ["a", "b", "c", "d"]
    session.undo(2)

    assert shown(session) == []


def test_undo_takes_what_came_after_the_turn():
    """A message added by hand after a turn goes with it, one before it stays."""
    session = agent_of("b").session()
    session.add_message(HI)
    session.run("a")
    session.add_message(HI)
    session.undo()

    assert shown(session) == ["hi"]


def test_undo_passes_failed_turns():
    """A failed turn never showed: undo takes the last one that did."""
    session = agent_of("b", ServerFailed("down")).session()
    session.run("a")
    with pytest.raises(ServerFailed):
        session.run("c")
    session.undo()

    assert shown(session) == []


def test_undo_past_a_compaction():
    """Undo of a turn before a compaction shows what was there before that turn, in full."""
    session = agent_of("b", "d", "sum").session()
    session.run("a")
    session.run("c")
    session.compact(keep_last=0)
    session.undo()

    assert shown(session) == ["a", "b"]


@pytest.mark.parametrize("turns", [1, 2])
def test_nothing_to_undo(turns: int):
    """Without so many turns nothing happens: new, cleared, or with messages by hand alone."""
    session = agent_of("b").session(messages=[HI])
    with pytest.raises(CannotRewind, match=f"has 0 of {turns} turns"):
        session.undo(turns)
    before = session.run("a").version
    session.clear()
    session.add_message(HI)
    with pytest.raises(CannotRewind, match="has 0 of"):
        session.undo(turns)
    assert shown(session) == ["hi"]
    session.rewind(to=before)
    with pytest.raises(CannotRewind, match="has 1 of 2 turns"):
        session.undo(2)

    assert shown(session) == ["hi", "a", "b"]


@pytest.mark.parametrize("turns", [0, -1, True, "1", None, 1.0])
def test_how_many_turns(turns: int):
    """Turns are counted from 1."""
    with pytest.raises(ConfigurationError, match="turns must be at least 1"):
        agent_of().session().undo(turns)


def test_a_fork_undoes_what_it_inherited():
    """In a fork inherited turns are undone; the parent keeps them."""
    session = agent_of("b", "d").session()
    session.run("a")
    session.run("c")
    fork = session.fork()
    fork.undo(2)

    assert (shown(fork), shown(session)) == ([], ["a", "b", "c", "d"])


def test_undo_is_durable(tmp_path: Path):
    """What was undone stays so in another process."""
    with SQLiteStore(tmp_path / "s.db") as store:
        session = agent_of("b", "d", store=store).session("s")
        session.run("a")
        session.run("c")
        session.undo()
    with SQLiteStore(tmp_path / "s.db") as store:
        again = agent_of(store=store).session("s")
        assert shown(again) == ["a", "b"]
        again.undo()
        assert shown(again) == []
