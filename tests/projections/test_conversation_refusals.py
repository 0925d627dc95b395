import msgspec
import pytest

from agent.eventstore.errors import CorruptLog
from agent.eventstore.events import (
    Event,
    HistoryCleared,
    HistoryCompacted,
    HistoryRewound,
    MetadataChanged,
    SessionForked,
    ToolResolved,
    TurnAbandoned,
    TurnResumed,
)
from agent.eventstore.messages import Message
from agent.projections import conversation
from agent.projections.conversation import Conversation
from agent.projections.fold import rebuild
from tests.projections.given import (
    COMPLETED,
    FAILED,
    NO_ANSWER,
    OWNER,
    REJECTED,
    STARTED,
    added,
    asked,
    begun,
    called,
    compacting,
    folded,
    granted,
    proposed,
    recorded,
    refused,
    requested,
    responded,
    returned,
    turn,
)

SUMMARY = Message.user("sum")
FORKED = SessionForked(session_id="c", parent="s", at=5, parent_hash="0" * 64)
WAITING = (begun(), requested(), asked("x"), proposed("x"))


@pytest.mark.parametrize(
    ("before", "event", "reason"),
    [
        ([], MetadataChanged(metadata=msgspec.Raw(b"[]")), "metadata is no object"),
        ([], requested(), "no turn is open"),
        ([], responded("x"), "no turn is open"),
        ([], NO_ANSWER, "no turn is open"),
        ([], REJECTED, "no turn is open"),
        ([], called("x"), "no turn is open"),
        ([], returned("x", "y"), "no turn is open"),
        ([], COMPLETED, "no turn is open"),
        ([], FAILED, "no turn is open"),
        ([], TurnAbandoned(reason="gone"), "no turn is open"),
        ([], TurnResumed(owner=OWNER), "there is no turn to resume"),
        (turn("a", "b"), TurnResumed(owner=OWNER), "there is no turn to resume"),
        ([begun(), FAILED, added("x")], TurnResumed(owner=OWNER), "there is no turn to resume"),
        ([begun()], begun(), "the turn of version 2 is open"),
        ([begun()], added("x"), "the turn of version 2 is open"),
        ([begun()], HistoryCleared(), "the turn of version 2 is open"),
        ([begun()], HistoryRewound(to=1), "the turn of version 2 is open"),
        ([begun()], responded("x"), "an answer without a request"),
        ([begun()], NO_ANSWER, "an answer without a request"),
        ([begun(), requested(), responded("x")], responded("x"), "an answer without a request"),
        (
            [begun(), requested(), asked("x")],
            requested(),
            "the model was asked while calls have no result",
        ),
        (
            [begun(), requested()],
            requested(1, 2),
            "the model was asked while it has not answered",
        ),
        ([begun()], REJECTED, "there is no answer to reject"),
        ([begun(), requested()], REJECTED, "there is no answer to reject"),
        ([begun(), requested(), asked("x")], REJECTED, "there is no answer to reject"),
        (
            [begun(), requested(), responded("x"), REJECTED],
            REJECTED,
            "there is no answer to reject",
        ),
        (
            [begun(), requested(), asked("x"), returned("x", "")],
            REJECTED,
            "there is no answer to reject",
        ),
        ([begun(), requested(), asked("x")], COMPLETED, "the turn still waits for an answer"),
        ([begun(), requested()], COMPLETED, "the turn still waits for an answer"),
        ([begun(), requested(), asked("x")], called("y"), "no call 'y' waits for this"),
        ([begun(), requested(), asked("x")], returned("y", ""), "no call 'y' waits for this"),
        (
            [begun(), requested(), asked("x", "y"), returned("x", "")],
            returned("x", ""),
            "no call 'x' waits for this",
        ),
        (
            [begun(), requested(), asked("x"), returned("x", "")],
            ToolResolved(call_id="x", how="result"),
            "no call 'x' waits for this",
        ),
        ([begun(), requested(), asked("x")], granted("x"), "nobody was asked about the call"),
        ([begun(), requested(), asked("x")], refused("x"), "nobody was asked about the call"),
        ([*WAITING], proposed("x"), "the call was asked about already"),
        ([*WAITING], called("x"), "the call waits for a person"),
        ([*WAITING], returned("x", ""), "the call waits for a person"),
        *(
            ([*WAITING], ToolResolved(call_id="x", how=how), "the call waits for a person")
            for how in ("result", "retry", "failed")
        ),
        *(
            ([*WAITING, said], again, "nobody was asked about the call")
            for said in (granted("x"), refused("x"))
            for again in (granted("x"), refused("x"))
        ),
        ([*WAITING, granted("x")], proposed("x"), "the call was asked about already"),
        ([*WAITING, refused("x")], proposed("x"), "the call was asked about already"),
        ([*WAITING, refused("x")], called("x"), "a person has refused the call"),
        ([*WAITING, granted("x"), called("x")], proposed("x"), "the call was started already"),
        ([*WAITING, granted("x"), called("x")], called("x"), "the call was started already"),
        ([*WAITING, refused("x"), returned("x", "")], granted("x"), "no call 'x' waits for this"),
        ([*WAITING, FORKED], granted("x"), "nobody was asked about the call"),
        ([*WAITING, FAILED], granted("x"), "no turn is open"),
        (
            [*WAITING, FAILED, TurnResumed(owner=OWNER)],
            granted("x"),
            "nobody was asked about the call",
        ),
        ([*WAITING], requested(2), "the model was asked while calls have no result"),
        ([*WAITING], COMPLETED, "the turn still waits for an answer"),
        ([], HistoryRewound(to=0), "version 0 is not settled"),
        ([], HistoryRewound(to=2), "version 2 is not settled"),
        (turn("a", "b"), HistoryRewound(to=3), "version 3 is not settled"),
        ([], HistoryCompacted(through=7, summary=SUMMARY), "version 7 is not settled"),
        *(
            (
                [added("a")],
                HistoryCompacted(through=2, kept=kept, summary=SUMMARY),
                f"version 2 shows fewer than {kept} messages",
            )
            for kept in (-1, 2)
        ),
        *(
            ([added("a")], compacting(end, start), "there is no such excerpt of 1 messages")
            for start, end in ((0, 2), (1, 0), (-1, 1), (2, 2))
        ),
        ([begun(), FAILED], compacting(1), "there is no such excerpt of 0 messages"),
        ([begun(), FAILED, compacting(0)], TurnResumed(owner=OWNER), "there is no turn to resume"),
        ([compacting(0), FAILED], TurnResumed(owner=OWNER), "there is no turn to resume"),
        (
            [added("a"), HistoryCleared()],
            HistoryCompacted(through=2, summary=SUMMARY),
            "the view has changed since version 2",
        ),
        (
            [added("a"), HistoryRewound(to=1)],
            HistoryCompacted(through=2, summary=SUMMARY),
            "the view has changed since version 2",
        ),
    ],
)
def test_impossible_events(before: list[Event], event: Event, reason: str):
    """An event that cannot follow is refused, with its type, its version and the reason."""
    version = len(before) + 2

    with pytest.raises(CorruptLog) as raised:
        folded(*before, event)

    assert (raised.value.stream, raised.value.version) == ("s", version)
    assert raised.value.reason == f"{event.type}: {reason}"
    assert raised.value.reason == f"{event.type}: {reason}"
    assert (raised.value.stream, raised.value.version) == ("s", version)


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_missing_events(missing: int):
    """An event that does not follow the one before is refused."""
    facts = recorded(STARTED, *turn("a", "b"))
    del facts[missing]

    with pytest.raises(CorruptLog) as raised:
        rebuild(conversation.evolve, facts, Conversation())

    assert (raised.value.version, raised.value.reason) == (
        missing + 2,
        f"{facts[missing].type}: it follows version {missing}",
    )


def test_repeated_event():
    """An event that was folded already is refused."""
    facts = recorded(STARTED, added("a"))

    with pytest.raises(CorruptLog, match=r"version 2: message\.added: it follows version 2"):
        rebuild(conversation.evolve, [*facts, facts[-1]], Conversation())


def test_refusal_leaves_the_state():
    """A refused event changes nothing: the right one can still follow."""
    facts = recorded(STARTED, added("a"))
    state = rebuild(conversation.evolve, facts, Conversation())
    (bad,) = recorded(COMPLETED, after=facts)
    (good,) = recorded(added("b"), after=facts)

    with pytest.raises(CorruptLog):
        conversation.evolve(state, bad)

    assert [m.text for m in conversation.evolve(state, good).messages] == ["a", "b"]
