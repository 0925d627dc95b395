"""Messages as items of a Messages request.

A part that keeps an item of the same provider and model is sent as that item, unchanged.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

import msgspec

from agent.engine.errors import ConfigurationError
from agent.engine.providers.fields import base64_of
from agent.engine.providers.wire import Object, as_string
from agent.eventstore.messages import (
    FilePart,
    ImagePart,
    Link,
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
    from collections.abc import Sequence

    from agent.engine.provider import MessageContext
    from agent.engine.providers.origin import Origin

_encode = msgspec.json.encode

_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_PDF = "application/pdf"
_TEXTS = ("text/", "application/json", "application/xml", "application/yaml")


def encode_message(message: Message, context: MessageContext, origin: Origin) -> Sequence[bytes]:
    """A message as an item of ``messages``; no item for one without content, which is refused."""
    blocks = _Blocks(context, origin)
    if message.role == "assistant":
        content = [item for part in message.parts if (item := blocks.said(part))]
    else:
        content = [item for part in message.parts if (item := blocks.given(part))]
    if not content:
        return []
    role = "assistant" if message.role == "assistant" else "user"
    return [_encode({"role": role, "content": content})]


class _Blocks:
    """The blocks of one message."""

    def __init__(self, context: MessageContext, origin: Origin) -> None:
        self._context = context
        self._origin = origin

    def said(self, part: Part) -> Object | None:
        """A block of the model; only text and calls can be another model's."""
        own = self._origin.own(part.opaque)
        match part:
            case TextPart(text=text):
                return _text(text, own)
            case RefusalPart(text=text):
                return _text(text, None) if own is None else None
            case ToolCallPart():
                return self._call(part, own)
            case ReasoningPart() | OpaquePart():
                return own
            case _:
                return None

    def _call(self, part: ToolCallPart, own: Object | None) -> Object:
        arguments = msgspec.Raw(part.valid_arguments.encode())
        call_id = _valid_id(part.call_id)
        item = {"type": "tool_use", "id": call_id, "name": part.name, "input": arguments}
        return {**item, **(own or {})}

    def given(self, part: Part) -> Object | None:
        """A block of the user, or of the tools."""
        own = self._origin.own(part.opaque)
        match part:
            case TextPart(text=text):
                return _text(text, own)
            case ImagePart() | FilePart():
                return {**self._attachment(part), **(own or {})}
            case ToolResultPart():
                return {**self._result(part), **(own or {})}
            case OpaquePart():
                return own
            case _:
                return None

    def _attachment(self, part: ImagePart | FilePart) -> Object:
        if isinstance(part, ImagePart):
            return {"type": "image", "source": self._source(part, part.media_type or "image/png")}
        source = self._source(part, part.media_type)
        titled = {} if part.name is None else {"title": part.name}
        return {"type": "document", "source": source, **titled}

    def _source(self, part: ImagePart | FilePart, media_type: str) -> Object:
        """Where the bytes are. Raises :class:`ConfigurationError` for what is no document."""
        match part.source:
            case Link(url=url):
                return {"type": "url", "url": url}
            case blob if isinstance(part, ImagePart) or media_type == _PDF:
                data = base64_of(blob, self._context.attachments)
                return {"type": "base64", "media_type": media_type, "data": data}
            case blob if media_type.startswith(_TEXTS):
                text = self._context.attachments[blob.digest].decode(errors="replace")
                return {"type": "text", "media_type": "text/plain", "data": text}
            case _:
                raise ConfigurationError(
                    f"Messages takes PDF and text as files, not {media_type}; send its text"
                )

    def _result(self, part: ToolResultPart) -> Object:
        item: Object = {"type": "tool_result", "tool_use_id": self._answered(part.call_id)}
        content = [shown for inner in part.content if (shown := self._shown(inner))]
        if not content and part.is_error:
            content = [{"type": "text", "text": "error"}]  # one without content is refused
        if content:
            item["content"] = content
        if part.is_error:
            item["is_error"] = True
        return item

    def _shown(self, part: Part) -> Object | None:
        """A file that is no document is named: what a tool returned must not end the session."""
        try:
            return self.given(part)
        except ConfigurationError:
            name = part.name if isinstance(part, FilePart) else None
            return {"type": "text", "text": f"(the file {name or 'without a name'})"}

    def _answered(self, call_id: str) -> str:
        """What the call that a result answers is named on the wire."""
        call = self._context.calls.get(call_id)
        own = self._origin.own(call.opaque) if call else None
        return as_string((own or {}).get("id")) or _valid_id(call_id)


def _text(text: str, own: Object | None) -> Object | None:
    """Blank text is refused by the API."""
    return {"type": "text", "text": text, **(own or {})} if text.strip() else None


def _valid_id(call_id: str) -> str:
    """The id itself if the API takes it, else another that depends on it alone."""
    if _ID.fullmatch(call_id):
        return call_id
    return f"call_{hashlib.sha256(call_id.encode()).hexdigest()[:32]}"
