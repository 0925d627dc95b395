from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.eventstore.events import (
    HistoryCleared,
    HistoryRewound,
    ModelFailed,
    ModelResponded,
    SessionForked,
    SystemChanged,
    ToolReturned,
    ToolsDeclared,
)
from agent.eventstore.messages import Message
from agent.eventstore.record import Recorded, prepare, record
from agent.eventstore.values import Excerpt, Usage
from agent.projections import conversation, lineage, session, usage
from agent.projections.conversation import Conversation
from agent.projections.fold import rebuild
from agent.projections.lineage import Lineage
from agent.projections.pairing import Pairing
from agent.projections.session import SessionState
from agent.projections.usage import SessionUsage
from agent.projections.window import windowed
from tests.projections.histories import History, histories, stored

PROJECTIONS = [
    (conversation.evolve, Conversation),
    (usage.evolve, SessionUsage),
    (lineage.evolve, Lineage),
    (session.evolve, SessionState),
]


def states(facts: list[Recorded]) -> list[SessionState]:
    """The state at each version from 0 on, folded in one go."""
    found = [SessionState()]
    for fact in facts:
        found.append(session.evolve(found[-1], fact))
    return found


def frozen(state: SessionState) -> tuple[Any, ...]:
    """Everything in a state by value, the shared lists copied."""
    conversation = state.conversation
    fields = {name: getattr(conversation, name) for name in conversation.__struct_fields__}
    for name in ("transcript", "marks", "keyed"):
        fields[name] = list(fields[name])
    return (fields, state.hash, state.usage, state.lineage)


def rewound(facts: list[Recorded], to: int) -> Recorded:
    """A rewind that follows these events."""
    prepared = prepare(HistoryRewound(to=to), recorded_at=0, salt=bytes(16))
    return record([prepared], stream="s", after=facts[-1].head)[0]


@pytest.mark.parametrize(("evolve", "start"), PROJECTIONS)
@given(history=histories(), data=st.data())
def test_rebuilding_may_be_cut_anywhere(
    evolve: Any, start: Any, history: History, data: st.DataObject
):
    """Folding a + b is folding b onto the fold of a."""
    cut = data.draw(st.integers(0, len(history.facts)))

    whole = rebuild(evolve, history.facts, start())
    first = rebuild(evolve, history.facts[:cut], start())

    assert rebuild(evolve, history.facts[cut:], first) == whole


@given(histories(max_moves=25))
def test_dropping_every_cache_changes_nothing(history: History):
    """Each event folds onto a state rebuilt from stored bytes as onto the living one."""
    living = states(history.facts)

    for version in range(len(history.facts)):
        rebuilt = rebuild(session.evolve, stored(history.facts[:version]), SessionState())
        (fact,) = stored(history.facts[version : version + 1])
        assert frozen(session.evolve(rebuilt, fact)) == frozen(living[version + 1])


@given(histories())
def test_old_states_never_change(history: History):
    """Folding on leaves every earlier state as it was."""
    state, kept = SessionState(), []
    for fact in history.facts:
        kept.append((state, frozen(state)))
        state = session.evolve(state, fact)

    assert [frozen(old) for old, _ in kept] == [then for _, then in kept]


@given(histories(), st.integers(1, 8))
def test_windows_begin_where_a_model_can_read(history: History, size: int):
    """A window begins with a user's message and holds at most its size, or the last turn whole.

    It stands where it stood as long as it is not full.
    """
    for state in states(history.facts):
        now = state.conversation
        excerpt = windowed(now, size)
        read = now.messages[excerpt.start :] if excerpt else now.messages
        if excerpt is not None:
            assert read[0].role == "user"
            assert len(read) <= size or all(message.role != "user" for message in read[1:])
            assert len(read) < len(now.messages)
        elif len(read) > size:
            assert all(message.role != "user" for message in read[1:])


@given(histories(), st.data())
def test_two_futures_of_one_state(history: History, data: st.DataObject):
    """Two writers who go on from one state, the second on a branch of it, never see each other."""
    cut = data.draw(st.integers(0, len(history.facts)))
    shared = rebuild(session.evolve, history.facts[:cut], SessionState())
    branch = shared.branch()
    before = frozen(shared)
    mine, yours = shared, branch
    for fact in history.facts[cut:]:
        mine = session.evolve(mine, fact)
        yours = session.evolve(yours, fact)

    assert frozen(mine) == frozen(yours) == frozen(states(history.facts)[-1])
    assert frozen(shared) == frozen(branch) == before


@given(histories())
def test_settled_versions_show_what_plain_lists_show(history: History):
    """At every settled version messages, system prompt and tools are those of plain lists."""
    shown = {
        state.version: (
            state.conversation.messages,
            state.conversation.system,
            state.conversation.tools.definitions,
        )
        for state in states(history.facts)[1:]
        if state.conversation.turn is None
    }

    assert shown == history.shown


@given(histories())
def test_marks_are_the_settled_versions(history: History):
    """A state can go back to exactly the settled versions; `settled` is the last of them."""
    for state in states(history.facts)[1:]:
        settled = [version for version in history.shown if version <= state.version]
        assert [mark.version for mark in state.conversation.marks] == settled
        assert state.conversation.settled == settled[-1]
        assert [
            version for version in range(state.version + 2) if state.conversation.mark_at(version)
        ] == settled


@given(histories(max_moves=25), st.data())
def test_rewinding_shows_what_was_shown(history: History, data: st.DataObject):
    """After any later rewind to a settled version, the state shows what it showed there."""
    settled = sorted(history.shown)
    facts = history.facts[: data.draw(st.sampled_from(settled))]
    state = rebuild(conversation.evolve, facts, Conversation())

    for version in (v for v in settled if v <= len(facts)):
        back = conversation.evolve(state, rewound(facts, version))
        shown = back.messages, back.system, back.tools.definitions
        assert shown == history.shown[version]


@given(histories())
def test_epoch_is_the_last_change_of_what_came_before(history: History):
    """The epoch is the version of the last change of system prompt or view."""
    assert [state.conversation.epoch for state in states(history.facts)] == history.epochs


@given(histories())
def test_within_an_epoch_messages_only_grow(history: History):
    """As long as the epoch stays, the visible messages only grow and the prompt is the same."""
    found = [state.conversation for state in states(history.facts)][1:]

    for before, after in pairwise(found):
        if before.epoch == after.epoch:
            assert after.messages[: len(before.messages)] == before.messages
            assert after.system == before.system


@given(histories())
def test_history_without_changes_only_grows(history: History):
    """What neither clears, rewinds, compacts nor reconfigures leaves the epoch alone."""
    found = states(history.facts)

    for fact, before, after in zip(history.facts, found, found[1:], strict=False):
        if isinstance(fact.event, ToolsDeclared | ToolReturned | SessionForked):
            assert after.conversation.epoch == before.conversation.epoch
        if isinstance(fact.event, SystemChanged | HistoryCleared):
            assert after.conversation.epoch == after.version


@given(histories())
def test_complete_histories_are_paired(history: History):
    """At every version the visible history pairs each call with its result."""
    for state in states(history.facts):
        pairing = Pairing()
        for message in state.conversation.messages:
            pairing.see(message)
        pairing.end()


@given(histories())
def test_what_the_model_reads_is_paired(history: History):
    """Excerpt and open turn together are paired whenever no call waits."""
    for state in states(history.facts):
        turn = state.conversation.turn
        if turn is None or turn.pending_calls:
            continue
        excerpt = turn.input.excerpt or Excerpt()
        read = state.conversation.messages[excerpt.start : excerpt.end]
        pairing = Pairing()
        for message in (*read, *turn.messages):
            pairing.see(message)
        pairing.end()


@given(histories())
def test_a_part_of_the_shown_messages(history: History):
    """Any part of the view is that part of its list; the view counts without looking."""
    state = states(history.facts)[-1].conversation
    shown = state.messages

    assert state.length == len(shown)
    for start in range(len(shown) + 2):
        for end in (None, *range(len(shown) + 2)):
            assert state.view.messages(state.transcript, start, end) == shown[start:end]


@given(histories())
def test_usage_counts_every_answer_once(history: History):
    """Own and inherited usage together are the sum over all answers, failed ones included."""
    spent = [(fact.event, fact.version) for fact in history.facts]
    forks = [version for event, version in spent if isinstance(event, SessionForked)]
    last = max(forks, default=0)
    own, inherited = Usage(), Usage()
    for event, version in spent:
        if isinstance(event, ModelResponded | ModelFailed) and event.usage:
            own, inherited = (
                (own + event.usage, inherited) if version > last else (own, inherited + event.usage)
            )

    assert states(history.facts)[-1].usage == SessionUsage(own, inherited)


@given(histories())
def test_lineage_names_every_fork(history: History):
    """The lineage is the list of streams that the events were written to."""
    streams = list(dict.fromkeys(fact.stream for fact in history.facts))
    first = {s: next(f.version for f in history.facts if f.stream == s) for s in streams}
    found = states(history.facts)[-1].lineage

    assert [(a.session_id, a.since) for a in found.sessions] == list(first.items())
    assert found.parent == (streams[-2] if len(streams) > 1 else None)


@given(histories())
def test_states_hold_no_list(history: History):
    """Whatever a state hands out, changing it does not change the state."""
    state = states(history.facts)[-1]
    state.conversation.messages.append(Message.user("intruder"))

    assert frozen(state) == frozen(states(history.facts)[-1])
    with pytest.raises(AttributeError):
        state.conversation.version = 7  # pyright: ignore[reportAttributeAccessIssue]
