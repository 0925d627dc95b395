"""What the tests of Gemini's protocol share: bodies, streams, parsers run to their end."""

import json
from typing import Any

from agent.engine.providers.generate_content.encoding import encode_message
from agent.engine.providers.generate_content.parsing import GenerateReading
from agent.engine.providers.origin import Origin
from agent.engine.providers.parsers import EventParser, WholeParser
from agent.engine.request import message_context
from agent.eventstore.messages import Message
from tests.engine.providers.reading import Read

ORIGIN = Origin("gemini", "generate_content", "gemini-3-pro")


def response(*parts: Any, finish: Any = "STOP", **more: Any) -> dict[str, Any]:
    """A response, or an event of one."""
    candidate = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "responseId": "r1", "modelVersion": "gemini-3-pro", **more}


def body(*parts: Any, **more: Any) -> bytes:
    """The same as bytes."""
    return json.dumps(response(*parts, **more)).encode()


def sse(*events: Any) -> bytes:
    """Responses as events of a stream."""
    return b"".join(b"data: " + json.dumps(event).encode() + b"\r\n\r\n" for event in events)


def call(name: str, args: Any, **more: Any) -> dict[str, Any]:
    """A function call as a part."""
    return {"functionCall": {"name": name, "args": args}, **more}


def stream_parser(origin: Origin = ORIGIN) -> EventParser:
    """What reads a stream."""
    return EventParser(GenerateReading(origin))


def whole_parser(origin: Origin = ORIGIN) -> WholeParser:
    """What reads a whole answer."""
    return WholeParser(GenerateReading(origin))


def streamed(*events: Any) -> Read:
    """The answer of a stream."""
    return Read(stream_parser(), sse(*events))


def whole(*parts: Any, **more: Any) -> Read:
    """The answer of a whole body."""
    return Read(whole_parser(), body(*parts, **more))


def items(message: Message, asked: Message | None = None, origin: Origin = ORIGIN) -> list[Any]:
    """The items of ``contents`` that a message becomes; ``asked`` holds the calls it answers."""
    known = message_context(message, asked, origin.model, {})
    return [json.loads(item) for item in encode_message(message, known, origin)]
