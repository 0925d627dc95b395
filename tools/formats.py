"""The formats in which sessions are exported and imported, and how each is told from the others."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import click

from agent.eventstore.export import FORMAT as DICTIONARY
from agent.eventstore.jsonl.lines import FORMAT as LINES
from agent.eventstore.jsonl.lines import LONGEST_HEADER
from agent.tools.exits import Damaged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Format(NamedTuple):
    """A format: how names of its files end, and whether it holds several sessions."""

    name: str
    ending: str
    several: bool = False


FORMATS = {
    one.name: one
    for one in (
        Format("jsonl", ".jsonl", several=True),
        Format("json", ".json"),
        Format("markdown", ".md"),
        Format("openai", ".openai.json"),
        Format("anthropic", ".anthropic.json"),
    )
}
"""All formats, the one first that stands where none is named."""

_ROLES = {"system", "developer", "tool", "function"}
_BLOCKS = {"tool_use", "tool_result", "thinking", "redacted_thinking", "image", "document"}
_ITEMS = {"image_url", "input_audio", "file", "refusal"}


def format_of_name(path: Path | None, default: str) -> str:
    """The format that the name of a file means. Raises ``UsageError`` where it means none."""
    if path is None:
        return default
    fitting = [one for one in FORMATS.values() if path.name.lower().endswith(one.ending)]
    if not fitting:
        endings = ", ".join(one.ending for one in FORMATS.values())
        raise click.UsageError(f"name the --format, or let the file end with one of {endings}")
    return max(fitting, key=lambda one: len(one.ending)).name


def is_lines(start: bytes) -> bool:
    """Whether a file that begins so holds sessions as JSON lines."""
    header = start[:LONGEST_HEADER].lstrip().partition(b"\n")[0]
    try:
        value: Any = json.loads(header)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and cast("dict[str, Any]", value).get("format") == LINES


def json_of(data: bytes) -> Any:  # noqa: ANN401 - JSON
    """The JSON value that a file holds. Raises :class:`Damaged` for a cut file, or another one."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        hint = "; Markdown is for people, and cannot be imported" if data[:1] == b"#" else ""
        raise Damaged(f"it is cut, or no JSON: {error}. Nothing was imported{hint}") from error


def format_of_value(value: object) -> str:
    """The format that a JSON value is in. Raises ``UsageError`` where that cannot be told."""
    body = cast("dict[str, Any]", value) if isinstance(value, dict) else {"messages": value}
    if body.get("format") == DICTIONARY:
        return "json"
    if not isinstance(body.get("messages"), list):
        names = ", ".join(name for name in FORMATS if name != "markdown")
        raise click.UsageError(f"this is none of {names}; a list of messages needs a --format")
    openai, anthropic = _signs(body)
    if openai and anthropic:
        raise click.UsageError("these messages could be of both: name --format openai or anthropic")
    return "anthropic" if anthropic else "openai"


def model_of(value: object) -> str:
    """The model that a body was for, "" where it does not say."""
    body = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    return str(body.get("model") or "")


def _signs(body: dict[str, Any]) -> tuple[bool, bool]:
    """Whether anything in a body is only OpenAI's, and only Anthropic's."""
    messages = list(_objects(body["messages"]))
    kinds = {str(item.get("type")) for one in messages for item in _objects(one.get("content"))}
    calls = any("tool_calls" in one or "function_call" in one for one in messages)
    roles = {str(one.get("role")) for one in messages}
    openai = calls or roles & _ROLES or kinds & _ITEMS
    return bool(openai), bool("system" in body or kinds & _BLOCKS)


def _objects(value: object) -> Iterator[dict[str, Any]]:
    for item in cast("list[object]", value) if isinstance(value, list) else ():
        if isinstance(item, dict):
            yield cast("dict[str, Any]", item)
