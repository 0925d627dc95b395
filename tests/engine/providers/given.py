"""What the tests of providers share: bodies, streams, parsers run to their end."""

import itertools
import json
from typing import Any

from agent.engine.provider import Answer, ReasoningDelta, TextDelta
from agent.engine.providers.chat_parsing import StreamParser, WholeParser
from agent.eventstore.messages import ReasoningPart

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


class Read:
    """A body as a parser reads it."""

    def __init__(self, parser: StreamParser | WholeParser, *pieces: bytes) -> None:
        self.deltas = [delta for piece in pieces for delta in parser.feed(piece)]
        self.deltas += parser.finish()
        self.answer: Answer = parser.answer()

    @property
    def texts(self) -> list[str]:
        """The deltas of text."""
        return [delta.text for delta in self.deltas if isinstance(delta, TextDelta)]

    @property
    def reasonings(self) -> list[str]:
        """The deltas of reasoning."""
        return [delta.text for delta in self.deltas if isinstance(delta, ReasoningDelta)]

    @property
    def reasoning(self) -> str:
        """The reasoning of the answer."""
        parts = self.answer.message.parts
        return "".join(part.text for part in parts if isinstance(part, ReasoningPart))

    @property
    def calls(self) -> list[tuple[str, str, str]]:
        """Id, name and arguments of the calls."""
        calls = self.answer.message.tool_calls
        return [(part.call_id, part.name, part.arguments) for part in calls]


def streamed(*pieces: bytes) -> Read:
    """The answer of a stream."""
    return Read(StreamParser("openai"), *pieces)


def whole(body: bytes) -> Read:
    """The answer of a whole body."""
    return Read(WholeParser("openai"), body)


def cut(body: bytes, places: list[int]) -> list[bytes]:
    """The body in pieces."""
    edges = [0, *sorted(place % (len(body) + 1) for place in places), len(body)]
    return [body[start:end] for start, end in itertools.pairwise(edges)]
