"""What is different between two states."""

from collections.abc import Sequence

import pytest

from agent.eventstore.events import (
    Event,
    HistoryCleared,
    HistoryCompacted,
    HistoryRewound,
    MetadataChanged,
    SystemChanged,
    ToolsDeclared,
)
from agent.eventstore.messages import Message
from agent.eventstore.rawjson import EMPTY_OBJECT, to_raw
from agent.eventstore.record import Recorded
from agent.eventstore.values import ToolDefinition, Usage
from agent.projections import session
from agent.projections.diff import Changed, Difference, Placed, ToolChanges, diff
from agent.projections.fold import rebuild
from agent.projections.session import SessionState
from agent.projections.snapshot import Snapshot
from tests.projections.given import (
    COMPLETED,
    STARTED,
    added,
    begun,
    forked,
    recorded,
    requested,
    responded,
    turn,
)


def state(facts: Sequence[Recorded]) -> SessionState:
    """The session after these events."""
    return rebuild(session.evolve, facts, SessionState())


def grown(facts: list[Recorded], *events: Event) -> list[Recorded]:
    """The events, and more after them."""
    return [*facts, *recorded(*events, after=facts)]


def said(placed: Sequence[Placed]) -> list[tuple[int, str]]:
    """The places and texts of messages."""
    return [(one.place, one.message.text) for one in placed]


BASE = recorded(STARTED, added("a"), added("b"), added("c"))


def test_a_state_does_not_differ_from_itself() -> None:
    """The difference is false, and its ancestor is the state."""
    found = diff(state(BASE), state(BASE))
    assert found == Difference(4)
    assert not found


def test_what_came_later_is_added_and_backwards_removed() -> None:
    """Both ways tell the same messages, each with its place."""
    old, new = state(BASE), state(grown(BASE, added("d"), added("e")))
    assert diff(old, new) == Difference(4, added=diff(new, old).removed)
    assert said(diff(old, new).added) == [(3, "d"), (4, "e")]


def test_two_branches_differ_from_their_last_common_version_on() -> None:
    """Also where both say the same: these are other events."""
    base = grown(BASE, forked(BASE))
    left, right = grown(base, added("same"), added("left")), grown(BASE, added("same"))
    found = diff(state(left), state(right))
    assert found.ancestor == 4
    assert (said(found.removed), said(found.added)) == (
        [(3, "same"), (4, "left")],
        [(3, "same")],
    )


def test_sessions_of_one_name_that_share_nothing() -> None:
    """Hashes decide, not ids."""
    other = recorded(SystemChanged(system=None), added("x"))
    found = diff(state(BASE), state(other))
    assert found.ancestor == 0
    assert (said(found.removed), said(found.added)) == (
        [(0, "a"), (1, "b"), (2, "c")],
        [(0, "x")],
    )


def test_a_cleared_and_a_rewound_history() -> None:
    """Only what is shown counts, and what is shown again is the same as before."""
    cleared = grown(BASE, HistoryCleared(), added("d"))
    assert said(diff(state(BASE), state(cleared)).removed) == [(0, "a"), (1, "b"), (2, "c")]
    again = grown(cleared, HistoryRewound(to=3))
    found = diff(state(BASE), state(again))
    assert (said(found.removed), found.added) == ([(2, "c")], ())
    found = diff(state(cleared), state(again))
    assert (said(found.removed), said(found.added)) == ([(0, "d")], [(0, "a"), (1, "b")])


def test_a_compacted_history() -> None:
    """The summary is added, what it stands for removed, and what is kept the same."""
    summary = HistoryCompacted(through=4, kept=1, summary=Message.user("sum"))
    compacted = grown(BASE, summary, added("d"))
    found = diff(state(BASE), state(compacted))
    assert said(found.removed) == [(0, "a"), (1, "b")]
    assert said(found.added) == [(0, "sum"), (2, "d")]


def test_everything_besides_messages() -> None:
    """System prompt, tools by their names, metadata and usage, as values before and after."""

    def tools(*named: tuple[str, str]) -> ToolsDeclared:
        made = tuple(ToolDefinition(name, words, EMPTY_OBJECT) for name, words in named)
        return ToolsDeclared(tools=made, digest=str(named))

    base = grown(BASE, tools(("gone", ""), ("kept", ""), ("other", "before")))
    new = grown(
        base,
        SystemChanged(system="New"),
        MetadataChanged(metadata=to_raw({"k": 1}, of="metadata")),
        tools(("kept", ""), ("other", "after"), ("new", "")),
        begun("q"),
        requested(),
        responded("r", usage=Usage(2, 3)),
        COMPLETED,
    )
    found = diff(state(base), state(new))
    assert found.system == Changed("Be brief.", "New")
    assert found.metadata == Changed({}, {"k": 1})
    assert found.usage == Changed(Usage(), Usage(2, 3))
    assert found.tools == ToolChanges(
        (ToolDefinition("gone", "", EMPTY_OBJECT),),
        (ToolDefinition("new", "", EMPTY_OBJECT),),
        (
            Changed(
                ToolDefinition("other", "before", EMPTY_OBJECT),
                ToolDefinition("other", "after", EMPTY_OBJECT),
            ),
        ),
    )


def test_an_open_turn() -> None:
    """It is no part of the history, and told apart from none and from its later self."""
    opened = grown(BASE, begun("q"))
    further = grown(opened, requested(), responded("r"))
    found = diff(state(BASE), state(opened))
    assert (found.ancestor, found.added) == (4, ())
    assert found.turn == Changed(None, state(opened).conversation.turn)
    assert diff(state(opened), state(further)).turn


def test_the_work_is_that_of_the_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """What two long histories have in common is not read: few items are looked at."""
    base = recorded(STARTED, *(event for _ in range(500) for event in turn("q", "a")))
    old, new = state(base), state(grown(base, *turn("q", "a")))
    touched: list[int] = []
    read = Snapshot.__getitem__

    def counted(self, index):
        found = read(self, index)
        touched.append(len(found) if isinstance(index, slice) else 1)
        return found

    monkeypatch.setattr(Snapshot, "__getitem__", counted)
    assert len(diff(old, new).added) == 2
    assert sum(touched) < 40
