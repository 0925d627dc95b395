"""What the tests of providers share: bodies, streams, parsers run to their end."""

import json
from typing import Any

from agent.engine.providers.chat_completions.messages import MessageEncoder
from agent.engine.providers.chat_completions.parsing import ChatReading
from agent.engine.providers.origin import Origin
from agent.engine.providers.parsers import EventParser, WholeParser
from agent.engine.providers.vendors import OPENAI, ChatDialect
from agent.eventstore.messages import Message, ToolCallPart
from tests.engine.providers.given import context
from tests.engine.providers.reading import Read

ORIGIN = Origin("openai", "chat_completions", "gpt-4o")
DONE = b"data: [DONE]\n\n"


def sse(*chunks: Any) -> bytes:
    """Chunks as events of a stream, without its end."""
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)


def chunk(delta: Any = None, *, finish: Any = None, **more: Any) -> dict[str, Any]:
    """One chunk of a stream."""
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return {"id": "chatcmpl-1", "model": "gpt-4o", "choices": [choice], **more}


def completion(message: Any, *, finish: Any = "stop", **more: Any) -> bytes:
    """A whole answer."""
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return json.dumps({"id": "chatcmpl-1", "model": "gpt-4o", "choices": [choice], **more}).encode()


def call(name: str | None, arguments: Any, *, id: Any = None, index: Any = None) -> dict[str, Any]:  # noqa: A002 - the protocol's word
    """A tool call, or a fragment of one; what is None is left out."""
    function = {"name": name, "arguments": arguments}
    given = {key: value for key, value in function.items() if value is not None}
    fields = {"index": index, "id": id, "function": given}
    return {key: value for key, value in fields.items() if value is not None}


def stream_parser() -> EventParser:
    """What reads a stream."""
    return EventParser(ChatReading(ORIGIN))


def whole_parser() -> WholeParser:
    """What reads a whole answer."""
    return WholeParser(ChatReading(ORIGIN))


def streamed(*pieces: bytes) -> Read:
    """The answer of a stream."""
    return Read(stream_parser(), *pieces)


def whole(body: bytes) -> Read:
    """The answer of a whole body."""
    return Read(whole_parser(), body)


def encoded(
    message: Message,
    *calls: ToolCallPart,
    dialect: ChatDialect = OPENAI.dialect,
    origin: Origin = ORIGIN,
) -> list[bytes]:
    """The items of ``messages`` that a message becomes; ``calls`` are what it answers."""
    known = context(message, origin.model, *calls)
    return list(MessageEncoder(dialect, origin, known).encode(message))


def items(message: Message, *calls: ToolCallPart, **how: Any) -> list[Any]:
    """The same, decoded."""
    return [json.loads(item) for item in encoded(message, *calls, **how)]
