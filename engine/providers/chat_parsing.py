"""Chat Completions answers, whole and streamed, to messages.

Tolerant where servers differ: missing, null and list content, arguments as objects, calls without
ids or indexes, usage in any chunk. Tool turns are known by their calls, not by the finish reason.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

import msgspec

from agent.engine.errors import MalformedResponse
from agent.engine.provider import Answer, Delta, ReasoningDelta, TextDelta
from agent.engine.providers.chat_calls import CollectedCalls
from agent.engine.providers.chat_failures import error_in_answer
from agent.engine.providers.wire import Object, as_object, as_objects, as_string
from agent.engine.sse import ServerSentEvent, SSEParser
from agent.eventstore.messages import Message, Part, ReasoningPart, RefusalPart, TextPart
from agent.eventstore.values import FinishReason, Usage

_FINISH: dict[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
_LARGEST_COUNT = 2**53
_BROKEN_OFF = {"error", "insufficient_system_resource"}
_END = "[DONE]"
_SHOWN = 80
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
"""An escape of a JSON string; group 1 is half a character on its own."""


class _Collected:
    """What an answer has said so far."""

    def __init__(self, provider: str) -> None:
        self.provider = provider
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.calls = CollectedCalls()
        self.began = False
        self.finish_reason: str | None = None
        self.usage = Usage()
        self.model: str | None = None
        self.response_id: str | None = None

    def add(self, body: Object, key: str) -> Iterator[Delta]:
        """Take a chunk, or a whole body, whose first choice says something under ``key``."""
        error = body.get("error")
        if error:
            raise error_in_answer(error, self.provider)
        if not self.response_id:
            self.response_id = as_string(body.get("id")) or None
        self.model = as_string(body.get("model")) or self.model
        choice = _first(body.get("choices"))
        self._add_usage(body, choice)
        if choice is None:
            return
        self.began = True
        reason = as_string(choice.get("finish_reason"))
        if reason in _BROKEN_OFF or choice.get("error"):
            raise error_in_answer(choice.get("error") or f"finish reason {reason!r}", self.provider)
        self.finish_reason = reason or self.finish_reason
        said = choice.get(key)
        if isinstance(said, dict):
            yield from self._add_said(cast("Object", said))
        else:
            self._check_absent(said, key)

    def _add_usage(self, body: Object, choice: Object | None) -> None:
        usage = (
            body.get("usage")
            or (choice or {}).get("usage")
            or as_object(body.get("x_groq")).get("usage")
        )
        if isinstance(usage, dict):
            self.usage = _usage(cast("Object", usage))

    def _add_said(self, said: Object) -> Iterator[Delta]:
        content = said.get("content")
        if isinstance(content, str):
            text = content
        elif isinstance(content, list):
            text = _parts(cast("Any", content), "text")
        else:
            text = self._check_absent(content, "content")
        reasoning = _reasoning(said)
        if reasoning:
            self.reasoning.append(reasoning)
            yield ReasoningDelta(reasoning)
        if text:
            self.text.append(text)
            yield TextDelta(text)
        refusal = said.get("refusal")
        if refusal:
            self.refusal.append(as_string(refusal))
        calls = said.get("tool_calls")
        if isinstance(calls, list):
            self._add_calls(cast("list[Any]", calls))
        else:
            self._check_absent(calls, "tool_calls")

    def _add_calls(self, calls: list[Any]) -> None:
        try:
            self.calls.add(as_objects(calls))
        except ValueError as error:
            raise malformed(self.provider, str(error)) from error

    def _check_absent(self, value: object, name: str) -> str:
        """Nothing, for what is not there. Raises :class:`MalformedResponse` for a wrong type."""
        if value is not None:
            raise malformed(self.provider, f"{name} cannot be a {type(value).__name__}")
        return ""

    def answer(self) -> Answer:
        """The whole of it. Raises :class:`MalformedResponse`."""
        if not self.began:
            raise malformed(self.provider, "no choices")
        reasoning, text = "".join(self.reasoning), "".join(self.text)
        refusal, calls = "".join(self.refusal), self.calls.parts()
        if not all(call.name for call in calls):
            raise malformed(self.provider, "a tool call without a name")
        parts: list[Part] = [ReasoningPart(reasoning)] if reasoning else []
        parts += [TextPart(text)] if text else []
        parts += [RefusalPart(refusal)] if refusal else []
        raw = (self.finish_reason or "").lower()
        finish = _FINISH.get(raw, "other")
        if not (parts or calls or self.finish_reason):
            raise malformed(self.provider, "it says nothing, and not why")
        if raw == "tool_calls" and not (parts or calls):
            raise malformed(self.provider, "it ends in tool calls, but none came")
        return Answer(
            Message("assistant", (*parts, *calls)),
            "tool_calls" if calls else "refusal" if refusal else finish,
            self.finish_reason,
            self.usage,
            self.model,
            self.response_id,
        )


class WholeParser:
    """Reads an answer that comes in one piece."""

    ended = False

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._body = bytearray()
        self._collected = _Collected(provider)

    def feed(self, chunk: bytes) -> Iterator[Delta]:
        """Take bytes; nothing is known before the end."""
        self._body += chunk
        return iter(())

    def finish(self) -> Iterator[Delta]:
        """The body has ended: all of it is one delta. Raises :class:`ProviderError`."""
        body = _decoded(self._body, self._provider)
        return self._collected.add(body, "message")

    def answer(self) -> Answer:
        """The answer. Raises :class:`ProviderError`."""
        return self._collected.answer()


class StreamParser:
    """Reads an answer that comes as server-sent events, or whole from a server without them."""

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self._events = SSEParser()
        self._collected = _Collected(provider)
        self._whole: WholeParser | None = None
        self._start = b""
        self.ended = False

    def feed(self, chunk: bytes) -> Iterator[Delta]:
        """Take bytes; gives the deltas that they complete. Raises :class:`ProviderError`."""
        if len(self._start) < _SHOWN:
            started, self._start = bool(self._start), (self._start + chunk).lstrip()[:_SHOWN]
            # No line of an event stream begins so, but every object does.
            if not started and self._start.startswith(b"{"):
                self._whole, chunk = WholeParser(self._provider), chunk.lstrip()
        if self._whole is not None:
            yield from self._whole.feed(chunk)
            return
        for event in self._events.feed(chunk):
            yield from self._take(event)

    def finish(self) -> Iterator[Delta]:
        """The body has ended; gives what that completes. Raises :class:`ProviderError`."""
        if self._whole is not None:
            yield from self._whole.finish()
            return
        if not self.ended:
            for event in self._events.finish():
                yield from self._take_last(event)

    def answer(self) -> Answer:
        """The answer. Raises :class:`ProviderError`, also for a stream that was cut."""
        if self._whole is not None:
            return self._whole.answer()
        if not self.ended and self._collected.finish_reason is None:
            raise self._cut()
        return self._collected.answer()

    def _cut(self) -> MalformedResponse:
        if self._collected.began:
            return malformed(self._provider, "the stream ended in the middle of the answer")
        start = self._start.decode(errors="replace")
        return malformed(self._provider, f"the stream ended before the answer: {start!r}")

    def _take_last(self, event: ServerSentEvent) -> Iterator[Delta]:
        """An event whose end is missing may itself be cut."""
        try:
            yield from self._take(event)
        except MalformedResponse as error:
            raise self._cut() from error

    def _take(self, event: ServerSentEvent) -> Iterator[Delta]:
        data = event.data
        if self.ended or not data:
            return
        if data.startswith(_END):
            self.ended = True
            return
        chunk = _decoded(data, self._provider)
        if event.event == "error" and not chunk.get("error"):
            chunk = {"error": chunk}
        yield from self._collected.add(chunk, "delta")


def malformed(provider: str, reason: str) -> MalformedResponse:
    """An answer that the protocol does not allow; another attempt may do better."""
    return MalformedResponse(
        f"malformed answer of {provider}: {reason}; try again, and check base_url and model "
        "if it stays so",
        provider=provider,
        retryable=True,
    )


def _decoded(body: bytearray | str, provider: str) -> Object:
    try:
        decoded = _json(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        start = body[:_SHOWN]
        start = start if isinstance(start, str) else start.decode(errors="replace")
        reason = f"not JSON ({error}): {start!r}" if body else "it is empty"
        raise malformed(provider, reason) from error
    if not isinstance(decoded, dict):
        raise malformed(provider, f"an object was expected, not a {type(decoded).__name__}")
    return cast("Object", decoded)


def _json(body: bytearray | str) -> Any:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        # A server that cuts text between UTF-16 units sends halves of characters.
        raw = body.encode() if isinstance(body, str) else body
        mended = _ESCAPE.sub(lambda escape: rb"\ufffd" if escape[1] else escape[0], raw)
        if mended == raw:
            raise
        return msgspec.json.decode(mended)


def _first(choices: object) -> Object | None:
    """The choice with index 0; only that one was asked for."""
    for choice in as_objects(choices):
        if choice.get("index") in (0, None):
            return choice
    return None


def _parts(content: object, kind: str) -> str:
    """What a list of parts holds under the name of its kind, nested lists included."""
    said: list[str] = []
    waiting = [(content, kind)]
    while waiting:
        value, kind = waiting.pop()
        parts = reversed(as_objects(value))
        waiting += [(p.get(kind), "text") for p in parts if p.get("type") in (kind, None)]
        said.append(as_string(value))
    return "".join(said)


def _reasoning(said: Object) -> str:
    for key in ("reasoning_content", "reasoning"):
        text = said.get(key)
        if text:
            return as_string(text)
    content = said.get("content")
    if isinstance(content, list):
        return _parts(cast("Any", content), "thinking")
    details = said.get("reasoning_details")
    if details:
        return "".join(as_string(d.get("text") or d.get("summary")) for d in as_objects(details))
    return ""


def _usage(usage: Object) -> Usage:
    """Cached tokens lie inside ``prompt_tokens``, reasoning inside ``completion_tokens``."""
    read = as_object(usage.get("prompt_tokens_details"))
    written = as_object(usage.get("completion_tokens_details"))
    cached = _count(read.get("cached_tokens")) or _count(usage.get("prompt_cache_hit_tokens"))
    return Usage(
        _count(usage.get("prompt_tokens")),
        _count(usage.get("completion_tokens")),
        cached or _count(usage.get("cached_tokens")),
        _count(read.get("cache_write_tokens")),
        _count(written.get("reasoning_tokens")),
    )


def _count(value: object) -> int:
    """A number of tokens; 0 for what is none."""
    if isinstance(value, int | float) and 0 < value < _LARGEST_COUNT:
        return int(value)
    return 0
