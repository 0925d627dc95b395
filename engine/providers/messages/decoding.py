"""The messages of a Messages request, read into ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.engine.errors import InvalidPrompt
from agent.engine.providers.messages.blocks import Block
from agent.engine.providers.transcript import (
    MessageReader,
    Transcript,
    blob_of,
    joined,
    names_besides,
    transcript,
)
from agent.engine.providers.wire import Object, as_object, as_objects, as_string
from agent.eventstore.messages import (
    Blob,
    FilePart,
    ImagePart,
    Link,
    Message,
    Opaque,
    OpaquePart,
    Part,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from agent.projections.losses import Loss

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.engine.providers.origin import Origin
    from agent.eventstore.messages import ResultContent


def read_body(body: Object, origin: Origin) -> Transcript:
    """The conversation of a body. Raises :class:`InvalidPrompt`."""
    system = _items(body.get("system"))
    texts = [as_string(item.get("text")) for item in system]
    items = as_objects(body.get("messages"))
    roles = Loss("roles of system messages", sum(item.get("role") == "system" for item in items))
    messages = joined(_Messages(origin).read(items))
    return transcript(texts, names_besides(system, "type", "text"), messages, roles)


def _items(content: object) -> list[Object]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return as_objects(content)


class _Messages(MessageReader):
    def _read(self, item: Object) -> Iterator[Message]:
        content = _items(item.get("content"))
        match item.get("role"):
            case "user" | "system":
                yield from self._given(content)
            case "assistant":
                yield Message("assistant", tuple(self._said(content)))
            case role:
                raise InvalidPrompt(f"no message of Messages has the role {role!r}")

    def _given(self, content: list[Object]) -> Iterator[Message]:
        """A message of the user; its results come first, as a message of the tools."""
        results = [item for item in content if item.get("type") == "tool_result"]
        if results:
            yield Message.tool(*(self._result(item) for item in results))
        rest = [item for item in content if item.get("type") != "tool_result"]
        if rest:
            yield Message("user", tuple(self._content(item) for item in rest))

    def _said(self, content: list[Object]) -> Iterator[Part]:
        for item in content:
            block = Block(item)
            tuple(block.begin())
            part = block.part(self._origin)
            if isinstance(part, ToolCallPart):
                yield self._names.call(part)
            elif part is not None:
                yield part

    def _result(self, item: Object) -> ToolResultPart:
        call_id = self._names.result(as_string(item.get("tool_use_id")))
        content = tuple(self._content(inner) for inner in _items(item.get("content")))
        opaque = self._more(item, ("type", "tool_use_id", "content", "is_error"))
        return ToolResultPart(call_id, content, bool(item.get("is_error")), opaque)

    def _content(self, item: Object) -> ResultContent:
        source = as_object(item.get("source"))
        match item.get("type"):
            case "text":
                opaque = self._more(item, ("type", "text"))
                return TextPart(as_string(item.get("text")), opaque)
            case "image" if (found := _source(source)) is not None:
                opaque = self._more(item, ("type", "source"))
                return ImagePart(found, source.get("media_type"), opaque)
            case "document" if (found := _source(source)) is not None:
                opaque = self._more(item, ("type", "source", "title"))
                media_type = as_string(source.get("media_type")) or "application/pdf"
                return FilePart(found, media_type, item.get("title"), opaque)
            case _:
                return OpaquePart(self._origin.opaque(item))

    def _more(self, item: Object, said: tuple[str, ...]) -> Opaque | None:
        """The fields that our part does not say: an attachment is not kept twice."""
        more = {key: value for key, value in item.items() if value is not None and key not in said}
        return self._origin.opaque(more) if more else None


def _source(source: Object) -> Blob | Link | None:
    """Where an attachment is; None for what only the provider knows, like its own files."""
    match source.get("type"):
        case "url":
            return Link(as_string(source.get("url")))
        case "base64":
            return blob_of(as_string(source.get("data")))
        case "text":
            return Blob.of(as_string(source.get("data")).encode())
        case _:
            return None
