"""Our messages as items of ``messages``."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

import msgspec

from agent.engine.errors import ConfigurationError
from agent.engine.provider import MessageContext
from agent.engine.providers.chat_completions.folding import merged
from agent.engine.providers.chat_completions.said import kept_fields
from agent.engine.providers.fields import url_of
from agent.engine.providers.origin import Origin
from agent.engine.providers.vendors import ChatDialect
from agent.engine.providers.wire import as_object
from agent.eventstore.messages import (
    Blob,
    FilePart,
    ImagePart,
    Link,
    Message,
    Opaque,
    Part,
    RefusalPart,
    ResultContent,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.engine.providers.wire import Object

_ID = re.compile(r"[\x21-\x7e]{1,40}")
_SHORT_ID = re.compile(r"[a-zA-Z0-9]{9}")
_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class MessageEncoder(msgspec.Struct, frozen=True):
    """Writes messages for a server and a model, which gets back what it alone understands."""

    dialect: ChatDialect
    origin: Origin
    context: MessageContext

    def encode(self, message: Message) -> Sequence[bytes]:
        """The message: one item, or one for each tool result."""
        match message.role:
            case "user":
                items = [self._user(message.parts)]
            case "assistant":
                items = [self._assistant(message)]
            case "tool":
                items = self._tool(message.tool_results)
        return [msgspec.json.encode(item) for item in items]

    def _user(self, parts: Sequence[Part]) -> Object:
        return {"role": "user", "content": self._content(parts), **self._kept_fields(parts)}

    def _content(self, parts: Sequence[Part]) -> str | list[Any]:
        """Text if that is all there is; else a list of items."""
        items = [item for part in parts if (item := self._content_item(part))]
        if all(item.keys() == {"type", "text"} and isinstance(item["text"], str) for item in items):
            return "".join(item["text"] for item in items)
        return items

    def _content_item(self, part: Part) -> Object | None:
        raw = self._raw_item(part)
        if raw is not None:
            return raw
        more = self.origin.own(part.opaque)
        match part:
            case TextPart(text=text):
                return {"type": "text", "text": text}
            case ImagePart(source=source, media_type=media_type):
                url = url_of(source, media_type or "image/png", self.context.attachments)
                return merged("", {"type": "image_url", "image_url": {"url": url}}, more)
            case FilePart(source=Blob() as source, media_type=media_type, name=name):
                data = url_of(source, media_type, self.context.attachments)
                file = {"filename": name or "file", "file_data": data}
                return merged("", {"type": "file", "file": file}, more)
            case FilePart(source=Link(url=url)):
                raise ConfigurationError(
                    f"Chat Completions takes no linked file: {url}; send its bytes"
                )
            case _:
                return None

    def _raw_item(self, part: Part) -> Object | None:
        """The item of a content that a part stands for, if it came from here.

        Attachments keep only what they say besides their bytes.
        """
        if isinstance(part, ImagePart | FilePart):
            return None
        data = self.origin.own(part.opaque)
        return None if data is None or kept_fields(data) is not None else data

    def _kept_fields(self, parts: Sequence[Part]) -> Object:
        return {key: value for part in parts for key, value in self._fields(part.opaque).items()}

    def _fields(self, opaque: Opaque | None) -> Object:
        data = self.origin.own(opaque)
        return (kept_fields(data) if data else None) or {}

    def _assistant(self, message: Message) -> Object:
        calls = [self._call(part) for part in message.tool_calls]
        said = [part for part in message.parts if self._is_said(part)]
        content, refusal = self._content(said), _refusal(message, said)
        absent = not content and (calls or refusal is not None)
        encoded: Object = {"role": "assistant", "content": None if absent else content}
        if refusal is not None:
            encoded["refusal"] = refusal
        encoded |= self._kept_fields(message.parts)
        if self.dialect.reasoning_content:
            encoded.setdefault("reasoning_content", "")
        if "audio" in encoded:
            encoded["audio"] = {"id": as_object(encoded["audio"]).get("id")}
        if calls:
            encoded["tool_calls"] = calls
        return encoded

    def _is_said(self, part: Part) -> bool:
        if isinstance(part, TextPart):
            return True
        return not isinstance(part, ToolCallPart) and self._raw_item(part) is not None

    def _call(self, part: ToolCallPart) -> Object:
        raw = self.origin.own(part.opaque) or {}
        function = {"name": part.name, "arguments": part.valid_arguments}
        return {
            "id": self._call_id(part),
            "type": "function",
            **raw,
            "function": {**raw.get("function", {}), **function},
        }

    def _call_id(self, part: ToolCallPart) -> str:
        raw = self.origin.own(part.opaque) or {}
        return raw.get("id") or self._named(part.call_id)

    def _named(self, call_id: str) -> str:
        """An id as the server takes it: the same one each time."""
        digest = hashlib.sha256(call_id.encode()).digest()
        if not self.dialect.short_ids:
            return call_id if _ID.fullmatch(call_id) else f"call_{digest.hex()[:32]}"
        if _SHORT_ID.fullmatch(call_id):
            return call_id
        return "".join(_LETTERS[byte % len(_LETTERS)] for byte in digest[:9])

    def _tool(self, results: Sequence[ToolResultPart]) -> list[Object]:
        """One item a result. A result takes only text: images follow in a user message."""
        items = [self._result(result) for result in results]
        shown: list[ResultContent] = []
        for result in results:
            seen = list(self._shown(result.content))
            if seen:
                about = f"Returned by tool call {self._answered(result)}:"
                shown += [TextPart(about), *seen]
        if shown:
            items.append({"role": "user", "content": self._content(shown)})
        return items

    def _shown(self, content: Sequence[ResultContent]) -> Iterator[ResultContent]:
        """A linked file of a result is named: what a tool has returned must not end the session."""
        for part in content:
            match part:
                case FilePart(source=Link(url=url)):
                    yield TextPart(url)
                case ImagePart() | FilePart():
                    yield part
                case _:
                    pass

    def _result(self, result: ToolResultPart) -> Object:
        said = [part for part in result.content if not isinstance(part, ImagePart | FilePart)]
        return {
            "role": "tool",
            "tool_call_id": self._answered(result),
            "content": self._content(said),
            **self._fields(result.opaque),
        }

    def _answered(self, result: ToolResultPart) -> str:
        call = self.context.calls.get(result.call_id)
        return self._named(result.call_id) if call is None else self._call_id(call)


def _refusal(message: Message, said: Sequence[Part]) -> str | None:
    """The refusal, unless its item stands in the content."""
    if any(isinstance(part, RefusalPart) for part in said):
        return None
    return message.refusal
