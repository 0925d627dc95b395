"""Chat Completions answers, whole and streamed, to messages.

Tolerant where servers differ: missing, null and list content, arguments as objects, calls without
ids, usage in any chunk. Tool turns are known by their calls, not by the finish reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import msgspec

from agent.engine.errors import MalformedResponse
from agent.engine.provider import Answer, Delta, ReasoningDelta, TextDelta
from agent.engine.providers.chat_failures import error_in_stream
from agent.engine.sse import SSEParser
from agent.eventstore.messages import (
    Message,
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
)
from agent.eventstore.values import FinishReason, Usage

Object = dict[str, Any]

_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
_END = "[DONE]"


class _Call:
    """A tool call, growing fragment by fragment."""

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []

    def add(self, fragment: Object) -> None:
        function = _object(fragment.get("function"))
        self.id = self.id or _string(fragment.get("id"))
        self.name = self.name or _string(function.get("name"))
        arguments = function.get("arguments")
        if isinstance(arguments, dict):
            arguments = msgspec.json.encode(arguments).decode()
        self.arguments.append(_string(arguments))

    def part(self) -> ToolCallPart:
        return ToolCallPart(self.id, self.name, "".join(self.arguments))


class _Collected:
    """What an answer has said so far."""

    def __init__(self, provider: str) -> None:
        self.provider = provider
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.calls: dict[int, _Call] = {}
        self.finish_reason: str | None = None
        self.usage = Usage()
        self.model: str | None = None
        self.response_id: str | None = None

    def add(self, body: Object, said: Object) -> Iterator[Delta]:
        """Take a chunk, or a whole body, and what its first choice says."""
        self.model = _string(body.get("model")) or self.model
        self.response_id = _string(body.get("id")) or self.response_id
        usage = body.get("usage") or _object(body.get("x_groq")).get("usage")
        if isinstance(usage, dict):
            self.usage = _usage(cast("Object", usage))
        reasoning, text = _reasoning(said), _text(said.get("content"))
        if reasoning:
            self.reasoning.append(reasoning)
            yield ReasoningDelta(reasoning)
        if text:
            self.text.append(text)
            yield TextDelta(text)
        self.refusal.append(_string(said.get("refusal")))
        self._add_calls(said)

    def _add_calls(self, said: Object) -> None:
        for place, fragment in enumerate(_objects(said.get("tool_calls"))):
            index = fragment.get("index")
            self.calls.setdefault(index if isinstance(index, int) else place, _Call()).add(fragment)

    def answer(self) -> Answer:
        """The whole of it."""
        reasoning, text = "".join(self.reasoning), "".join(self.text)
        refusal = "".join(self.refusal)
        parts: list[Part] = [ReasoningPart(reasoning)] if reasoning else []
        parts += [TextPart(text)] if text else []
        parts += [RefusalPart(refusal)] if refusal else []
        calls = [call.part() for _, call in sorted(self.calls.items())]
        for call in calls:
            if not call.name:
                raise malformed(self.provider, "a tool call without a name")
        return Answer(
            Message("assistant", (*parts, *calls)),
            self._finish(refusal, calls),
            self.finish_reason,
            self.usage,
            self.model,
            self.response_id,
        )

    def _finish(self, refusal: str, calls: list[ToolCallPart]) -> FinishReason:
        if calls:
            return "tool_calls"
        if refusal:
            return "refusal"
        return _FINISH.get(self.finish_reason or "", "other")


class WholeParser:
    """Reads an answer that comes in one piece."""

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._body = bytearray()

    def feed(self, chunk: bytes) -> Iterator[Delta]:
        """Take bytes; nothing is known before the end."""
        self._body += chunk
        return iter(())

    def answer(self) -> Answer:
        """The answer. Raises :class:`ProviderError`."""
        body = _decoded(bytes(self._body), self._provider)
        _raise_error(body)
        choices = _objects(body.get("choices"))
        if not choices:
            raise malformed(self._provider, "no choices")
        collected = _Collected(self._provider)
        for _ in collected.add(body, _object(choices[0].get("message"))):
            pass
        collected.finish_reason = _string(choices[0].get("finish_reason")) or None
        return collected.answer()


class StreamParser:
    """Reads an answer that comes as server-sent events."""

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._events = SSEParser()
        self._collected = _Collected(provider)
        self._ended = False

    def feed(self, chunk: bytes) -> Iterator[Delta]:
        """Take bytes; gives the deltas that they complete."""
        for event in self._events.feed(chunk):
            yield from self._take(event.data)

    def answer(self) -> Answer:
        """The answer. Raises :class:`ProviderError`, also for a stream that was cut."""
        for event in self._events.finish():
            for _ in self._take(event.data):
                pass
        if not self._ended and self._collected.finish_reason is None:
            raise malformed(self._provider, "the stream ended in the middle of the answer")
        return self._collected.answer()

    def _take(self, data: str) -> Iterator[Delta]:
        if data == _END:
            self._ended = True
        if self._ended:
            return
        chunk = _decoded(data.encode(), self._provider)
        _raise_error(chunk)
        choices = _objects(chunk.get("choices"))
        choice = choices[0] if choices else {}
        yield from self._collected.add(chunk, _object(choice.get("delta")))
        reason = _string(choice.get("finish_reason"))
        self._collected.finish_reason = reason or self._collected.finish_reason


def malformed(provider: str, reason: str) -> MalformedResponse:
    """An answer that the protocol does not allow; another attempt may do better."""
    return MalformedResponse(
        f"malformed answer of {provider}: {reason}", provider=provider, retryable=True
    )


def _decoded(body: bytes, provider: str) -> Object:
    try:
        decoded = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        start = body[:80].decode(errors="replace")
        raise malformed(provider, f"not JSON ({error}): {start!r}") from error
    if not isinstance(decoded, dict):
        raise malformed(provider, f"an object was expected, not a {type(decoded).__name__}")
    return cast("Object", decoded)


def _raise_error(body: Object) -> None:
    error = body.get("error")
    if isinstance(error, dict):
        raise error_in_stream(cast("Object", error))
    if error:
        raise error_in_stream({"message": error})


def _object(value: object) -> Object:
    return cast("Object", value) if isinstance(value, dict) else {}


def _objects(value: object) -> list[Object]:
    return [_object(item) for item in cast("list[Any]", value)] if isinstance(value, list) else []


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""


def _text(content: object) -> str:
    """Content is text, or a list of parts of which some are text."""
    if isinstance(content, list):
        parts = _objects(cast("list[Any]", content))
        return "".join(_string(part.get("text")) for part in parts)
    return _string(content)


def _reasoning(said: Object) -> str:
    return _string(said.get("reasoning_content")) or _string(said.get("reasoning"))


def _usage(usage: Object) -> Usage:
    """Cached tokens lie inside ``prompt_tokens``, reasoning inside ``completion_tokens``."""
    read = _object(usage.get("prompt_tokens_details"))
    written = _object(usage.get("completion_tokens_details"))
    return Usage(
        _count(usage.get("prompt_tokens")),
        _count(usage.get("completion_tokens")),
        _count(read.get("cached_tokens")),
        _count(read.get("cache_write_tokens")),
        _count(written.get("reasoning_tokens")),
    )


def _count(value: object) -> int:
    return value if isinstance(value, int) and value > 0 else 0
