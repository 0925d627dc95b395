"""What an assistant message says besides its tool calls, as parts.

A part keeps an item of ``content`` that it does not say all of, raw. Fields of the message itself
that no part says are kept under ``message``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from agent.engine.providers.wire import Object, as_objects, as_string
from agent.eventstore.messages import (
    OpaquePart,
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from agent.engine.providers.origin import Origin
    from agent.eventstore.messages import Opaque

_SAID = ("role", "content", "refusal", "tool_calls", "tool_call_id")
_REASONING = ("reasoning_content", "reasoning", "reasoning_details")
_FIELDS = "message"
_EMPTY: tuple[Any, ...] = (None, "", [], {})


def said_parts(message: Object, reasoning: str, origin: Origin) -> Iterator[Part]:
    """The parts; ``reasoning`` is the text of the fields that hold reasoning."""
    thoughts = {key: message[key] for key in _REASONING if message.get(key)}
    if reasoning:
        yield ReasoningPart(reasoning, opaque_fields(thoughts, origin))
    elif thoughts:
        yield OpaquePart(origin.opaque({_FIELDS: thoughts}))
    content = message.get("content")
    if isinstance(content, str):
        yield from [TextPart(content)] if content else []
    else:
        yield from (part for item in as_objects(content) if (part := _part(item, origin)))
    if message.get("refusal"):
        yield RefusalPart(as_string(message["refusal"]))
    yield from other_fields(message, origin, _REASONING)


def other_fields(
    message: Object, origin: Origin, known: Collection[str] = ()
) -> Iterator[OpaquePart]:
    """The fields that no part says, in one part."""
    others = {
        key: value
        for key, value in message.items()
        if key not in _SAID and key not in known and value not in _EMPTY
    }
    if others:
        yield OpaquePart(origin.opaque({_FIELDS: others}))


def opaque_fields(fields: Object, origin: Origin) -> Opaque | None:
    """Fields of a message as a part keeps them."""
    return origin.opaque({_FIELDS: fields}) if fields else None


def kept_fields(data: Object) -> Object | None:
    """The fields of a message that a part has kept; None for an item of its content."""
    fields = data.get(_FIELDS)
    return cast("Object", fields) if len(data) == 1 and isinstance(fields, dict) else None


def text_part(item: Object, origin: Origin) -> TextPart:
    """Text, with the raw item where that says more."""
    text = _text_in(item, "text")
    return TextPart(text, None if _is_plain(item) else origin.opaque(item))


def _is_plain(item: Object) -> bool:
    """Whether there is nothing but text, however it is nested."""
    waiting: list[Object] = [item]
    while waiting:
        item = waiting.pop()
        text = item.get("text")
        if not item.keys() <= {"type", "text"} or item.get("type") not in ("text", None):
            return False
        if isinstance(text, list):
            waiting += as_objects(cast("Any", text))
        elif not isinstance(text, str):
            return False
    return True


def spoken(content: object) -> tuple[str, str]:
    """The text of a list of items, and the reasoning in it."""
    said: dict[str, list[str]] = {"text": [], "thinking": []}
    for item in as_objects(content):
        kind = _kind(item)
        if kind in said:
            said[kind].append(_text_in(item, kind))
    return "".join(said["text"]), "".join(said["thinking"])


def _part(item: Object, origin: Origin) -> Part | None:
    match _kind(item):
        case "text":
            part = text_part(item, origin)
            return None if part == TextPart("") else part
        case "thinking":
            return ReasoningPart(_text_in(item, "thinking"), origin.opaque(item))
        case "refusal":
            return RefusalPart(as_string(item.get("refusal")), origin.opaque(item))
        case _:
            return OpaquePart(origin.opaque(item))


def _kind(item: Object) -> str:
    """Some servers leave the type out."""
    kind = item.get("type")
    if kind is None:
        return "thinking" if "thinking" in item else "text"
    return as_string(kind)


def _text_in(item: Object, kind: str) -> str:
    """What an item holds under the name of its kind, nested lists included."""
    said: list[str] = []
    waiting: list[object] = [item.get(kind)]
    while waiting:
        value = waiting.pop()
        said.append(as_string(value))
        nested = [part for part in as_objects(value) if part.get("type") in ("text", None)]
        waiting += [part.get("text") for part in reversed(nested)]
    return "".join(said)


def field_reasoning(message: Object) -> str:
    """The reasoning that stands beside the content."""
    for key in ("reasoning_content", "reasoning"):
        if message.get(key):
            return as_string(message[key])
    details = as_objects(message.get("reasoning_details"))
    return "".join(as_string(d.get("text") or d.get("summary")) for d in details)


def detail_ids(message: Object) -> set[str]:
    """The ids that the reasoning speaks of: those of calls among them must stay what they are."""
    details = as_objects(message.get("reasoning_details"))
    return {as_string(item.get("id")) for item in details} - {""}
