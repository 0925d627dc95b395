"""The messages of an ``/api/chat`` request, read into ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from agent.engine.errors import InvalidPrompt
from agent.engine.providers.ollama_chat.messages import read_call, read_thinking
from agent.engine.providers.transcript import (
    MessageReader,
    Transcript,
    blob_of,
    joined,
    names_besides,
    parted,
    transcript,
)
from agent.engine.providers.wire import Object, as_objects, as_string
from agent.eventstore.messages import ImagePart, Message, Part, TextPart, ToolResultPart

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.engine.providers.origin import Origin
    from agent.eventstore.messages import ToolCallPart


def read_body(body: Object, origin: Origin) -> Transcript:
    """The conversation of a body. Raises :class:`InvalidPrompt`."""
    items = as_objects(body.get("messages"))
    leading, rest = parted(items, lambda item: item.get("role") == "system")
    system = [as_string(item.get("content")) for item in leading]
    messages = joined(_Messages(origin).read(rest, len(leading)))
    return transcript(system, names_besides(leading, "role", "content"), messages)


class _Messages(MessageReader):
    def _read(self, item: Object) -> Iterator[Message]:
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
            return self._names.call(read_call(item, self._origin))
        except ValueError as error:
            raise InvalidPrompt(str(error)) from error
