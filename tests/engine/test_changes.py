"""What differs between two JSON values."""

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.engine.changes import changes
from agent.replay import Change

_plain = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([0.0, 1.0, 0.5])
    | st.text(max_size=3)
)
_keys = st.sampled_from(["a", "b", "", "/", "~", "~1", "0", "a/b"])
values = st.recursive(
    _plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_keys, inner, max_size=4)
)


def applied(value: Any, found: list[Change]) -> Any:
    """A value with changes made to it; what is taken out of a list goes from its end."""
    root = [copy.deepcopy(value)]
    gone: list[tuple[list[Any], int]] = []
    for change in found:
        parent, step = _place(root, ["", *change.pointer.split("/")[1:]])
        match parent:
            case list() if change.after is msgspec.UNSET:
                gone.append((parent, step))
            case list() if change.before is msgspec.UNSET:
                parent.insert(step, change.after)
            case _ if change.after is msgspec.UNSET:
                assert same(parent.pop(step), change.before)
            case _:
                if change.before is not msgspec.UNSET:
                    assert same(parent[step], change.before)
                parent[step] = change.after
    for parent, step in sorted(gone, key=lambda place: -place[1]):
        del parent[step]
    return root[0]


def _place(root: list[Any], steps: list[str]) -> tuple[Any, Any]:
    """The container and the key that a pointer names."""
    parent: Any = root
    keys = ["0", *steps[1:]]
    for key in keys[:-1]:
        parent = parent[_key(parent, key)]
    return parent, _key(parent, keys[-1])


def _key(parent: Any, step: str) -> int | str:
    return int(step) if isinstance(parent, list) else step.replace("~1", "/").replace("~0", "~")


def same(one: object, other: object) -> bool:
    """Whether values are the same JSON text, whatever the order of keys."""
    return msgspec.json.encode(one, order="deterministic") == msgspec.json.encode(
        other, order="deterministic"
    )


@given(values, values)
def test_changes_make_the_one_the_other(before: Any, after: Any) -> None:
    """All changes, applied to the first value, give the second."""
    assert same(applied(before, list(changes(before, after))), after)


@given(values)
def test_equal_values_have_none(value: Any) -> None:
    """Nothing differs from itself."""
    assert list(changes(value, copy.deepcopy(value))) == []


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1}, {"a": 2}, [Change("/a", 1, 2)]),
        ({"a": 1}, {}, [Change("/a", before=1)]),
        ({}, {"a": None}, [Change("/a", after=None)]),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, [Change("/a/b/1", 2, 3)]),
        (1, "1", [Change("", 1, "1")]),
        (1, True, [Change("", 1, True)]),
        ([1], [True], [Change("/0", 1, True)]),
        ([{"a": 0}], [{"a": False}], [Change("/0/a", 0, False)]),
        ({"~": 1, "/": 1}, {"~": 2, "/": 2}, [Change("/~0", 1, 2), Change("/~1", 1, 2)]),
        ([1, 2, 3], [1, 3], [Change("/1", before=2)]),
        ([1, 3], [1, 2, 3], [Change("/1", after=2)]),
        ([1, 2], [1, 2, 3], [Change("/2", after=3)]),
        ([{"a": 1}, {"b": 1}], [{"a": 2}, {"b": 1}], [Change("/0/a", 1, 2)]),
    ],
)
def test_the_smallest_places(before: Any, after: Any, expected: list[Change]) -> None:
    """Only what differs is named, as a JSON Pointer."""
    assert list(changes(before, after)) == expected


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (Change("/a", 1, "two"), '/a: 1 -> "two"'),
        (Change("/a", before=[1]), "/a: [1] -> nothing"),
        (Change("/a", after=None), "/a: nothing -> null"),
        (Change("", 1, 2), "(all): 1 -> 2"),
        (Change("/a", "x" * 300, 0), f'/a: "{"x" * 196}... -> 0'),
    ],
)
def test_in_words(change: Change, words: str) -> None:
    """A line for each, long values cut."""
    assert str(change) == words
