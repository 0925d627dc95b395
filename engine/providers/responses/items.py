"""An output item and the parts of a message that say the same.

One item may be several parts: a message has a part for each piece of its content. The first of
them keeps the item as it came, where the parts do not say all of it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, cast

import msgspec

from agent.engine.providers.wire import Object, as_object, as_objects, as_string
from agent.eventstore.messages import (
    OpaquePart,
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from agent.engine.providers.origin import Origin

replace = msgspec.structs.replace

CALLS = {"function_call": "arguments", "custom_tool_call": "input"}
"""Where the items that call a tool of ours hold what it is called with."""

_LONGEST_ID = 64
_PLAIN_MESSAGE = {"type", "role", "content"}
_PLAIN_TEXT = {"type", "text"}
_PLAIN_CALL = {"type", "call_id", "name", "arguments"}


class InvalidItem(Exception):
    """An item of a known type that lacks what makes it one."""


def parts_of(item: Object, origin: Origin) -> tuple[Part, ...]:
    """The parts that say what an item says. Raises :class:`InvalidItem`."""
    kind = as_string(item.get("type"))
    if kind == "message" or (item.get("type") is None and item.get("role") == "assistant"):
        return _message(item, origin) or (OpaquePart(origin.opaque(item)),)
    if kind == "reasoning":
        return (ReasoningPart(reasoning_text(item), origin.opaque(item)),)
    if kind in CALLS:
        return (_call(item, origin),)
    return (OpaquePart(origin.opaque(item)),)


def _message(item: Object, origin: Origin) -> tuple[Part, ...]:
    content = item.get("content")
    if isinstance(content, str):
        parts: list[TextPart | RefusalPart] = [TextPart(content)]
    elif isinstance(content, list):
        parts = [said for piece in as_objects(cast("object", content)) for said in _said(piece)]
    else:
        raise InvalidItem("a message without content")
    if not parts or _is_plain(item):
        return tuple(parts)
    return (replace(parts[0], opaque=origin.opaque(item)), *parts[1:])


def _said(piece: Object) -> list[TextPart | RefusalPart]:
    match piece.get("type"):
        case "output_text" | "input_text":
            return [TextPart(_string(piece, "text"))]
        case "refusal":
            return [RefusalPart(_string(piece, "refusal"))]
        case _:
            return []


def _is_plain(item: Object) -> bool:
    """Whether the text is all that it says."""
    content = item.get("content")
    pieces = cast("list[object]", content) if isinstance(content, list) else []
    return item.keys() <= _PLAIN_MESSAGE and all(
        piece.keys() <= _PLAIN_TEXT for piece in map(as_object, pieces)
    )


def reasoning_text(item: Object) -> str:
    """What a reasoning item shows: its summary, or all of it, its pieces in lines of their own."""
    return _lines(item.get("summary")) or _lines(item.get("content"))


def _lines(pieces: object) -> str:
    texts = (as_string(piece.get("text")) for piece in as_objects(pieces))
    return "\n".join(filter(None, texts))


def _call(item: Object, origin: Origin) -> ToolCallPart:
    name = as_string(item.get("name"))
    if not name:
        raise InvalidItem("a tool call without a name")
    given = item.get(CALLS[item["type"]])
    if isinstance(given, dict):
        given = msgspec.json.encode(given).decode()
    if not isinstance(given, str | None):
        raise InvalidItem("a tool call whose arguments are no text")
    call_id, plain = as_string(item.get("call_id")), item.keys() <= _PLAIN_CALL
    return ToolCallPart(call_id, name, given or "", opaque=None if plain else origin.opaque(item))


def _string(piece: Object, key: str) -> str:
    text = piece.get(key)
    if not isinstance(text, str):
        raise InvalidItem(f"a piece of a message whose {key} is none")
    return text


def own_item(parts: Sequence[Part], origin: Origin) -> tuple[Object | None, int]:
    """The item that the first part came from, and how many of the parts it says.

    None and 1 if there is none, it is another's, or the parts have been changed since.
    """
    item = origin.own(parts[0].opaque)
    if item is None:
        return None, 1
    try:
        said = parts_of(item, origin)
    except InvalidItem:
        return None, 1
    same = len(said) <= len(parts) and all(map(_same, said, parts))
    return (item, len(said)) if same else (None, 1)


def _same(said: Part, part: Part) -> bool:
    match said, part:
        case (TextPart(), TextPart()) | (RefusalPart(), RefusalPart()):
            return said.text == part.text
        case ToolCallPart(), ToolCallPart():
            return (said.name, said.arguments) == (part.name, part.arguments)
        case (ReasoningPart(), ReasoningPart()) | (OpaquePart(), OpaquePart()):
            return True
        case _:
            return False


def wire_ids(calls: Iterable[ToolCallPart], origin: Origin) -> Mapping[str, str]:
    """What the calls of one message are called on the wire, by our ids.

    A call that goes back as it came keeps its id, unless the server gave the same to another.
    """
    known = {call.call_id: _own_id(call, origin) for call in calls}
    theirs = list(known.values())
    return {
        ours: its if its and theirs.count(its) == 1 else _short(ours) for ours, its in known.items()
    }


def _short(call_id: str) -> str:
    """An id that the API takes, also for one that was made elsewhere."""
    if len(call_id) <= _LONGEST_ID:
        return call_id
    return f"call_{hashlib.sha256(call_id.encode()).hexdigest()[:32]}"


def _own_id(call: ToolCallPart, origin: Origin) -> str:
    return as_string((_own_call(call, origin) or {}).get("call_id"))


def _own_call(call: ToolCallPart, origin: Origin) -> Object | None:
    return own_item((call,), origin)[0]


def answers_custom_tool(call: ToolCallPart | None, origin: Origin) -> bool:
    """Whether a call's result has to be that of a tool that takes free text."""
    item = _own_call(call, origin) if call is not None else None
    return item is not None and item.get("type") == "custom_tool_call"
