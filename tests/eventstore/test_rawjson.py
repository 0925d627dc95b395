import pytest
from hypothesis import example, given

from agent.eventstore.errors import InvalidEvent
from agent.eventstore.rawjson import from_raw, to_raw
from tests.eventstore.samples import LONE, Number, Word
from tests.eventstore.strategies import json_values


@given(json_values)
@example({"": [{}, [], "\x00", -0.0, 1e-300, 2**70, -(2**70)]})
def test_raw_round_trip(value: object):
    """Every JSON value comes back from raw text as it was."""
    assert value == from_raw(to_raw(value, of="a test"))


def itself() -> list[object]:
    """A list that contains itself."""
    loop: list[object] = []
    loop.append(loop)
    return loop


def nested(depth: int) -> list[object]:
    """Lists inside of lists."""
    value: list[object] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": [1, float("nan")]}, "$.a[1]"),
        ({"a": {"b": float("inf")}}, "$.a.b"),
        ({"a": b"bytes"}, "$.a"),
        ({"a": {1: "x"}}, "$.a"),
        ({"a": {None: "x"}}, "$.a"),
        ({"a": {LONE: "x"}}, "$.a"),
        ({"a": ["x", LONE]}, "$.a[1]"),
        ({"a": {1, 2}}, "$.a"),
        ({"a": object()}, "$.a"),
        ({"a": Word("x")}, "$.a"),
        ({"a": Number(1)}, "$.a"),
        (itself(), "$"),
        (nested(10_000), "$"),
    ],
    ids=lambda value: "" if isinstance(value, str) else None,
)
def test_what_json_cannot_hold_is_refused(value: object, path: str):
    """A value that JSON would change or lose is refused with its path."""
    with pytest.raises(InvalidEvent) as caught:
        to_raw(value, of="metadata")

    assert ("metadata", path) == (caught.value.event, caught.value.path)
