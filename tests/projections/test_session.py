from agent.eventstore.chain import GENESIS
from agent.eventstore.record import Head
from agent.projections import session
from agent.projections.conversation import Conversation
from agent.projections.fold import rebuild
from agent.projections.lineage import Ancestor, Lineage
from agent.projections.session import SessionState
from agent.projections.usage import SessionUsage
from tests.projections.given import STARTED, added, recorded


def test_nothing_has_no_head():
    """Before its first event a session has version 0, the chain's first hash, and no head."""
    state = SessionState()

    assert (state.version, state.hash, state.head) == (0, GENESIS, None)
    assert (state.conversation, state.usage) == (Conversation(), SessionUsage())


def test_all_projections_are_folded_together():
    """A session's state is its head, conversation, usage and lineage at one version."""
    facts = recorded(STARTED, added("a"))
    state = rebuild(session.evolve, facts, SessionState())

    assert state.head == facts[-1].head == Head(2, facts[-1].hash)
    assert state.version == state.conversation.version == 2
    assert state.lineage == Lineage((Ancestor("s", 1),))


def test_branches_are_independent():
    """Two writers who go on from one state do not see each other."""
    facts = recorded(STARTED, added("a"))
    parent = rebuild(session.evolve, facts, SessionState())
    child = parent.branch()
    assert child == parent
    grown = [
        session.evolve(state, recorded(added(text), after=facts)[0])
        for state, text in ((child, "b"), (parent, "c"))
    ]

    assert [[m.text for m in state.conversation.messages] for state in (*grown, parent)] == [
        ["a", "b"],
        ["a", "c"],
        ["a"],
    ]
