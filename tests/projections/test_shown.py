from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given

from agent.eventstore.backends.memory import MemoryLog
from agent.eventstore.backends.sqlite import SQLiteLog
from agent.eventstore.errors import CorruptLog, UnknownEvent
from agent.eventstore.events import HistoryCleared, HistoryCompacted
from agent.eventstore.log import EventLog
from agent.eventstore.messages import Message
from agent.eventstore.record import Prepared, Recorded, record
from agent.eventstore.values import Excerpt
from agent.projections.conversation import Conversation
from agent.projections.fold import rebuild
from agent.projections.session import SessionState, evolve
from agent.projections.shown import conversation_at, shown_at
from tests.projections.given import STARTED, added, begun, recorded, texts, turn
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


def chained(*facts: Recorded) -> list[Recorded]:
    """Changed events as a stream would hold them."""
    names = Prepared.__struct_fields__
    return record(
        [Prepared(*(getattr(fact, name) for name in names)) for fact in facts],
        stream="s",
        after=None,
    )


LOGS = pytest.mark.parametrize("kind", [MemoryLog, lambda: SQLiteLog(":memory:")])


@LOGS
def test_what_a_compaction_leaves_of_another(kind: Callable[[], EventLog]):
    """Only the end of the one before is read, however much its turns saw of what came before."""
    log, (_, *rest) = kind(), turn("q", "x")
    excerpt = msgspec.structs.replace(begun("q"), excerpt=Excerpt(2))
    first = HistoryCompacted(through=4, kept=2, summary=Message.user("one"))
    second = HistoryCompacted(through=9, kept=1, summary=Message.user("two"))
    facts = recorded(
        STARTED, *map(added, "abc"), first, excerpt, *rest, second, added("d"), begun()
    )
    log.append("s", facts, expected=None)
    found = shown_at(log, "s", 12)

    assert texts(shown_at(log, "s", 9).conversation) == ["one", "b", "c", "q", "x"]
    assert texts(found.conversation) == ["two", "x", "d"]
    assert found.conversation.turn == rebuild(evolve, facts, SessionState()).conversation.turn


@LOGS
def test_an_event_of_a_later_release(kind: Callable[[], EventLog]):
    """Nobody knows what it changes, so nothing is shown after it."""
    log, (started, later, cleared) = kind(), recorded(STARTED, added("a"), HistoryCleared())
    later = msgspec.structs.replace(later, type="history.folded")
    log.append("s", chained(started, later, cleared), expected=None)

    assert shown_at(log, "s", 1).conversation.version == 1
    with pytest.raises(UnknownEvent) as caught:
        shown_at(log, "s", 3)
    assert (caught.value.type, caught.value.version) == ("history.folded", 2)


def test_damage_before_what_is_shown():
    """What was cleared away needs not be readable."""
    log = SQLiteLog(":memory:")
    started, added_, cleared = recorded(STARTED, added("a"), HistoryCleared())
    broken = msgspec.structs.replace(added_, payload=b"{")
    log.append("s", chained(started, broken, cleared), expected=None)

    assert shown_at(log, "s", 3).conversation.messages == []
    with pytest.raises(CorruptLog):
        shown_at(log, "s", 2)
