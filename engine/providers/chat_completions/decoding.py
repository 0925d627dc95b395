"""The messages of a Chat Completions request, read into ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec

from agent.engine.errors import InvalidPrompt
from agent.engine.providers.chat_completions.calls import more_of
from agent.engine.providers.chat_completions.said import (
    detail_ids,
    field_reasoning,
    other_fields,
    said_parts,
    text_part,
)
from agent.engine.providers.transcript import (
    MessageReader,
    Transcript,
    joined,
    names_besides,
    parted,
    source_of,
    text_of,
    transcript,
)
from agent.engine.providers.wire import Object, as_object, as_objects, as_string
from agent.eventstore.messages import (
    FilePart,
    ImagePart,
    Message,
    OpaquePart,
    Part,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from agent.engine.providers.origin import Origin
    from agent.eventstore.messages import Opaque, ResultContent

_SYSTEM = ("system", "developer")
_RESULT = ("name",)


def read_body(body: Object, origin: Origin) -> Transcript:
    """The conversation of a body. Raises :class:`InvalidPrompt`."""
    given: Any = body.get("messages")
    items = as_objects(given)
    if not isinstance(given, list) or len(items) != len(cast("list[Any]", given)):
        raise InvalidPrompt("messages is a list of objects")
    leading, rest = parted(items, lambda item: item.get("role") in _SYSTEM)
    pieces = [part for item in leading for part in as_objects(item.get("content"))]
    marks = [*names_besides(leading, "role", "content"), *names_besides(pieces, "type", "text")]
    messages = joined(_Messages(origin).read(rest, len(leading)))
    return transcript([text_of(item.get("content")) for item in leading], marks, messages)


class _Messages(MessageReader):
    def _read(self, item: Object) -> Iterator[Message]:
        match item.get("role"):
            case "user":
                yield Message("user", tuple(self._asked(item)))
            case "system" | "developer" as role:
                # Ours have no such role; sent back to where they came from, they have it again.
                kept = OpaquePart(self._origin.opaque({"message": {"role": role}}))
                yield Message("user", (*self._asked(item), kept))
            case "assistant":
                yield Message("assistant", tuple(self._said(item)))
            case "tool" | "function":
                yield Message.tool(self._result(item))
            case role:
                raise InvalidPrompt(f"no message of Chat Completions has the role {role!r}")

    def _asked(self, item: Object) -> Iterator[Part]:
        yield from self._parts(item.get("content"))
        yield from other_fields(item, self._origin)

    def _parts(self, content: object) -> Iterator[ResultContent]:
        if isinstance(content, str):
            yield TextPart(content)
            return
        if not isinstance(content, list | None):
            raise InvalidPrompt(f"content is text or a list, not {type(content).__name__}")
        for item in as_objects(cast("Any", content)):
            yield self._part(item)

    def _part(self, item: Object) -> ResultContent:
        match item.get("type"):
            case "text":
                return text_part(item, self._origin)
            case "image_url" if url := _image_url(item):
                more = _without(item, "image_url", "url")
                return ImagePart(*source_of(url), self._more(more))
            case "file" if as_string(_file(item).get("file_data")).startswith("data:"):
                source, media_type = source_of(_file(item)["file_data"])
                name = as_string(_file(item).get("filename")) or None
                more = _without(item, "file", "file_data", "filename")
                media_type = media_type or "application/pdf"
                return FilePart(source, media_type, name, self._more(more))
            case _:
                return OpaquePart(self._origin.opaque(item))

    def _more(self, fields: Object) -> Opaque | None:
        return self._origin.opaque(fields) if fields else None

    def _said(self, item: Object) -> Iterator[Part]:
        legacy = as_object(item.get("function_call"))
        said = {key: value for key, value in item.items() if key != "function_call"}
        yield from said_parts(said, field_reasoning(said), self._origin)
        kept = detail_ids(item)
        for call in as_objects(item.get("tool_calls")):
            yield self._call(call, kept)
        if legacy:
            yield self._call({"function": legacy}, ())

    def _call(self, item: Object, kept: Collection[str]) -> ToolCallPart:
        function, provider_id = as_object(item.get("function")), as_string(item.get("id"))
        name, arguments = as_string(function.get("name")), function.get("arguments")
        if not name:
            raise InvalidPrompt("a tool call has no name")
        if isinstance(arguments, dict):
            arguments = msgspec.json.encode(arguments).decode()
        raw = {key: value for key, value in item.items() if key not in ("index", "id")}
        raw |= {"id": provider_id} if provider_id in kept else {}
        opaque = self._origin.opaque(raw) if more_of(item) or provider_id in kept else None
        call = ToolCallPart(provider_id, name, as_string(arguments), opaque=opaque)
        return self._names.call(call)

    def _result(self, item: Object) -> ToolResultPart:
        call_id = self._names.result(
            as_string(item.get("tool_call_id")), as_string(item.get("name"))
        )
        known = _RESULT if item.get("role") == "function" else ()
        more = [part.opaque for part in other_fields(item, self._origin, known)]
        content = tuple(self._parts(item.get("content")))
        return ToolResultPart(call_id, content, opaque=more[0] if more else None)


def _file(item: Object) -> Object:
    return as_object(item.get("file"))


def _image_url(item: Object) -> str:
    return as_string(item["image_url"]) or as_string(as_object(item["image_url"]).get("url"))


def _without(item: Object, kind: str, *said: str) -> Object:
    """What an attachment says besides where it is, so that its bytes are not kept twice."""
    inner = {key: value for key, value in as_object(item.get(kind)).items() if key not in said}
    outer = {key: value for key, value in item.items() if key not in ("type", kind)}
    return outer | ({kind: inner} if inner else {})
