"""What a store of one's own can do wrong, and what it gets to see."""

import asyncio
import contextvars
import threading
from typing import Any

import pytest

from agent import Message, Session
from agent.engine.errors import NotSaved, ServerFailed
from agent.engine.scripted import Scripted
from agent.eventstore.errors import AgentError, ConflictError
from tests.engine.given import TURN, agent_of, kinds, shown
from tests.engine.stores import DictStore

USER: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")


class FragileStore(DictStore):
    """A store that does not take anything while it is broken."""

    def __init__(self) -> None:
        super().__init__()
        self.broken: Exception | None = OSError("disk on fire")
        self.seen: list[tuple[str, bool]] = []

    def save(self, session_id: str, data: dict[str, Any]) -> None:
        """Keep a session."""
        self.seen.append((USER.get(), threading.current_thread() is threading.main_thread()))
        if self.broken is not None:
            raise self.broken
        super().save(session_id, data)


def opened(store: DictStore, *script: Scripted) -> Session:
    """A session of the store."""
    return agent_of(*script, store=store).session("s")


def run(session: Session, prompt: str, is_async: bool) -> str:
    """The text of a turn."""
    if is_async:
        return asyncio.run(session.run_async(prompt)).text
    return session.run(prompt).text


# A store that fails


@pytest.mark.parametrize("is_async", [False, True])
def test_a_good_turn_that_is_not_saved(is_async: bool):
    """The error says that the turn is done; the next one hands the store both."""
    store = FragileStore()
    session = opened(store, "b", "d")
    with pytest.raises(NotSaved, match=r"is complete here.*OSError: disk on fire") as raised:
        run(session, "a", is_async)

    assert isinstance(raised.value, AgentError)
    assert raised.value.__cause__ is store.broken
    assert raised.value.session_id == "s"
    assert kinds(session) == ["session.started", *TURN]
    assert shown(session) == ["a", "b"]
    store.broken = None
    assert run(session, "c", is_async) == "d"
    assert shown(session) == shown(opened(store)) == list("abcd")


@pytest.mark.parametrize("is_async", [False, True])
def test_a_failed_turn_that_is_not_saved(is_async: bool):
    """What the caller gets is what ended the turn, with a note about the store."""
    store = FragileStore()
    session = opened(store, ServerFailed("down"), "d")
    with pytest.raises(ServerFailed, match="down") as raised:
        run(session, "a", is_async)

    assert raised.value.__notes__ == [
        "session 's' is complete here, but its store did not keep it: OSError: disk on fire"
    ]
    assert kinds(session)[-1] == "turn.failed"
    assert shown(session) == []
    store.broken = None
    run(session, "c", is_async)
    assert kinds(opened(store)) == kinds(session)


def test_a_message_that_is_not_saved():
    """A message is added once, whether or not the store took it."""
    store = FragileStore()
    session = opened(store, "b")
    with pytest.raises(NotSaved) as raised:
        session.add_message(Message.user("x"))
    assert raised.value.__cause__ is store.broken
    assert shown(session) == ["x"]

    store.broken = None
    session.add_message(Message.user("y"))
    assert shown(session) == shown(opened(store)) == ["x", "y"]


def test_an_error_of_ours_in_a_store():
    """A store may raise errors of this library; they do not fail the turn either."""
    store = FragileStore()
    store.broken = ConflictError("s", expected=None, actual=None)
    session = opened(store, "b")
    with pytest.raises(NotSaved) as raised:
        session.run("a")

    assert raised.value.__cause__ is store.broken
    assert kinds(session) == ["session.started", *TURN]


# Forks


@pytest.mark.parametrize("at", [None, 5])
def test_fork_under_the_name_of_a_kept_session(at: int | None):
    """A fork does not take the place of another session that the store keeps."""
    store = DictStore()
    agent = agent_of("b", "d", "f", store=store)
    agent.session("taken").run("a")
    session = agent.session("s")
    session.run("c")
    before = dict(store.kept)

    with pytest.raises(ConflictError, match="Choose another session_id"):
        session.fork("taken", at=at)
    assert store.kept == before
    assert shown(agent.session("taken")) == ["a", "b"]
    assert shown(session) == ["c", "d"]
    assert shown(session.fork("free")) == ["c", "d"]


@pytest.mark.parametrize("kind", ["forked", "adopted"])
def test_fork_of_a_fork_under_the_name_of_a_kept_session(kind: str):
    """Nor does a fork of a fork, or of a session that was read from an export."""
    store = DictStore()
    agent = agent_of("b", "d", store=store)
    agent.session("taken").run("a")
    root = agent.session("s")
    root.run("c")
    session = root.fork("f") if kind == "forked" else Session.from_dict(root.to_dict(), agent, "f")
    before = dict(store.kept)

    with pytest.raises(ConflictError, match="Choose another session_id"):
        session.fork("taken")
    assert store.kept == before


def test_a_later_export_over_an_earlier_state():
    """A later state may be read from an export when the store holds an earlier one."""
    store = DictStore()
    session = agent_of("b", "d", "f", store=store).session("s")
    session.run("a")
    earlier = dict(store.kept)
    session.run("c")
    data = session.to_dict()
    store.kept = earlier

    later = Session.from_dict(data, agent_of("f", store=store))
    later.run("e")
    later.refresh()
    assert shown(later) == ["a", "b", "c", "d", "e", "f"]


# What a store sees


@pytest.mark.parametrize("is_async", [False, True])
def test_context_of_a_save(is_async: bool):
    """A store sees the context variables of whoever runs the turn, in both colours of it."""
    store = FragileStore()
    store.broken = None
    session = opened(store, "b", ServerFailed("down"))

    def turns() -> None:
        USER.set("ada")
        run(session, "a", is_async)
        USER.set("eve")
        with pytest.raises(ServerFailed):
            run(session, "c", is_async)

    contextvars.copy_context().run(turns)

    assert [user for user, _ in store.seen] == ["ada", "eve"]
    assert {in_main for _, in_main in store.seen} == {not is_async}
    assert USER.get() == "nobody"
