import threading
from pathlib import Path

import pytest

from agent import Message
from agent.engine.errors import HistoryExists, OwnerAlive, SessionBusy, StreamAbandoned, TurnOpen
from agent.engine.scripted import Call, Reply
from agent.eventstore.errors import ConflictError, UnknownStream
from agent.eventstore.events import TurnAbandoned
from agent.stores import LogStore, SQLiteStore
from tests.engine.gates import SOON
from tests.engine.given import TURN, agent_of, dead_sources, kinds, shown
from tests.engine.stores import opened

# Loading


def test_a_new_session_writes_nothing_by_being_read(log_store: LogStore):
    """A new session shows what it was given, and the log_store knows nothing of it yet."""
    session = opened(log_store, system="Be brief.", messages=[Message.user("a")], metadata={"n": 1})

    assert (session.version, session.system, shown(session)) == (0, "Be brief.", ["a"])
    assert (session.metadata, kinds(session)) == ({"n": 1}, ["session.started", "message.added"])
    assert log_store.list_sessions() == []


def test_the_first_turn_writes_what_was_wanted(log_store: LogStore):
    """What opens a session shares the first commit with its first turn."""
    session = opened(log_store, "b", messages=[Message.user("x")])
    session.run("a")

    assert kinds(session) == ["session.started", "message.added", *TURN]
    assert shown(opened(log_store)) == ["x", "a", "b"]


def test_reopening_appends_nothing(log_store: LogStore):
    """A session that is opened again with the same configuration goes on as it was."""
    opened(log_store, "b", system="Be brief.", metadata={"n": 1}).run("a")
    again = opened(log_store, "d", system="Be brief.", metadata={"n": 1})
    before = kinds(again)
    again.run("c")

    assert kinds(again) == [*before, *TURN]
    assert shown(again) == ["a", "b", "c", "d"]


def test_reopening_with_another_configuration(log_store: LogStore):
    """A different system prompt and other metadata are recorded with the next turn."""
    opened(log_store, "b", system="Be brief.").run("a")
    again = opened(log_store, "d", system="Be kind.", metadata={"n": 2})
    assert (again.system, again.metadata, again.version) == ("Be kind.", {"n": 2}, 5)
    again.run("c")

    assert kinds(again)[5:] == ["system.changed", "metadata.changed", *TURN]


@pytest.mark.parametrize(("given", "kept"), [(None, "Be brief."), ("", None)])
def test_reopening_and_the_system_prompt(log_store: LogStore, given: str | None, kept: str | None):
    """Without a system prompt the old one stays; an empty one removes it."""
    opened(log_store, "b", system="Be brief.").run("a")

    assert opened(log_store, system=given).system == kept


def test_messages_for_a_session_with_history(log_store: LogStore):
    """History cannot be given to a session that has one."""
    opened(log_store, "b").run("a")
    session = opened(log_store, "x", messages=[Message.user("z")])

    with pytest.raises(HistoryExists):
        _ = session.messages
    with pytest.raises(HistoryExists):
        session.run("c")


# Others write too


def test_a_turn_follows_what_others_wrote(log_store: LogStore):
    """The start of a turn catches up with a stream that another handle moved on."""
    one, other = opened(log_store, "b"), opened(log_store, "d")
    assert other.version == 0
    one.run("a")
    other.run("c")

    assert shown(other) == ["a", "b", "c", "d"]
    assert kinds(other) == ["session.started", *TURN, *TURN]


def test_two_handles_take_turns(log_store: LogStore):
    """Two handles that run turns in any order keep one history, and send it."""
    one, other = opened(log_store, *"bfh"), opened(log_store, *"dj")
    for session, prompt in ((one, "a"), (other, "c"), (one, "e"), (one, "g"), (other, "i")):
        session.run(prompt)

    assert shown(other) == list("abcdefghij")
    assert shown(one) == list("abcdefgh")
    one.refresh()
    assert shown(one) == shown(opened(log_store)) == list("abcdefghij")
    request = other._handle.provider.requests[-1]  # pyright: ignore[reportAttributeAccessIssue]
    assert [m.text for m in request.messages] == list("abcdefghi")


def test_stale_handles_do_not_change_the_history(log_store: LogStore):
    """Clearing and adding on a stale handle is a conflict, until it is refreshed."""
    one, other = opened(log_store, "b", "d"), opened(log_store)
    one.run("a")
    other.refresh()
    one.run("c")
    for change in (other.clear, lambda: other.add_message(Message.user("x"))):
        with pytest.raises(ConflictError) as raised:
            change()
        assert raised.value.expected is not None
        assert raised.value.actual is not None
        assert (raised.value.expected.version, raised.value.actual.version) == (5, 9)
    assert shown(other) == ["a", "b"]
    other.refresh()
    other.clear()

    assert shown(opened(log_store)) == []


def test_changes_are_durable_at_once(log_store: LogStore):
    """Adding and clearing are in the log when they return."""
    session = opened(log_store)
    session.add_message(Message.user("a"))
    assert shown(opened(log_store)) == ["a"]
    session.clear()

    assert kinds(opened(log_store)) == ["session.started", "message.added", "history.cleared"]


def test_deleted_under_a_handle(log_store: LogStore):
    """A session that was deleted says so, and is not brought back by a handle."""
    session = opened(log_store, "b", "d")
    session.run("a")
    log_store.delete("s")

    with pytest.raises(UnknownStream, match="was deleted"):
        session.run("c")
    with pytest.raises(UnknownStream, match="was deleted"):
        session.refresh()
    with pytest.raises(ConflictError):
        session.clear()
    assert log_store.list_sessions() == []


def test_export_of_a_deleted_session(log_store: LogStore):
    """What is no longer there cannot be exported, and changing it says what to do."""
    session = opened(log_store, "b", "d")
    session.run("a")
    log_store.delete("s")

    with pytest.raises(UnknownStream, match="was deleted; open it anew") as unknown:
        session.to_dict()
    assert unknown.value.stream == "s"
    for change in (session.clear, lambda: session.add_message(Message.user("x"))):
        with pytest.raises(ConflictError, match="was deleted: open the session anew") as raised:
            change()
        assert raised.value.actual is None
        assert "efresh" not in str(raised.value)
    anew = opened(log_store, "y")
    anew.run("x")
    assert shown(anew) == ["x", "y"]


def test_deleted_and_made_anew(log_store: LogStore):
    """A handle on a deleted session never writes into a new one of the same name."""
    session = opened(log_store, "b", "d")
    session.run("a")
    log_store.delete("s")
    anew = opened(log_store, "y", "z")
    anew.run("x")
    anew.run("x")

    for act in (lambda: session.run("c"), session.refresh, session.clear):
        with pytest.raises(ConflictError):
            act()
    assert shown(opened(log_store)) == ["x", "y", "x", "z"]


def test_deleted_before_it_was_used(log_store: LogStore):
    """A handle that has loaded nothing yet simply begins."""
    session = opened(log_store, "b")
    opened(log_store, "y").run("x")
    log_store.delete("s")
    session.run("a")

    assert shown(session) == ["a", "b"]


# One turn at a time


def test_two_threads_on_one_session():
    """While one thread advances a turn, another one's turn and change are refused."""
    inside, release = threading.Event(), threading.Event()

    def hold() -> str:
        """Hold the turn open."""
        inside.set()
        assert release.wait(SOON)
        return "held"

    session = agent_of(Call("hold"), "Done", "x", tools=[hold]).session("s")
    thread = threading.Thread(target=session.run, args=("a",))
    thread.start()
    assert inside.wait(SOON)
    try:
        for act in (lambda: session.run("b"), session.clear):
            with pytest.raises(SessionBusy) as raised:
                act()
            assert raised.value.session_id == "s"
    finally:
        release.set()
        thread.join(SOON)

    assert shown(session) == ["a", "", "held", "Done"]
    assert session.run("b").text == "x"


def test_a_stream_that_nobody_reads_is_abandoned():
    """A new turn ends a stream that nobody advances; that stream says so when it is asked."""
    session = agent_of("one two", "Hello").session("s")
    stream = session.stream("a")
    next(stream)
    session.run("b")

    with pytest.raises(StreamAbandoned) as raised:
        next(stream)
    assert raised.value.session_id == "s"
    with pytest.raises(StreamAbandoned):
        list(stream)
    stream.close()
    assert shown(session) == ["b", "Hello"]
    assert kinds(session) == [
        *("session.started", "turn.started", "model.requested"),
        *("model.failed", "turn.abandoned"),
        *TURN,
    ]


def test_a_stream_is_no_time_for_changes():
    """While a stream is open, the history cannot be changed, nor the handle refreshed."""
    session = agent_of("one two").session("s")
    with session.stream("a") as stream:
        next(stream)
        for change in (session.clear, session.refresh):
            with pytest.raises(TurnOpen):
                change()
        assert list(stream)[-1].type == "done"
    session.clear()

    assert kinds(session)[-2:] == ["turn.completed", "history.cleared"]


def test_a_finished_stream_is_left_alone():
    """A stream that was read to its end is not abandoned by the next turn."""
    session = agent_of("one", "two").session("s")
    list(session.stream("a"))
    session.run("b")

    assert shown(session) == ["a", "one", "b", "two"]


# A process that died


def test_open_turn_of_a_dead_process(tmp_path: Path):
    """Where the policy says so, the next turn abandons one that a dead process left open."""
    path = tmp_path / "sessions.db"
    with SQLiteStore(path) as dead, SQLiteStore(path) as living:
        left = agent_of(Reply(text="one two"), store=dead, sources=dead_sources()).session("s")
        stream = left.stream("lost")
        next(stream)
        session = agent_of("Hello", store=living, on_unfinished="abandon").session("s")
        assert shown(session) == []
        with pytest.raises(TurnOpen) as raised:
            session.clear()
        assert raised.value.started == 2
        session.run("a")

        assert shown(session) == ["a", "Hello"]
        assert kinds(session)[3:] == ["turn.abandoned", *TURN]
        assert list(session.events())[3].event == TurnAbandoned(reason="interrupted")
        stream.close()
        assert kinds(opened(living)) == kinds(session)


def test_late_answer_of_a_process_that_was_taken_for_dead(tmp_path: Path):
    """A turn that was abandoned by another process cannot write its answer."""
    path = tmp_path / "sessions.db"
    with SQLiteStore(path) as slow, SQLiteStore(path) as fast:
        stream = opened(slow, "one two").stream("lost")
        next(stream)
        session = opened(fast, "Hello")
        with pytest.raises(OwnerAlive):
            session.run("a")
        session.abandon(takeover=True)
        session.run("a")
        with pytest.raises(ConflictError):
            list(stream)

        assert kinds(opened(fast)) == kinds(session)
