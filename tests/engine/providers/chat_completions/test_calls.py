from typing import Any

import pytest

from agent.engine.providers.chat_completions.calls import CollectedCalls
from tests.engine.providers.chat_completions.given import (
    DONE,
    ORIGIN,
    call,
    chunk,
    completion,
    sse,
    streamed,
    whole,
)

ONE = [("a", "f", '{"x":1}')]
TWO = [("a", "f", '{"x":1}'), ("b", "g", "{}")]


@pytest.mark.parametrize(
    ("deltas", "calls"),
    [
        # As the protocol says
        (
            [
                [call("f", "", id="a", index=0)],
                [call(None, '{"x"', index=0)],
                [call(None, ":1}", index=0)],
                [call("g", "", id="b", index=1)],
                [call(None, "{}", index=1)],
            ],
            TWO,
        ),
        # Fragments of two calls side by side
        (
            [
                [call("f", '{"x"', id="a", index=0), call("g", "{", id="b", index=1)],
                [call(None, ":1}", index=0), call(None, "}", index=1)],
            ],
            TWO,
        ),
        # Out of order
        ([[call("g", "{}", id="b", index=1)], [call("f", '{"x":1}', id="a", index=0)]], TWO),
        # Whole in one delta
        ([[call("f", '{"x":1}', id="a", index=0), call("g", "{}", id="b", index=1)]], TWO),
        # Id and name repeated in each fragment
        (
            [
                [call("f", "", id="a", index=0)],
                [call("f", '{"x"', id="a", index=0)],
                [call("f", ":1}", id="a", index=0)],
            ],
            ONE,
        ),
        # Id and name repeated as empty text
        ([[call("f", '{"x"', id="a", index=0)], [call("", ":1}", id="", index=0)]], ONE),
        # The index is always 0
        ([[call("f", '{"x":1}', id="a", index=0)], [call("g", "{}", id="b", index=0)]], TWO),
        (
            [[call("f", '{"x":1}', id="", index=0)], [call("g", "{}", id="", index=0)]],
            [("", "f", '{"x":1}'), ("", "g", "{}")],
        ),
        (
            [[call("f", '{"x":1}', id="", index=0)], [call("f", '{"x":2}', id="", index=0)]],
            [("", "f", '{"x":1}'), ("", "f", '{"x":2}')],
        ),
        # No index
        (
            [
                [call("f", "", id="a")],
                [call(None, '{"x"', id="a")],
                [call(None, ":1}", id="a")],
                [call("g", "{}", id="b")],
            ],
            TWO,
        ),
        ([[call("f", '{"x"', id="a")], [call(None, ":1}")], [call("g", "{}", id="b")]], TWO),
        ([[call("f", '{"x":1}', id="a"), call("g", "{}", id="b")]], TWO),
        (
            [[call("f", '{"x"', id="a"), call("g", "{", id="b")], [call(None, ":1}", id="a")]],
            [("a", "f", '{"x":1}'), ("b", "g", "{")],
        ),
        # Neither index nor id
        (
            [[call("f", '{"x"')], [call(None, ":1}")], [call("g", "{}")]],
            [("", "f", '{"x":1}'), ("", "g", "{}")],
        ),
        ([[call("f", "{}"), call("f", "{}")]], [("", "f", "{}"), ("", "f", "{}")]),
        # The id comes late
        ([[call("f", "", index=0)], [call(None, '{"x":1}', id="a", index=0)]], ONE),
        # Arguments of other kinds
        ([[call("f", {"x": 1}, id="a", index=0)]], ONE),
        ([[call("f", "", id="a", index=0)]], [("a", "f", "")]),
        ([[call("f", None, id="a", index=0)]], [("a", "f", "")]),
        # Nothing at all
        ([[], [{}], [None], [{"index": 0, "id": "", "function": None}]], []),
        ([None], []),
    ],
)
def test_fragments(deltas: list[Any], calls: list[tuple[str, str, str]]) -> None:
    """Calls are told apart by index, by id where there is one, or by their order."""
    chunks = [chunk({"tool_calls": delta}) for delta in deltas]
    read = streamed(sse(*chunks, chunk(finish="tool_calls" if calls else "stop")) + DONE)
    assert read.calls == calls


@pytest.mark.parametrize(
    ("given", "calls"),
    [
        ([call("f", '{"x":1}', id="a"), call("g", "{}", id="b")], TWO),
        ([call("f", "{}", id="a"), call("f", "{}", id="a")], [("a", "f", "{}"), ("a", "f", "{}")]),
        ([call("f", "{}"), call("g", "{}")], [("", "f", "{}"), ("", "g", "{}")]),
        ([call("f", {"x": 1}, id="a")], ONE),
        ([call("f", {}, id="a")], [("a", "f", "{}")]),
        ([call("f", "", id="a")], [("a", "f", "")]),
        ([call("f", "not JSON", id="a")], [("a", "f", "not JSON")]),
        ([], []),
        (None, []),
    ],
)
def test_whole_calls(given: Any, calls: list[tuple[str, str, str]]) -> None:
    """Each item is a call, even where ids are missing or repeated."""
    assert whole(completion({"content": None, "tool_calls": given})).calls == calls


class Index(int):
    """An index that counts how often it is compared."""

    compared = 0
    __hash__ = int.__hash__

    def __eq__(self, other: object) -> bool:
        Index.compared += 1
        return int(self) == other


class Id(str):
    """An id that counts how often it is compared."""

    __slots__ = ()
    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        Id.compared += 1
        return str(self) == other


def test_many_calls_are_not_searched() -> None:
    """A call is found by its index or id, however many there are: a model may go on and on."""
    indexed, named = CollectedCalls(), CollectedCalls()
    for number in range(1000):
        indexed.add([call("f", "{}", index=Index(number))])
        named.add([call("f", "{}", id=Id(number))])
    assert len(indexed.parts(ORIGIN)) == len(named.parts(ORIGIN)) == 1000
    assert Index.compared + Id.compared < 10_000
