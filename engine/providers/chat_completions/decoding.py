"""The messages of a Chat Completions request, read into ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agent.engine.errors import InvalidPrompt
from agent.engine.providers.transcript import CallNames, Transcript, joined, source_of
from agent.engine.providers.wire import Object, as_object, as_objects, as_string
from agent.eventstore.messages import (
    FilePart,
    ImagePart,
    Message,
    OpaquePart,
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.engine.providers.origin import Origin
    from agent.eventstore.messages import ResultContent

_SYSTEM = ("system", "developer")


def read_body(body: Object, origin: Origin) -> Transcript:
    """The conversation of a body. Raises :class:`InvalidPrompt`."""
    items = as_objects(body.get("messages"))
    leading = 0
    while leading < len(items) and items[leading].get("role") in _SYSTEM:
        leading += 1
    system = [_text(item.get("content")) for item in items[:leading]]
    messages = joined(_Messages(origin).read(items[leading:]))
    return Transcript("\n\n".join(system) or None, messages)


class _Messages:
    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._names = CallNames()

    def read(self, items: list[Object]) -> Iterator[Message]:
        for item in items:
            match item.get("role"):
                case "user" | "system" | "developer":
                    yield Message("user", tuple(self._parts(item.get("content"))))
                case "assistant":
                    yield Message("assistant", tuple(self._said(item)))
                case "tool":
                    yield Message.tool(self._result(item))
                case role:
                    raise InvalidPrompt(f"no message of Chat Completions has the role {role!r}")

    def _parts(self, content: object) -> Iterator[ResultContent]:
        if isinstance(content, str):
            yield TextPart(content)
            return
        for item in as_objects(content):
            yield self._part(item)

    def _part(self, item: Object) -> ResultContent:
        match item.get("type"):
            case "text":
                return TextPart(as_string(item.get("text")))
            case "image_url":
                url = as_string(as_object(item.get("image_url")).get("url"))
                return ImagePart(*source_of(url))
            case "file" if as_string((file := as_object(item.get("file"))).get("file_data")):
                source, media_type = source_of(file["file_data"])
                return FilePart(source, media_type or "application/pdf", file.get("filename"))
            case _:
                return OpaquePart(self._origin.opaque(item))

    def _said(self, item: Object) -> Iterator[Part]:
        reasoning = as_string(item.get("reasoning_content")) or as_string(item.get("reasoning"))
        if reasoning:
            yield ReasoningPart(reasoning)
        yield from (part for part in self._parts(item.get("content")) if part != TextPart(""))
        if item.get("refusal"):
            yield RefusalPart(as_string(item["refusal"]))
        for call in as_objects(item.get("tool_calls")):
            yield self._call(call)

    def _call(self, item: Object) -> ToolCallPart:
        function, provider_id = as_object(item.get("function")), as_string(item.get("id"))
        name, arguments = as_string(function.get("name")), function.get("arguments")
        if isinstance(arguments, dict):
            arguments = msgspec.json.encode(arguments).decode()
        call_id = self._names.call(provider_id, name)
        return ToolCallPart(call_id, name, as_string(arguments), provider_id or None)

    def _result(self, item: Object) -> ToolResultPart:
        call_id = self._names.result(
            as_string(item.get("tool_call_id")), as_string(item.get("name"))
        )
        return ToolResultPart(call_id, tuple(self._parts(item.get("content"))))


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    return "\n\n".join(as_string(item.get("text")) for item in as_objects(content))
