"""Chat Completions answers, whole and streamed, to messages.

Tolerant where servers differ: missing, null and list content, arguments as objects, calls without
ids or indexes, usage in any chunk. Tool turns are known by their calls, not by the finish reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from agent.engine.provider import Answer, Delta, ReasoningDelta, TextDelta
from agent.engine.providers.chat_completions.calls import CollectedCalls
from agent.engine.providers.failures import error_in_answer
from agent.engine.providers.parsers import Reading
from agent.engine.providers.wire import (
    Object,
    as_count,
    as_object,
    as_objects,
    as_string,
    malformed,
)
from agent.eventstore.messages import Message, Part, ReasoningPart, RefusalPart, TextPart
from agent.eventstore.values import FinishReason, Usage

if TYPE_CHECKING:
    from agent.engine.providers.origin import Origin

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
_BROKEN_OFF = {"error", "insufficient_system_resource"}


class ChatReading(Reading):
    """A completion, or the chunks of one."""

    def __init__(self, origin: Origin) -> None:
        super().__init__(origin)
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.calls = CollectedCalls()
        self.finish_reason: str | None = None
        self.usage = Usage()
        self.model: str | None = None
        self.response_id: str | None = None

    def whole(self, body: Object) -> Iterator[Delta]:
        """Take a completion."""
        return self._add(body, "message")

    def event(self, kind: str, data: Object) -> Iterator[Delta]:  # noqa: ARG002 - chunks have no types
        """Take a chunk."""
        return self._add(data, "delta")

    def _add(self, body: Object, key: str) -> Iterator[Delta]:
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
        self.complete = self.finish_reason is not None
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
    cached = as_count(read.get("cached_tokens")) or as_count(usage.get("prompt_cache_hit_tokens"))
    return Usage(
        as_count(usage.get("prompt_tokens")),
        as_count(usage.get("completion_tokens")),
        cached or as_count(usage.get("cached_tokens")),
        as_count(read.get("cache_write_tokens")),
        as_count(written.get("reasoning_tokens")),
    )
