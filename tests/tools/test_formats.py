from pathlib import Path
from typing import Any

import click
import pytest

from agent.tools.exits import Damaged
from agent.tools.formats import (
    FORMATS,
    format_of_name,
    format_of_value,
    is_lines,
    json_of,
    model_of,
)

SAID = {"role": "user", "content": "Hi"}
CALL = {"role": "assistant", "tool_calls": []}
USE = {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]}
SHOWN = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x"}}]}


@pytest.mark.parametrize("one", FORMATS.values(), ids=lambda one: one.name)
def test_a_name_tells_the_format(one: Any):
    """Each format has an ending, in any case; the longest that fits counts."""
    assert format_of_name(Path(f"a.b{one.ending.upper()}"), "none") == one.name


def test_a_name_that_tells_nothing():
    """Without a file there is a default; another ending asks for the format."""
    assert format_of_name(None, "jsonl") == "jsonl"
    with pytest.raises(click.UsageError, match=r"\.jsonl, \.json, \.md, \.openai\.json"):
        format_of_name(Path("a.txt"), "jsonl")


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ({"format": "agent-session"}, "json"),
        ([SAID], "openai"),
        ({"messages": [SAID]}, "openai"),
        ({"messages": [SAID], "system": "Be brief."}, "anthropic"),
        ([{"role": "system", "content": "Be brief."}, SAID], "openai"),
        ([SAID, CALL], "openai"),
        ([SHOWN], "openai"),
        ([SAID, USE], "anthropic"),
    ],
)
def test_a_value_tells_the_format(value: object, name: str):
    """What only one of them has decides; plain messages are the same in both."""
    assert format_of_value(value) == name


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (7, "none of jsonl, json, openai, anthropic"),
        ({"input": [SAID]}, "none of jsonl"),
        ([CALL, USE], "could be of both"),
    ],
)
def test_a_value_that_tells_nothing(value: object, words: str):
    """Nothing is guessed."""
    with pytest.raises(click.UsageError, match=words):
        format_of_value(value)


@pytest.mark.parametrize(
    ("start", "known"),
    [
        (b'{"format":"agent-log","format_version":1}\n{"kind', True),
        (b'{"format":"agent-log"', False),
        (b'{"format":"agent-session","events":[', False),
        (b"[" * 9999, False),
        (b"7\n", False),
        (b"", False),
    ],
)
def test_lines_are_known_by_the_first(start: bytes, known: bool):
    """The header names the format."""
    assert is_lines(start) is known


@pytest.mark.parametrize("data", [b"", b'{"a": ', b"[" * 99999, b"\xff", b"# Session `a`"])
def test_what_is_no_json(data: bytes):
    """A cut file is damaged; Markdown is told that it is none."""
    with pytest.raises(Damaged, match="it is cut, or no JSON") as raised:
        json_of(data)
    assert ("Markdown" in str(raised.value)) is data.startswith(b"#")


def test_the_model_of_a_body():
    """A list has none."""
    assert [model_of({"model": "m"}), model_of({}), model_of([])] == ["m", "", ""]
