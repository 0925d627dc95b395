"""The parts of a content, read into ours and written back.

A part of ours keeps the fields of the wire's that it does not say itself: a thought's mark, a
signature, an id. Written back they stand on the very part that they came with.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

import msgspec

from agent.engine.errors import InvalidPrompt
from agent.engine.providers.fields import base64_of
from agent.engine.providers.transcript import blob_of
from agent.engine.providers.wire import Object, as_object, as_string
from agent.eventstore.messages import (
    Blob,
    FilePart,
    ImagePart,
    Link,
    OpaquePart,
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.engine.providers.origin import Origin
    from agent.eventstore.messages import Opaque

SIGNATURE = "thoughtSignature"
_UNDERSCORE = re.compile("_([a-z])")


def camel(item: Object) -> Object:
    """The part with its names as the API writes them; requests may also have ``snake_case``."""
    return {
        _camel(key): {_camel(name): inner for name, inner in cast("Object", value).items()}
        if isinstance(value, dict)
        else value
        for key, value in item.items()
    }


def _camel(name: str) -> str:
    return _UNDERSCORE.sub(lambda found: found[1].upper(), name)


def read_part(item: Object, origin: Origin) -> Part:
    """A part of ours that says all of this one, a call with the provider's id.

    Raises ``ValueError`` for a call without a name.
    """
    if isinstance(item.get("text"), str):
        return _read_text(item, origin)
    if isinstance(item.get("functionCall"), dict):
        return _read_call(item, origin)
    if not item.get("thought") and isinstance(item.get("inlineData"), dict):
        return _read_inline(item, origin)
    if isinstance(item.get("fileData"), dict):
        return _read_link(item, origin)
    return OpaquePart(origin.opaque(item))


def _kept(fields: Object, origin: Origin) -> Opaque | None:
    return origin.opaque(fields) if fields else None


def _read_text(item: Object, origin: Origin) -> Part:
    fields = {key: value for key, value in item.items() if key != "text"}
    kind = ReasoningPart if item.get("thought") is True else TextPart
    return kind(item["text"], _kept(fields, origin))


def _read_call(item: Object, origin: Origin) -> ToolCallPart:
    call = item["functionCall"]
    name, arguments = as_string(call.get("name")), call.get("args")
    if not name:
        raise ValueError("a tool call without a name")
    said = msgspec.json.encode({} if arguments is None else arguments).decode()
    plain = item.keys() == {"functionCall"} and call.keys() <= {"name", "args"}
    return ToolCallPart(
        as_string(call.get("id")), name, said, opaque=None if plain else origin.opaque(item)
    )


def _read_inline(item: Object, origin: Origin) -> Part:
    inline = as_object(item["inlineData"])
    try:
        blob = blob_of(as_string(inline.get("data")))
    except InvalidPrompt:
        return OpaquePart(origin.opaque(item))
    said = {"data", "mimeType"}
    fields = {key: value for key, value in item.items() if key != "inlineData"}
    more = {key: value for key, value in inline.items() if key not in said}
    if more:
        fields["inlineData"] = more
    return _attached(blob, as_string(inline.get("mimeType")), _kept(fields, origin))


def _read_link(item: Object, origin: Origin) -> Part:
    data = as_object(item["fileData"])
    link, media_type = Link(as_string(data.get("fileUri"))), as_string(data.get("mimeType"))
    plain = item.keys() == {"fileData"} and data.keys() == {"fileUri", "mimeType"}
    return _attached(link, media_type, None if plain else origin.opaque(item))


def _attached(source: Blob | Link, media_type: str, opaque: Opaque | None) -> ImagePart | FilePart:
    if media_type.startswith("image/"):
        return ImagePart(source, media_type, opaque)
    return FilePart(source, media_type or "application/octet-stream", opaque=opaque)


def write_part(part: Part, attachments: Mapping[str, bytes], origin: Origin) -> Object | None:
    """The part as the wire has it; None for what is another provider's, and for no text."""
    own = None if isinstance(part, OpaquePart) else origin.own(part.opaque)
    match part:
        case TextPart(text=text) | RefusalPart(text=text):
            return {"text": text, **(own or {})} if text or own else None
        case ReasoningPart(text=text):
            return None if own is None else {"text": text, **own}
        case ToolCallPart():
            return own or {"functionCall": _call(part)}
        case ImagePart(source=Blob() as blob, media_type=media_type):
            return _inline(blob, media_type or "image/png", own or {}, attachments)
        case FilePart(source=Blob() as blob, media_type=media_type):
            return _inline(blob, media_type, own or {}, attachments)
        case ImagePart(source=Link(url=url), media_type=media_type):
            named = {"mimeType": media_type} if media_type else {}
            return own or {"fileData": {"fileUri": url, **named}}
        case FilePart(source=Link(url=url), media_type=media_type):
            return own or {"fileData": {"fileUri": url, "mimeType": media_type}}
        case OpaquePart(opaque=opaque):
            return origin.own(opaque)
        case _:
            return None


def _call(part: ToolCallPart) -> dict[str, Any]:
    return {"name": part.name, "args": msgspec.Raw(part.valid_arguments.encode())}


def _inline(
    blob: Blob, media_type: str, own: Object, attachments: Mapping[str, bytes]
) -> dict[str, Any]:
    data = {"mimeType": media_type, "data": base64_of(blob, attachments)}
    return {**own, "inlineData": {**as_object(own.get("inlineData")), **data}}
