"""Any life of a session: turns, changes of its history, forks, in any order."""

import hashlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agent import Agent, CompactionPolicy, Message, Session
from agent.engine.provider import ModelRequest
from agent.engine.scripted import Call, Scripted, ScriptedModel
from agent.errors import CannotRewind, ServerFailed
from agent.projections.pairing import Pairing
from agent.stores import SQLiteStore
from tests.engine.given import add, digests, fixed_sources, rebuilt

ADD = Call("add", {"a": 1, "b": 2})
"""One call at a time: the results of parallel ones are recorded in the order in which they come."""
KEPT = 2
POLICY = CompactionPolicy(messages=8, keep_last=KEPT)

moves = st.one_of(
    st.tuples(st.just("run"), st.sampled_from(["plain", "tools", "fail"])),
    st.tuples(st.just("run"), st.sampled_from(["plain", "tools"])),
    st.tuples(st.just("add"), st.just(0)),
    st.tuples(st.just("clear"), st.just(0)),
    st.tuples(st.just("rewind"), st.integers(0, 30)),
    st.tuples(st.just("undo"), st.integers(1, 3)),
    st.tuples(st.just("compact"), st.integers(0, 4)),
    st.tuples(st.just("fork"), st.integers(0, 30)),
)


def answer(request: ModelRequest) -> Scripted:
    """A model that calls tools, fails and summarizes when told to."""
    last = request.messages[-1]
    if last.text.startswith("Summarize"):
        return f"a summary of {len(request.messages) - 1}"
    if last.text == "fail":
        raise ServerFailed("down")
    return ADD if last.text == "tools" else f"answer to {last.text!r}"


class Shown(NamedTuple):
    """A session as plain lists: its messages, and those before each of its turns."""

    messages: list[Message]
    before: tuple[list[Message], ...] = ()


class Life:
    """A session, what it must show, and what it showed at each version at which it came to rest."""

    def __init__(
        self, session: Callable[[str], Session], fork: Callable[[Session, str, int], object]
    ) -> None:
        self.open = session
        self.make_fork = fork
        self.key = "s"
        self.now = Shown([])
        self.rests: dict[int, Shown] = {}

    def take(self, move: str, argument: Any) -> None:
        """Make one move, and compare."""
        session = self.open(self.key)
        getattr(self, f"_{move}")(session, argument)
        session = self.open(self.key)
        assert session.messages == self.now.messages
        if session.version:
            self.rests[session.version] = self.now

    def _run(self, session: Session, prompt: str) -> None:
        if prompt == "fail":
            with pytest.raises(ServerFailed):
                session.run(prompt)
            self.now = Shown(session.messages, self.now.before)  # perhaps compacted on the way
            return
        added = list(session.run(prompt).messages)
        before = session.messages[: -len(added)]
        compacted = before != self.now.messages
        assert compacted <= (len(self.now.messages) >= (POLICY.messages or 0))
        self.now = Shown([*before, *added], (*self.now.before, before))

    def _add(self, session: Session, _: int) -> None:
        message = Message.user("by hand")
        session.add_message(message)
        self.now = Shown([*self.now.messages, message], self.now.before)

    def _clear(self, session: Session, _: int) -> None:
        session.clear()
        self.now = Shown([])

    def _rewind(self, session: Session, choice: int) -> None:
        if self.rests:
            to = sorted(self.rests)[choice % len(self.rests)]
            session.rewind(to)
            self.now = self.rests[to]

    def _undo(self, session: Session, turns: int) -> None:
        before = self.now.before
        if turns > len(before):
            with pytest.raises(CannotRewind, match=f"has {len(before)} of"):
                session.undo(turns)
            return
        session.undo(turns)
        self.now = Shown(before[-turns], before[:-turns])

    def _compact(self, session: Session, keep_last: int) -> None:
        messages = self.now.messages
        done = session.compact(keep_last)
        after = session.messages
        if done.summary is None:
            assert after == messages
            return
        kept = len(after) - 1
        assert after[1:] == messages[len(messages) - kept :]
        assert kept - keep_last in (0, 1)
        assert (done.messages_before, done.messages_after) == (len(messages), len(after))
        assert after[0].text.endswith(f"a summary of {len(messages) - kept}")
        self.now = Shown(after, self.now.before)

    def _fork(self, session: Session, choice: int) -> None:
        if not self.rests:
            return
        at = sorted(self.rests)[choice % len(self.rests)]
        self.key = f"{self.key}-{session.version}"
        self.make_fork(session, self.key, at)
        self.now = self.rests[at]
        self.rests = {version: shown for version, shown in self.rests.items() if version <= at}


def agents(window: int | None, policy: CompactionPolicy | None, **options: Any) -> Agent:
    """An agent that makes one attempt, with the same time and salt for every event."""
    return Agent(
        ScriptedModel(answer),
        "m",
        tools=[add],
        max_retries=0,
        window=window,
        compact_at=policy,
        sources=replace(fixed_sources(), salt=lambda: bytes(16)),
        **options,
    )


def living(agent: Agent) -> Life:
    """A life in memory, with one handle for each session."""
    handles: dict[str, Session] = {"s": agent.session("s", system="Be brief.")}

    def fork(session: Session, key: str, at: int) -> None:
        handles[key] = session.fork(key, at)

    return Life(handles.__getitem__, fork)


def reopened(agent: Agent) -> Life:
    """A life in a file, opened anew for each move: nothing is remembered but the log."""
    return Life(
        lambda key: agent.session(key, system="Be brief."),
        lambda session, key, at: session.fork(key, at),
    )


def hashes(session: Session) -> list[bytes]:
    """The identity of each event that is durable."""
    return [fact.hash for fact in session.events()][: session.version]


def check(session: Session, life: Life, agent: Agent) -> None:
    """What must hold of every session, whatever was done to it."""
    pairing = Pairing()
    for message in session.messages:
        pairing.see(message)
    pairing.end()
    bodies = rebuilt(session, agent.provider)
    assert [hashlib.sha256(body).hexdigest() for body in bodies] == digests(session)
    last = session.version
    for version, shown in life.rests.items():
        assert session.at(version).messages == shown.messages
        assert session.fork(f"{session.session_id} at {version}", version).messages == (
            shown.messages
        )
    for version, shown in life.rests.items():
        session.rewind(version)
        assert session.messages == shown.messages
    if life.rests:
        session.rewind(last)
        assert session.messages == life.now.messages


@given(
    st.lists(moves, max_size=14),
    st.sampled_from([None, 1, 3, 6]),
    st.sampled_from([None, POLICY]),
)
def test_any_life(plan: list[tuple[str, Any]], window: int | None, policy: CompactionPolicy | None):
    """Whatever is done to a session, plain lists show the same, and nothing is lost.

    Each history is paired. Each version at which a session came to rest can be looked at, forked
    and gone back to. Each request is rebuilt from the log to its digest. A session in memory and
    one in a file, opened anew for each move, have the same events.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sessions.db"
        with (
            SQLiteStore(path, durability="os") as store,
            agents(window, policy, store=store) as durable,
            agents(window, policy) as fleeting,
        ):
            kept, living_one = reopened(durable), living(fleeting)
            for move, argument in plan:
                for life in (kept, living_one):
                    life.take(move, argument)
            ours, theirs = (life.open(life.key) for life in (kept, living_one))
            assert hashes(ours) == hashes(theirs)
            assert kept.rests == living_one.rests
            check(ours, kept, durable)
            check(theirs, living_one, fleeting)
