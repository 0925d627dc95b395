from typing import Any

import pytest

from agent.engine.providers.chat_completions.folding import Folded


def folded(*deltas: dict[str, Any]) -> dict[str, Any]:
    """The message of these deltas."""
    message = Folded()
    for delta in deltas:
        message.add(delta)
    return message.message()


def details(*items: Any) -> Any:
    """Entries of reasoning, a delta each."""
    return folded(*({"reasoning_details": [item]} for item in items))["reasoning_details"]


TEXT = {"type": "reasoning.text", "index": 0}
DATA = {"type": "reasoning.encrypted", "index": 0}


@pytest.mark.parametrize(
    ("deltas", "message"),
    [
        ([{"content": "a"}, {"content": "b"}, {"content": ""}], {"content": "ab"}),
        ([{"role": "assistant", "channel": "final", "x": None, "y": []}], {}),
        ([{"x": 1}, {"x": 2}], {"x": 2}),
        ([{"x": "one"}, {"x": "two"}], {"x": "two"}),
        ([{"annotations": [1]}, {"annotations": [2]}], {"annotations": [1, 2]}),
        (
            [{"audio": {"id": "a", "data": "AA"}}, {"audio": {"id": "a", "data": "BB"}}],
            {"audio": {"id": "a", "data": "AABB"}},
        ),
        (
            [
                {"function_call": {"name": "f", "arguments": "{"}},
                {"function_call": {"arguments": "}"}},
            ],
            {"function_call": {"name": "f", "arguments": "{}"}},
        ),
    ],
)
def test_fields(deltas: list[dict[str, Any]], message: dict[str, Any]) -> None:
    """Texts are joined, lists grow, and of anything else the last word counts."""
    assert folded(*deltas) == message


def test_reasoning_in_pieces() -> None:
    """Pieces of one index are one entry; its signature comes last."""
    pieces = [{**TEXT, "text": "a"}, {**TEXT, "text": "b"}, {**TEXT, "signature": "s"}]
    assert details(*pieces) == [{**TEXT, "text": "ab", "signature": "s"}]


@pytest.mark.parametrize(
    "entries",
    [
        [{**TEXT, "text": "a"}, {**TEXT, "text": "b", "index": 1}],
        [{**TEXT, "text": "a"}, {**DATA, "data": "b"}],
        [{**DATA, "data": "a"}, {**DATA, "data": "b"}],
        [{**DATA, "id": "a"}, {**DATA, "id": "b"}],
        [{"type": "reasoning.text", "text": "a"}, {"type": "reasoning.text", "text": "b"}],
    ],
)
def test_reasoning_that_is_not_one_entry(entries: list[Any]) -> None:
    """Another index, kind or id is another entry, and so is data, which comes whole."""
    assert details(*entries) == entries


def test_content_in_items() -> None:
    """Neighbours of one kind are one item, text and strings alike; a signature ends one."""

    def thought(text: str, **more: Any) -> dict[str, Any]:
        return {"type": "thinking", "thinking": [{"type": "text", "text": text}], **more}

    text = {"type": "text", "text": "c"}
    found = folded(
        {"content": [thought("a")]},
        {"content": [thought("b", signature="s")]},
        {"content": [thought("d")]},
        {"content": "c"},
        {"content": [text]},
        {"content": [{"type": "reference", "reference_ids": [1]}]},
        {"content": "c"},
    )
    assert found["content"] == [
        thought("ab", signature="s"),
        thought("d"),
        {"type": "text", "text": "cc"},
        {"type": "reference", "reference_ids": [1]},
        text,
    ]
