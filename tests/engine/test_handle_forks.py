import pytest

from agent.engine.errors import TurnOpen
from agent.eventstore.errors import ConflictError, UnknownStream
from agent.stores import LogStore
from tests.engine.given import kinds, shown
from tests.engine.stores import opened


def test_fork_shares_the_past(log_store: LogStore):
    """A fork shows what its parent showed, and both go on alone."""
    session = opened(log_store, "b", "d", "f")
    session.run("a")
    child = session.fork("child")
    session.run("c")
    child.run("e")

    assert (shown(session), shown(child)) == (list("abcd"), ["a", "b", "e", "f"])
    assert (child.parent, session.parent) == ("s", None)
    assert kinds(child)[5] == "session.forked"


def test_fork_at_a_version(log_store: LogStore):
    """A fork may begin at any version of its parent, also inside a turn."""
    session = opened(log_store, "b", "d", "f", "h")
    session.run("a")
    session.run("c")
    early, inside = session.fork("early", at=5), session.fork("inside", at=7)
    early.run("e")
    assert shown(inside) == ["a", "b"]
    with pytest.raises(TurnOpen):
        inside.clear()
    inside.abandon()
    inside.run("g")

    assert shown(early) == ["a", "b", "e", "f"]
    assert shown(inside) == ["a", "b", "g", "h"]
    assert kinds(inside)[7:9] == ["session.forked", "turn.abandoned"]


def test_fork_in_the_middle_of_a_stream(log_store: LogStore):
    """A fork during a turn begins at the last settled version."""
    session = opened(log_store, "b", "one two")
    session.run("a")
    stream = session.stream("c")
    next(stream)
    child = session.fork("child")
    list(stream)

    assert (shown(child), child.version) == (["a", "b"], 6)
    assert shown(session) == ["a", "b", "c", "one two"]


def test_fork_of_an_unused_session(log_store: LogStore):
    """Forking a session that was never used writes its beginning first."""
    session = opened(log_store, system="Be brief.")
    child = session.fork("child")

    assert (kinds(session), kinds(child)) == (
        ["session.started"],
        ["session.started", "session.forked"],
    )
    assert child.system == "Be brief."


def test_fork_under_a_taken_name(log_store: LogStore):
    """A fork never takes the name of another session."""
    session = opened(log_store, "b")
    session.run("a")
    session.fork("child")

    with pytest.raises(ConflictError, match="Choose another session_id"):
        session.fork("child")


@pytest.mark.parametrize("version", [0, -1, 6])
def test_versions_that_do_not_exist(log_store: LogStore, version: int):
    """There is nothing to see or to fork outside of a session's versions."""
    session = opened(log_store, "b")
    session.run("a")

    with pytest.raises(UnknownStream, match="has versions 1 to 5"):
        session.at(version)
    with pytest.raises(UnknownStream, match="has versions 1 to 5"):
        session.fork("child", at=version)


def test_earlier_versions(log_store: LogStore):
    """A view shows what the session showed at that version, for ever."""
    session = opened(log_store, "b", "d", system="Be brief.")
    session.run("a")
    view = session.at(5)
    session.run("c")
    session.clear()

    assert [m.text for m in view.messages] == [m.text for m in session.at(5).messages] == ["a", "b"]
    assert [m.text for m in session.at(7).messages] == ["a", "b"]
    assert (view.version, view.system, view.parent) == (5, "Be brief.", None)
    assert session.at(10).messages == session.messages == []


def test_what_is_handed_out_is_a_copy(log_store: LogStore):
    """Changing a list or dictionary that a session gave changes nothing in it."""
    session = opened(log_store, "b", metadata={"deep": [1]})
    session.run("a")
    session.messages.clear()
    session.metadata["deep"] = "changed"

    assert (shown(session), session.metadata) == (["a", "b"], {"deep": [1]})
