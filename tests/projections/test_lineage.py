from agent.eventstore.events import Event, SessionForked
from agent.projections import lineage
from agent.projections.fold import rebuild
from agent.projections.lineage import Ancestor, Lineage
from tests.projections.given import STARTED, added, recorded


def forked(child: str) -> SessionForked:
    """A fork."""
    return SessionForked(session_id=child, parent="s", at=1, parent_hash="")


def traced(*events: Event) -> Lineage:
    """The lineage after these events."""
    return rebuild(lineage.evolve, recorded(*events), Lineage())


def test_nothing_comes_from_nowhere():
    """Before its first event a session has no lineage."""
    assert (Lineage().sessions, Lineage().parent) == ((), None)


def test_root_has_no_parent():
    """A root session is its own and only ancestor."""
    root = traced(STARTED, added("a"))

    assert root.sessions == (Ancestor("s", 1),)
    assert root.parent is None


def test_fork_has_a_parent():
    """A fork knows its parent, and its own first version."""
    child = traced(STARTED, added("a"), forked("c"), added("b"))

    assert child.sessions == (Ancestor("s", 1), Ancestor("c", 3))
    assert child.parent == "s"


def test_fork_of_a_fork():
    """The lineage runs from the root over every fork to the session itself."""
    grandchild = traced(STARTED, added("a"), forked("c"), forked("d"))

    assert grandchild.sessions == (Ancestor("s", 1), Ancestor("c", 3), Ancestor("d", 4))
    assert grandchild.parent == "c"
