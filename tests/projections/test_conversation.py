from typing import Any

import msgspec
import pytest

from agent.eventstore.events import (
    Event,
    HistoryCleared,
    HistoryCompacted,
    HistoryRewound,
    MetadataChanged,
    ModelFailed,
    PayloadErased,
    SessionDeleted,
    SessionForked,
    SystemChanged,
    ToolResolved,
    ToolsDeclared,
    TurnAbandoned,
    TurnResumed,
)
from agent.eventstore.messages import Message, TextPart, ToolCallPart, ToolResultPart
from agent.eventstore.rawjson import EMPTY_OBJECT, to_raw
from agent.eventstore.values import Failure, Owner, ToolDefinition, Usage
from agent.projections import conversation
from agent.projections.conversation import Conversation, Tools
from agent.projections.fold import rebuild
from agent.projections.turn import Approval, Call, Turn
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
    results,
    returned,
    texts,
    turn,
)

TOOLS = (ToolDefinition("t", "A tool.", EMPTY_OBJECT),)
ABANDONED = TurnAbandoned(reason="gone")
FORKED = SessionForked(session_id="c", parent="s", at=1, parent_hash="")


def opened(*events: Event) -> Turn:
    """The open turn that begins with these events."""
    turn = folded(begun(), *events).turn
    assert turn is not None
    return turn


# Sessions and configuration


def test_nothing_is_version_zero():
    """Before any event there is an empty, settled conversation at version 0."""
    state = Conversation()

    assert (state.version, state.settled, state.session_id, state.messages) == (0, 0, "", [])
    assert state.mark_at(0) is None


def test_session_starts():
    """A started session has its id, system prompt and metadata, and nothing to show."""
    state = folded()

    assert (state.version, state.session_id, state.system) == (1, "s", "Be brief.")
    assert (bytes(state.metadata), state.messages, state.settled) == (b"{}", [], 1)


def test_configuration_changes():
    """System prompt, tools and metadata are the last ones recorded."""
    metadata = to_raw({"title": "Tea"}, of="a test")
    state = folded(
        SystemChanged(system=None),
        ToolsDeclared(tools=TOOLS, digest="d"),
        MetadataChanged(metadata=metadata),
    )

    assert (state.system, state.tools, state.metadata) == (None, Tools(TOOLS, "d"), metadata)


def test_fork_changes_only_the_id():
    """A child shows what its parent showed, under its own id."""
    parent, child = folded(*turn("a", "b")), folded(*turn("a", "b"), FORKED)

    assert (child.session_id, texts(child), child.system) == ("c", texts(parent), parent.system)


@pytest.mark.parametrize("event", [SessionDeleted(), PayloadErased(erased=(), reason="asked")])
def test_ends_and_erasures_show_nothing(event: Event):
    """Deletion and erasure leave what is shown."""
    before, after = folded(added("a")), folded(added("a"), event)

    assert (texts(after), after.epoch, after.settled) == (texts(before), before.epoch, 3)


# History


def test_messages_are_added():
    """Messages added by hand stand in their order."""
    assert texts(folded(added("a"), added("b"))) == ["a", "b"]


def test_completed_turn_enters_the_history():
    """A completed turn's messages follow what was there."""
    state = folded(added("a"), *turn("b", "c"))

    assert [(m.role, m.text) for m in state.messages] == [
        ("user", "a"),
        ("user", "b"),
        ("assistant", "c"),
    ]


@pytest.mark.parametrize("end", [FAILED, ABANDONED])
def test_unfinished_turn_stays_out_of_the_history(end: Event):
    """A failed or abandoned turn shows nothing, and is kept for resuming."""
    state = folded(*turn("a", "b"), begun("c"), requested(), responded("d"), end)

    assert texts(state) == ["a", "b"]
    assert state.turn is None
    assert state.ended is not None
    assert [message.text for message in state.ended.messages] == ["c", "d"]


@pytest.mark.parametrize("event", [added("x"), HistoryCleared(), HistoryRewound(to=1), begun("x")])
def test_ended_turn_is_forgotten(event: Event):
    """A failed turn cannot be resumed once the history has gone on."""
    assert folded(begun(), FAILED, event).ended is None


def test_clear_empties_the_view():
    """Cleared history shows only what comes after; the system prompt stays."""
    state = folded(*turn("a", "b"), HistoryCleared(), *turn("c", "d"))

    assert (texts(state), state.system) == (["c", "d"], "Be brief.")
    assert [m.text for m in state.transcript] == ["a", "b", "c", "d"]


@pytest.mark.parametrize(
    ("to", "shown"),
    [(1, []), (5, ["a", "b"]), (6, []), (7, ["c"]), (11, ["c", "d", "e"]), (12, ["c", "d", "e"])],
)
def test_rewind_shows_a_settled_version_again(to: int, shown: list[str]):
    """Rewinding to any settled version shows what it showed, and later messages follow."""
    before = (*turn("a", "b"), HistoryCleared(), added("c"), *turn("d", "e"))
    state = folded(*before, SystemChanged(system="x"), HistoryRewound(to=to), added("z"))

    assert texts(state) == [*shown, "z"]


def test_rewind_restores_the_configuration():
    """Rewinding restores system prompt and tools of then, but not metadata."""
    metadata = to_raw({"title": "Tea"}, of="a test")
    state = folded(
        SystemChanged(system="Be long."),
        ToolsDeclared(tools=TOOLS, digest="d"),
        MetadataChanged(metadata=metadata),
        HistoryRewound(to=1),
    )

    assert (state.system, state.tools, state.metadata) == ("Be brief.", Tools(), metadata)


def test_rewind_of_a_rewind_goes_forward():
    """What a rewind hid can be shown again by another."""
    state = folded(added("a"), added("b"), HistoryRewound(to=2), HistoryRewound(to=3))

    assert texts(state) == ["a", "b"]


def test_compaction_puts_a_summary_first():
    """A summary stands for everything up to a version; what came after it follows."""
    state = folded(
        *turn("a", "b"),
        *turn("c", "d"),
        HistoryCompacted(through=5, summary=Message.user("sum")),
        *turn("e", "f"),
    )

    assert texts(state) == ["sum", "c", "d", "e", "f"]


def test_compaction_of_everything():
    """A summary through the last version stands alone."""
    state = folded(added("a"), HistoryCompacted(through=2, summary=Message.user("sum")))

    assert texts(state) == ["sum"]


def test_compaction_of_a_compaction():
    """A second summary may stand for the first."""
    state = folded(
        added("a"),
        HistoryCompacted(through=2, summary=Message.user("one")),
        added("b"),
        HistoryCompacted(through=3, summary=Message.user("two")),
    )

    assert texts(state) == ["two", "b"]


def test_compaction_is_rewound():
    """Rewinding to before a compaction shows the messages themselves again."""
    compacted = (added("a"), added("b"), HistoryCompacted(through=2, summary=Message.user("sum")))

    assert texts(folded(*compacted)) == ["sum", "b"]
    assert texts(folded(*compacted, HistoryRewound(to=3))) == ["a", "b"]
    assert texts(folded(*compacted, HistoryRewound(to=3), HistoryRewound(to=4))) == ["sum", "b"]


def test_compaction_keeps_the_last_messages():
    """A summary may leave the last messages as they are, in the middle of a turn too."""
    compacted = HistoryCompacted(through=9, kept=3, summary=Message.user("sum"))
    state = folded(*turn("a", "b"), *turn("c", "d"), compacted, *turn("e", "f"))

    assert texts(state) == ["sum", "b", "c", "d", "e", "f"]


def test_what_a_compaction_says_is_no_history():
    """The request for a summary and its answer enter no history; the turn cannot be resumed."""
    before = (*turn("a", "b"), compacting(2), requested(), responded("sum"))
    done = folded(*before, COMPLETED)

    assert (texts(done), done.turn, done.undo_to) == (["a", "b"], None, 1)
    for end in (FAILED, ABANDONED):
        assert (texts(folded(*before, end)), folded(*before, end).ended) == (["a", "b"], None)


def test_undo_goes_to_before_the_last_turn():
    """Each version knows where the last turn of its history began, 0 when there is none."""
    events = (
        added("x"),
        *turn("a", "b"),
        added("y"),
        begun("c"),
        FAILED,
        *turn("d", "e"),
        HistoryRewound(to=6),
        HistoryCleared(),
        HistoryRewound(to=13),
    )
    found = [folded(*events[:count]).undo_to for count in range(len(events) + 1)]

    assert found == [0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 9, 2, 0, 9]


def test_tokens_are_those_of_the_last_answer():
    """The length in tokens is what was counted for the last answer of the last turn."""
    spent = [Usage(10, 1), Usage(20, 2), Usage(5, 5)]
    first = (begun(), requested(), asked("x"), returned("x", ""))
    whole = (*first, requested(2), responded("a", usage=spent[1]), COMPLETED)

    assert folded(*whole).tokens == 22
    assert folded(*whole, begun(), requested(), responded("b", usage=spent[2]), FAILED).tokens == 22
    for change in (
        HistoryCleared(),
        HistoryRewound(to=1),
        HistoryCompacted(through=8, summary=Message.user("sum")),
    ):
        assert folded(*whole, change).tokens == 0


# Epochs


@pytest.mark.parametrize(
    ("event", "changes"),
    [
        (SystemChanged(system="x"), True),
        (HistoryCleared(), True),
        (HistoryRewound(to=1), True),
        (HistoryCompacted(through=2, summary=Message.user("sum")), True),
        (ToolsDeclared(tools=TOOLS, digest="d"), False),
        (MetadataChanged(metadata=EMPTY_OBJECT), False),
        (added("x"), False),
        (FORKED, False),
        (begun(), False),
    ],
)
def test_epoch(event: Event, changes: bool):
    """The epoch is the version of the last event that changed what came before."""
    assert folded(added("a"), event).epoch == (3 if changes else 0)


# The open turn


def test_open_turn_is_no_history():
    """What is said in an open turn is its own, not yet the history's."""
    state = folded(added("a"), begun("b"), requested(), asked("x"))

    assert texts(state) == ["a"]
    assert state.turn is not None
    assert (state.turn.started, state.turn.messages[0].text) == (3, "b")
    assert (state.version, state.settled) == (5, 2)


def test_requests_are_counted():
    """An open turn knows how often it was answered, and the request that waits for an answer."""
    assert (opened().steps, opened().request) == (0, None)
    assert (opened(requested()).steps, opened(requested()).request) == (0, requested())
    answered = opened(requested(), responded("x"))
    assert (answered.steps, answered.request, answered.asked) == (1, None, requested())
    assert opened(requested(), NO_ANSWER).request is None
    assert opened(requested(), NO_ANSWER, requested(1, 2)).request == requested(1, 2)


def test_failed_call_says_nothing():
    """A failed model call adds no message, whatever had arrived of it."""
    failed = ModelFailed(error=Failure("E", "no"), partial=Message.assistant("Hel"), elapsed=0.0)

    assert opened(requested(), failed).messages == (Message.user("Hi"),)


def test_rejected_output_is_shown_to_the_model_only():
    """An answer that did not fit and its feedback are said, but not kept."""
    events = (begun(), requested(), responded("no"), REJECTED, requested(2), responded("yes"))
    state = folded(*events)

    assert state.turn is not None
    assert [m.text for m in state.turn.messages] == ["Hi", "no", "Again.", "yes"]
    assert [m.text for m in state.turn.kept] == ["Hi", "yes"]
    assert texts(folded(*events, COMPLETED)) == ["Hi", "yes"]


def test_calls_wait_for_results():
    """Each call of an answer waits until its own result is known."""
    turn = opened(requested(), asked("x", "y"), called("x"), called("y"), returned("y", "2"))
    fact = recorded(begun(), begun(), requested(), asked("x", "y"), called("x"))[-1]

    assert [call.part.call_id for call in turn.pending_calls] == ["x"]
    assert turn.completed_calls == ("y",)
    assert len(turn.messages) == 2
    assert turn.calls[0].key is not None
    assert len(turn.calls[0].key) == len(fact.hash.hex())


@pytest.mark.parametrize("order", ["xyz", "zyx", "yzx"])
def test_results_are_put_in_call_order(order: str):
    """Results may come in any order; the message that brings them has the order of the calls."""
    intents = [called(call_id) for call_id in order]
    turn = opened(
        requested(), asked("x", "y", "z"), *intents, *(returned(c, c.upper()) for c in order)
    )

    assert turn.messages[-1] == results(x="X", y="Y", z="Z")
    assert (turn.calls, turn.completed_calls) == ((), tuple(order))


def test_key_is_the_hash_of_the_intent():
    """The idempotency key of a call is the hash of its `tool.called`."""
    facts = recorded(begun(), requested(), asked("x"), called("x"))
    turn = opened(requested(), asked("x"), called("x"))
    again = opened(requested(), asked("x"), called("x"), ToolResolved(call_id="x", how="retry"))

    assert turn.calls == (Call(ToolCallPart("x", "t", "{}"), key=turn.calls[0].key),)
    assert turn.calls[0].key != facts[-1].hash.hex()
    assert again.calls[0].key is None


@pytest.mark.parametrize(("how", "is_error"), [("result", False), ("failed", True)])
def test_resolved_call_has_a_result(how: Any, is_error: bool):
    """A call of unknown outcome gets the result that a person decided on."""
    content = (TextPart("done"),)
    resolved = ToolResolved(call_id="x", how=how, content=content)
    turn = opened(requested(), asked("x"), called("x"), resolved)

    assert turn.messages[-1] == Message.tool(ToolResultPart("x", content, is_error))


@pytest.mark.parametrize(
    ("events", "approval"),
    [
        ([], None),
        ([proposed("x")], Approval("requested", "d")),
        ([proposed("x"), granted("x")], Approval("granted", "d")),
        ([proposed("x"), granted("x"), called("x")], Approval("granted", "d")),
        ([proposed("x"), granted("x"), proposed("x", "e")], Approval("requested", "e")),
        ([proposed("x"), refused("x", "dear")], Approval("rejected", "d", "dear")),
        ([proposed("x"), granted("x"), TurnResumed(owner=OWNER)], Approval("granted", "d")),
    ],
)
def test_approval(events: list[Event], approval: Approval | None):
    """A call knows how far its approval has come, and what it was asked for."""
    assert opened(requested(), asked("x"), *events).calls[0].approval == approval


@pytest.mark.parametrize("so_far", [[], [granted("x")], [refused("x")]])
@pytest.mark.parametrize("after", [[FORKED], [FAILED], [TurnAbandoned(reason="x")]])
def test_approvals_that_lapse(so_far: list[Event], after: list[Event]):
    """No approval is inherited by a fork, nor by a turn that ended and is taken up again."""
    state = folded(begun(), requested(), asked("x"), proposed("x"), *so_far, *after)
    assert state.unfinished is not None
    assert [call.approval for call in state.unfinished.calls] == [None]


def test_an_approval_is_used_once():
    """A call that may run again as a new one needs another approval."""
    again = ToolResolved(call_id="x", how="retry")
    events = (asked("x"), proposed("x"), granted("x"), called("x"), again)
    (call,) = opened(requested(), *events).calls
    assert (call.key, call.approval, call.decided) == (None, None, False)


def test_a_turn_that_waits_for_a_person_is_nobodys():
    """Once all that is left waits for a person anybody may go on, as after what that one says."""
    before = (requested(), asked("x", "y"), proposed("x"), called("y"))
    assert (opened(*before).waits_for, opened(*before).owner) == ("tools", OWNER)
    waiting = opened(*before, returned("y", "2"))
    assert (waiting.waits_for, waiting.owner, waiting.decided) == ("approval", None, False)
    decided = opened(*before, returned("y", "2"), granted("x"))
    assert (decided.waits_for, decided.owner, decided.decided) == ("tools", None, True)
    taken = opened(*before, granted("x"))
    assert (taken.waits_for, taken.owner, taken.decided) == ("tools", None, True)
    resumed = opened(*before, returned("y", "2"), granted("x"), TurnResumed(owner=OWNER))
    assert (resumed.owner, resumed.decided) == (OWNER, True)


def test_resumed_turn_is_open_again():
    """Resuming opens a failed turn again, for a new owner, with nothing outstanding."""
    owner = Owner("other", 2, 2)
    state = folded(begun("b"), requested(), responded("c"), FAILED, TurnResumed(owner=owner))

    assert state.turn is not None
    assert (state.turn.started, state.turn.owner, state.turn.request) == (2, owner, None)
    assert [m.text for m in state.turn.messages] == ["b", "c"]
    assert state.ended is None


def test_resuming_takes_an_open_turn_over():
    """Resuming an open turn drops the request that its old owner made."""
    owner = Owner("other", 2, 2)
    turn = opened(requested(), TurnResumed(owner=owner))

    assert (turn.request, turn.owner) == (None, owner)


def test_a_tenure_begins_with_its_owner():
    """The hash of turn.started, then of each turn.resumed, says in whose hands a turn is."""
    facts = recorded(STARTED, begun(), requested(), TurnResumed(owner=Owner("other", 2, 2)))
    states = [rebuild(conversation.evolve, facts[:n], Conversation()) for n in (2, 3, 4)]

    tenures = [state.turn.tenure for state in states if state.turn]
    assert tenures == [facts[1].hash, facts[1].hash, facts[3].hash]


@pytest.mark.parametrize("end", [(), (FAILED,)])
def test_a_forked_turn_is_nobodys(end: tuple[Event, ...]):
    """In a fork a turn has no owner, and what was started is another session's."""
    before = (begun(), requested(), asked("x", "y"), called("x"))
    inherited = folded(*before, *end, FORKED).unfinished
    assert inherited is not None
    assert inherited.owner is None
    assert [(call.state, call.inherited) for call in inherited.calls] == [
        *(("unknown", True), ("not started", False))
    ]

    for again in (ToolResolved(call_id="x", how="retry"), called("y")):
        turn = folded(*before, FORKED, again).turn
        assert turn is not None
        assert [call.inherited for call in turn.calls] == [again.call_id == "y", False]


def test_what_a_turn_waits_for():
    """A turn waits for the model, for tools, or for its end alone."""
    assert opened().waits_for == opened(requested()).waits_for == "model"
    assert opened(requested(), asked("x"), called("x")).waits_for == "tools"
    assert opened(requested(), asked("x"), called("x"), returned("x", "y")).waits_for == "model"
    answered = opened(requested(), responded("x"))
    assert (answered.waits_for, answered.answer) == ("end", responded("x"))
    rejected = opened(requested(), responded("x"), REJECTED)
    assert (rejected.waits_for, rejected.rejections) == ("model", 1)


def test_completed_turns_are_known_by_their_keys():
    """A key leads to a turn once that is complete, and not to one that failed."""

    def keyed(*events: Event) -> list[tuple[str, int, int]]:
        start = msgspec.structs.replace(begun(), idempotency_key="k")
        found = folded(start, requested(), *events).keyed
        return [(one.key, one.started, one.completed) for one in found]

    assert keyed() == keyed(responded("x"), FAILED) == []
    assert keyed(responded("x"), COMPLETED) == [("k", 2, 5)]
    resumed = TurnResumed(owner=Owner("other", 2, 2))
    assert keyed(responded("x"), FAILED, resumed, COMPLETED) == [("k", 2, 7)]
    assert list(folded(begun(), requested(), responded("x"), COMPLETED).keyed) == []
