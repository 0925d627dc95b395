import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from agent.projections.snapshot import Snapshot

items = st.lists(st.integers(), max_size=3)


class SnapshotMachine(RuleBasedStateMachine):
    """Several holders grow and branch snapshots; a plain list of each says what it must hold."""

    holders = Bundle("holders")

    def __init__(self) -> None:
        super().__init__()
        self.known: list[tuple[Snapshot[int], list[int]]] = []

    def hold(self, snapshot: Snapshot[int], plain: list[int]) -> tuple[Snapshot[int], list[int]]:
        """Remember a snapshot and what it holds."""
        self.known.append((snapshot, plain))
        return snapshot, plain

    @rule(target=holders, first=items)
    def new(self, first: list[int]) -> object:
        """Begin a list."""
        return self.hold(Snapshot(list(first)), list(first))

    @rule(target=holders, holder=holders, more=items)
    def extend(self, holder: tuple[Snapshot[int], list[int]], more: list[int]) -> object:
        """Grow any snapshot, also one that was grown before."""
        snapshot, plain = holder
        return self.hold(snapshot.extend(more), plain + more)

    @rule(target=holders, holder=holders, item=st.integers())
    def append(self, holder: tuple[Snapshot[int], list[int]], item: int) -> object:
        """Grow any snapshot by one."""
        snapshot, plain = holder
        return self.hold(snapshot.append(item), [*plain, item])

    @rule(target=holders, holder=holders)
    def branch(self, holder: tuple[Snapshot[int], list[int]]) -> object:
        """Hand any snapshot to another writer."""
        snapshot, plain = holder
        return self.hold(snapshot.branch(), plain)

    @invariant()
    def nobody_sees_another(self) -> None:
        """Every snapshot ever made holds what it held."""
        assert [list(snapshot) for snapshot, _ in self.known] == [p for _, p in self.known]
        assert [len(snapshot) for snapshot, _ in self.known] == [len(p) for _, p in self.known]


TestSnapshotMachine = SnapshotMachine.TestCase


@given(items, items, st.integers(-9, 9), st.slices(6))
def test_reads_as_a_list(first: list[int], more: list[int], index: int, part: slice):
    """Indices, slices, iteration, length and equality are those of a list of that length."""
    shared = Snapshot(list(first))
    grown = shared.extend(more)
    for snapshot, plain in ((shared, first), (grown, first + more)):
        assert snapshot[part] == plain[part]
        assert list(snapshot) == plain
        assert list(reversed(snapshot)) == plain[::-1]
        assert snapshot == Snapshot(list(plain))
        if -len(plain) <= index < len(plain):
            assert snapshot[index] == plain[index]
        else:
            with pytest.raises(IndexError):
                snapshot[index]


def test_growth_in_place():
    """The longest owner grows the list itself; a branch copies once, then owns its copy."""
    first = Snapshot([1])
    second = first.append(2)
    other = first.branch().append(3)

    assert second._items is first._items
    assert other._items is not first._items
    assert other.append(4)._items is other._items
    assert (list(first), list(second), list(other)) == ([1], [1, 2], [1, 3])


def test_branch_of_the_longest_copies():
    """A branch never grows the list that it shares, even where it ends with it.

    Its writer may run in another thread than that of the origin.
    """
    first = Snapshot([1])
    branch = first.branch()
    mine, yours = branch.append(2), first.append(3)

    assert mine._items is not first._items
    assert yours._items is first._items
    assert (list(mine), list(yours), list(first), list(branch)) == ([1, 2], [1, 3], [1], [1])


def test_not_hashable():
    """A snapshot is compared by value and has no hash, as a list."""
    assert Snapshot([1]) != [1]
    assert repr(Snapshot([1])) == "Snapshot([1])"
    with pytest.raises(TypeError, match="unhashable"):
        hash(Snapshot())
