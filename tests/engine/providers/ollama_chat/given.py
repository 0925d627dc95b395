"""What the tests of Ollama's protocol share: lines, parsers run to their end."""

import json
from typing import Any

from agent.engine.providers.ollama_chat.encoding import encode_message
from agent.engine.providers.ollama_chat.parsing import OllamaReading
from agent.engine.providers.origin import Origin
from agent.engine.providers.parsers import LineParser, WholeParser
from agent.engine.request import message_context
from agent.eventstore.messages import Message
from tests.engine.providers.reading import Read

ORIGIN = Origin("ollama", "ollama_chat", "llama3.2")


def line(*, done: bool = False, reason: str = "stop", **said: Any) -> dict[str, Any]:
    """A line of a stream, or a whole answer; the last one counts tokens."""
    fields = {"model": "llama3.2", "message": {"role": "assistant", "content": "", **said}}
    end = {"done_reason": reason, "prompt_eval_count": 20, "eval_count": 3} if done else {}
    return {**fields, "done": done, **end}


def call(name: str, arguments: Any, **more: Any) -> dict[str, Any]:
    """A tool call."""
    return {**more, "function": {"name": name, "arguments": arguments}}


def lines(*items: Any) -> bytes:
    """Objects, one a line."""
    return b"".join(json.dumps(item).encode() + b"\n" for item in items)


def stream_parser() -> LineParser:
    """What reads a stream."""
    return LineParser(OllamaReading(ORIGIN))


def whole_parser() -> WholeParser:
    """What reads a whole answer."""
    return WholeParser(OllamaReading(ORIGIN))


def streamed(*items: Any) -> Read:
    """The answer of a stream."""
    return Read(stream_parser(), lines(*items))


def whole(**said: Any) -> Read:
    """The answer of a whole body."""
    return Read(whole_parser(), lines(line(done=True, **said)))


def items(message: Message, asked: Message | None = None, origin: Origin = ORIGIN) -> list[Any]:
    """The items of ``messages`` that a message becomes; ``asked`` holds the calls it answers."""
    known = message_context(message, asked, origin.model, {})
    return [json.loads(item) for item in encode_message(message, known, origin)]
