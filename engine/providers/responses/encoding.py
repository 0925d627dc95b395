"""Messages to items of ``input``.

What this very model said goes back as it came: it reads its own reasoning, and refuses an item
whose neighbours are missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agent.engine.providers.fields import url_of
from agent.engine.providers.responses.items import (
    CALLS,
    answers_custom_tool,
    own_item,
    wire_ids,
)
from agent.engine.providers.wire import Object, as_objects, as_string
from agent.eventstore.messages import (
    FilePart,
    ImagePart,
    Link,
    Message,
    OpaquePart,
    Part,
    RefusalPart,
    TextPart,
    ToolCallPart,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.engine.provider import MessageContext
    from agent.engine.providers.origin import Origin
    from agent.engine.providers.vendors import ResponsesDialect

_SPOKEN = {"type", "role", "content"}


def encode_message(
    message: Message, context: MessageContext, origin: Origin, dialect: ResponsesDialect
) -> Sequence[bytes]:
    """A message as items of ``input``."""
    match message.role:
        case "user":
            items = [_user(message.parts, context.attachments, origin)]
        case "assistant":
            items = _replayable(_said(message, origin), plain=dialect.plain_reasoning)
        case "tool":
            items = _results(message, context, origin)
    return [msgspec.json.encode(item) for item in items]


# What the user says


def _user(parts: Sequence[Part], attachments: Mapping[str, bytes], origin: Origin) -> Object:
    fields = origin.own(parts[0].opaque) if parts else None
    role = (fields or {}).get("role", "user")
    return {"role": role, "content": _content(parts, attachments, origin)}


def _content(
    parts: Sequence[Part], attachments: Mapping[str, bytes], origin: Origin
) -> str | list[Object]:
    pieces = [piece for part in parts if (piece := _piece(part, attachments, origin))]
    if all(piece.keys() == {"type", "text"} for piece in pieces):
        return "".join(piece["text"] for piece in pieces)
    return pieces


def _piece(part: Part, attachments: Mapping[str, bytes], origin: Origin) -> Object | None:
    """A piece of content, with the fields that only this API has."""
    match part:
        case TextPart(text=text):
            piece = {"type": "input_text", "text": text}
        case ImagePart(source=source, media_type=media_type):
            url = url_of(source, media_type or "image/png", attachments)
            piece = {"type": "input_image", "detail": "auto", "image_url": url}
        case FilePart(source=Link(url=url)):
            piece = {"type": "input_file", "file_url": url}
        case FilePart(source=source, media_type=media_type, name=name):
            data = url_of(source, media_type, attachments)
            piece = {"type": "input_file", "filename": name or "file", "file_data": data}
        case OpaquePart():
            piece = {}
        case _:
            return None
    fields = origin.own(part.opaque) or {}
    return {**piece, **{key: value for key, value in fields.items() if key != "role"}} or None


# What the model says


def _said(message: Message, origin: Origin) -> list[Object]:
    """The items of an answer, in their order."""
    ids = wire_ids(message.tool_calls, origin)
    parts, items = message.parts, list[Object]()
    while parts:
        item, count = own_item(parts, origin)
        if item is None:
            _add(items, parts[0], ids)
        elif isinstance(call := parts[0], ToolCallPart):
            items.append(_own_call(item, call, ids[call.call_id]))
        elif as_string(item.get("type")) or "role" in item:
            items.append(item)
        parts = parts[count:]
    return items


def _own_call(item: Object, call: ToolCallPart, call_id: str) -> Object:
    """A call as it came, but with arguments that servers can parse."""
    if item["type"] == "function_call" and call.arguments != call.valid_arguments:
        item = {**item, "arguments": call.valid_arguments}
    return {**item, "call_id": call_id}


def _add(items: list[Object], part: Part, ids: Mapping[str, str]) -> None:
    """A part in words that every server understands; text joins the text before it."""
    match part:
        case TextPart(text=text) | RefusalPart(text=text):
            last = items[-1] if items else {}
            if last.keys() == _SPOKEN and isinstance(last["content"], str):
                items[-1] = _spoken(last["content"] + text)
            elif text:
                items.append(_spoken(text))
        case ToolCallPart(call_id=call_id, name=name):
            call = {"call_id": ids[call_id], "name": name, "arguments": part.valid_arguments}
            items.append({"type": "function_call", **call})
        case _:
            pass


def _spoken(text: str) -> Object:
    return {"type": "message", "role": "assistant", "content": text}


def _replayable(items: Sequence[Object], *, plain: bool) -> list[Object]:
    """The items without the reasoning that cannot be read again.

    Those that it led to lose their names. Reasoning that led to nothing is refused, and left out.
    """
    readable = [
        item.get("type") != "reasoning"
        or bool(item.get("encrypted_content") or (plain and item.get("content")))
        for item in items
    ]
    named, kept = True, list[Object]()
    for item, reads in zip(items, readable, strict=True):
        if item.get("type") == "reasoning":
            named = reads
        kept += [item] if named else _nameless(item)
    while kept and kept[-1].get("type") == "reasoning":
        kept.pop()
    return kept


def _nameless(item: Object) -> list[Object]:
    """An item without its id; none for those that have nothing else to be known by."""
    kind = as_string(item.get("type"))
    if kind in CALLS:
        return [{key: value for key, value in item.items() if key != "id"}]
    if kind not in ("message", ""):
        return []
    phase = {"phase": item["phase"]} if item.get("phase") else {}
    return [{**_spoken(_words(item)), **phase}]


def _words(item: Object) -> str:
    content = item.get("content")
    if isinstance(content, str):
        return content
    return "".join(
        as_string(piece.get("text") or piece.get("refusal")) for piece in as_objects(content)
    )


# What tools say


def _results(message: Message, context: MessageContext, origin: Origin) -> list[Object]:
    ids = wire_ids(context.calls.values(), origin)
    items: list[Object] = []
    for part in message.tool_results:
        call = context.calls.get(part.call_id)
        custom = answers_custom_tool(call, origin)
        items.append(
            {
                **(origin.own(part.opaque) or {}),
                "type": "custom_tool_call_output" if custom else "function_call_output",
                "call_id": ids.get(part.call_id, part.call_id),
                "output": _content(part.content, context.attachments, origin),
            }
        )
    return items
