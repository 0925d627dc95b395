"""What can be looked at of a session as it was."""

import pytest

from agent import Session
from agent.errors import UnknownStream
from tests.engine.given import agent_of


def texts(placed) -> list[str]:
    """The texts of messages of a difference."""
    return [one.message.text for one in placed]


def test_a_session_differs_from_its_fork() -> None:
    """From where they part, in both directions; and a view is as good as a session."""
    session = agent_of("One", "Two", "Three").session("s")
    session.run("1")
    branch = session.fork("b")
    session.run("2")
    branch.run("3")
    for other in (branch, branch.at(branch.version)):
        found = session.diff(other)
        assert (texts(found.removed), texts(found.added)) == (["2", "Two"], ["3", "Three"])
        assert [one.place for one in found.added] == [2, 3]
    assert branch.at(branch.version).diff(session.at(session.version)).added == found.removed
    assert found.ancestor == session.fork("c", at=found.ancestor).version - 1


def test_a_session_differs_from_its_earlier_versions() -> None:
    """A version is named by its number, and one that there is not is refused."""
    session = agent_of("One", "Two").session("s")
    session.run("1")
    version = session.version
    session.run("2")
    assert texts(session.diff(version).removed) == ["2", "Two"]
    assert not session.diff(session.version)
    with pytest.raises(UnknownStream, match="not 99"):
        session.diff(99)


def test_a_session_and_its_export_are_the_same_until_one_goes_on() -> None:
    """Hashes tell, in whatever store the events are."""
    session = agent_of("One", "Two").session("s")
    session.run("1")
    copy = Session.from_dict(session.to_dict(), agent_of("Other"))
    assert not session.diff(copy)
    session.run("2")
    copy.run("2")
    found = session.diff(copy)
    assert (texts(found.removed), texts(found.added)) == (["2", "Two"], ["2", "Other"])
