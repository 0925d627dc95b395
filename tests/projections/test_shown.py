from hypothesis import given

from agent.eventstore.backends.sqlite import SQLiteLog
from agent.projections.conversation import Conversation
from agent.projections.session import SessionState, evolve
from agent.projections.shown import conversation_at, shown_at
from tests.projections.histories import History, histories, keep


def seen(conversation: Conversation) -> tuple[object, ...]:
    """What can be looked at of a conversation."""
    return (
        conversation.version,
        conversation.session_id,
        conversation.system,
        conversation.tools,
        conversation.metadata,
        conversation.messages,
        conversation.length,
        conversation.epoch,
        conversation.turn,
        conversation.unfinished,
    )


@given(histories())
def test_any_version(history: History):
    """At every version it shows what folding all events up to there gives."""
    log, state = SQLiteLog(":memory:"), SessionState()
    keep(history, log)
    for fact in log.read(history.stream):
        state = evolve(state, fact)
        found = shown_at(log, history.stream, fact.version)
        whole = (state.hash, seen(state.conversation), state.usage, state.lineage)

        assert (found.hash, seen(found.conversation), found.usage, found.lineage) == whole
        assert seen(conversation_at(log, history.stream, fact.version)) == whole[1]
    log.close()
