"""The messages of an ``/api/chat`` request, read into ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec

from agent.engine.errors import InvalidPrompt
from agent.engine.providers.ollama_chat.messages import read_call, read_thinking
from agent.engine.providers.transcript import CallNames, Transcript, blob_of, joined
from agent.engine.providers.wire import Object, as_objects, as_string
from agent.eventstore.messages import ImagePart, Message, Part, TextPart, ToolResultPart

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.engine.providers.origin import Origin
    from agent.eventstore.messages import ToolCallPart

replace = msgspec.structs.replace


def read_body(body: Object, origin: Origin) -> Transcript:
    """The conversation of a body. Raises :class:`InvalidPrompt`."""
    items = as_objects(body.get("messages"))
    leading = 0
    while leading < len(items) and items[leading].get("role") == "system":
        leading += 1
    system = [as_string(item.get("content")) for item in items[:leading]]
    messages = joined(_Messages(origin).read(items[leading:]))
    return Transcript("\n\n".join(system) or None, messages)


class _Messages:
    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._names = CallNames()

    def read(self, items: list[Object]) -> Iterator[Message]:
        for item in items:
            match item.get("role"):
                case "user" | "system":
                    yield Message("user", tuple(self._shown(item)))
                case "assistant":
                    yield Message("assistant", tuple(self._said(item)))
                case "tool":
                    provider_id = as_string(item.get("tool_call_id"))
                    call_id = self._names.result(provider_id, as_string(item.get("tool_name")))
                    text = TextPart(as_string(item.get("content")))
                    yield Message.tool(ToolResultPart(call_id, (text,)))
                case role:
                    raise InvalidPrompt(f"no message of Ollama has the role {role!r}")

    def _shown(self, item: Object) -> Iterator[Part]:
        images = item.get("images")
        shown = cast("list[Any]", images) if isinstance(images, list) else []
        text = as_string(item.get("content"))
        if text or not shown:
            yield TextPart(text)
        for image in shown:
            yield ImagePart(blob_of(as_string(image)))

    def _said(self, item: Object) -> Iterator[Part]:
        thinking, text = as_string(item.get("thinking")), as_string(item.get("content"))
        if thinking:
            yield read_thinking(thinking, self._origin)
        if text:
            yield TextPart(text)
        for call in as_objects(item.get("tool_calls")):
            yield self._call(call)

    def _call(self, item: Object) -> ToolCallPart:
        try:
            part = read_call(item, self._origin)
        except ValueError as error:
            raise InvalidPrompt(str(error)) from error
        call_id = self._names.call(part.call_id, part.name)
        return replace(part, call_id=call_id, provider_id=part.call_id or None)
