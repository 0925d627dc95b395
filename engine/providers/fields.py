"""Settings, tools and attachments as the fields of a body, in the words of a protocol."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, cast

import msgspec

from agent.engine.errors import ConfigurationError
from agent.eventstore.messages import Blob, Link
from agent.eventstore.rawjson import from_raw

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from agent.engine.providers.wire import Object
    from agent.eventstore.messages import ToolCallPart, ToolResultPart
    from agent.eventstore.values import Settings, ToolDefinition

_encode = msgspec.json.encode

_OWN = ("extra", "tool_choice", "parallel_tool_calls")
"""Settings that each protocol says in a way of its own."""


def settings_fields(settings: Settings, names: Mapping[str, str], provider: str) -> dict[str, Any]:
    """The settings that are set, by a protocol's names for them, in the order of the names.

    Raises :class:`ConfigurationError` for one that the protocol does not have: what was asked for
    and is not done would not be noticed.
    """
    given = {
        field.name: getattr(settings, field.name) for field in msgspec.structs.fields(settings)
    }
    lacking = [
        name
        for name, value in given.items()
        if value is not None and name not in names and name not in _OWN
    ]
    if lacking:
        raise ConfigurationError(
            f"{provider} has no setting {', '.join(lacking)}; it takes {', '.join(names)}, and "
            "what only it knows in extra={...}"
        )
    return {theirs: given[ours] for ours, theirs in names.items() if given[ours] is not None}


def function_tool(tool: ToolDefinition) -> Object:
    """A tool as Chat Completions has it, and who took after it."""
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
    }
    return {"type": "function", "function": function}


def tool_settings(settings: Settings, named: Callable[[str], Object]) -> Object:
    """Which tools may be called, as the APIs of OpenAI say it; ``named`` forces one tool."""
    choice = settings.tool_choice
    words = (None, "auto", "none", "required")
    said = {
        "tool_choice": choice if choice in words else named(choice),
        "parallel_tool_calls": settings.parallel_tool_calls,
    }
    return {key: value for key, value in said.items() if value is not None}


def check_several_calls(settings: Settings, provider: str) -> None:
    """Raise :class:`ConfigurationError` for one call at a time, where a protocol cannot say so."""
    if settings.parallel_tool_calls is False:
        raise ConfigurationError(
            f"{provider} cannot be kept to one tool call at a time: leave parallel_tool_calls out"
        )


def with_extra(
    fields: Mapping[str, Any], settings: Settings, fixed: Collection[str]
) -> dict[str, Any]:
    """The fields, and joined with them what goes into the body as it is.

    Raises :class:`ConfigurationError` for what decides how the answer is read and what the log says
    of the request.
    """
    extra: dict[str, Any] = from_raw(settings.extra)
    taken = [name for name in fixed if name in extra]
    if taken:
        raise ConfigurationError(f"extra cannot replace what the session sets: {', '.join(taken)}")
    return joined_fields(fields, extra)


def joined_fields(fields: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Both together: an object that both have is one, at any depth, and so is a list.

    So a server's own tools stand beside ours. An entry that both lists have is there once.
    """
    joined = {**fields, **more}
    for key, value in more.items():
        known = fields.get(key)
        if isinstance(known, dict) and isinstance(value, dict):
            joined[key] = joined_fields(cast("Object", known), cast("Object", value))
        elif isinstance(known, list | tuple) and isinstance(value, list):
            joined[key] = _joined_lists(cast("Sequence[Any]", known), cast("list[Any]", value))
    return joined


def _joined_lists(known: Sequence[Any], more: Sequence[Any]) -> list[Any]:
    there = {_canonical(item) for item in known}
    return [*known, *(item for item in more if _canonical(item) not in there)]


def _canonical(value: object) -> bytes:
    """The same bytes for values that are equal as JSON, raw JSON inside of them included."""
    return _encode(msgspec.json.decode(_encode(value)), order="sorted")


def in_call_order(
    results: Sequence[ToolResultPart], calls: Mapping[str, ToolCallPart]
) -> list[ToolResultPart]:
    """The results in the order of the calls that they answer: some pair them by nothing else."""
    places = {call_id: place for place, call_id in enumerate(calls)}
    return sorted(results, key=lambda result: places.get(result.call_id, len(places)))


def base64_of(blob: Blob, attachments: Mapping[str, bytes]) -> str:
    """The bytes of an attachment as text."""
    return base64.b64encode(attachments[blob.digest]).decode()


def url_of(source: Blob | Link, media_type: str, attachments: Mapping[str, bytes]) -> str:
    """The URL of an attachment, which holds its bytes unless it is linked."""
    if isinstance(source, Link):
        return source.url
    return f"data:{media_type};base64,{base64_of(source, attachments)}"
