"""Chat Completions answers, whole and streamed, to messages.

Tolerant where servers differ: missing, null and list content, arguments as objects, calls without
ids or indexes, usage in any chunk. Tool turns are known by their calls, not by the finish reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from agent.engine.provider import Answer, Delta, ReasoningDelta, TextDelta
from agent.engine.providers.chat_completions.calls import CollectedCalls
from agent.engine.providers.chat_completions.folding import Folded
from agent.engine.providers.chat_completions.said import (
    detail_ids,
    field_reasoning,
    said_parts,
    spoken,
)
from agent.engine.providers.failures import error_in_answer
from agent.engine.providers.parsers import Reading
from agent.engine.providers.wire import (
    Object,
    as_count,
    as_object,
    as_objects,
    as_string,
    first_of,
    malformed,
)
from agent.eventstore.messages import Message
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
        self.said = Folded()
        self.reasoning: list[str] = []
        self.thought = False
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
        choice = first_of(body.get("choices"))
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
        content, thought = said.get("content"), ""
        # What a list says of the reasoning stands in its place there; before it, beside it.
        reasoning = "" if self.thought else field_reasoning(said)
        if isinstance(content, str):
            text = content
        elif isinstance(content, list):
            text, thought = spoken(cast("Any", content))
        else:
            text = self._check_absent(content, "content")
        self.said.add(said)
        self.thought = self.thought or bool(thought)
        self.reasoning.append(reasoning)
        if reasoning or thought:
            yield ReasoningDelta(reasoning + thought)
        if text:
            yield TextDelta(text)
        calls = said.get("tool_calls")
        if isinstance(calls, list):
            self.calls.add(as_objects(cast("list[Any]", calls)))
            self.called = len(self.calls)
        else:
            self._check_absent(calls, "tool_calls")

    def _check_absent(self, value: object, name: str) -> str:
        """Nothing, for what is not there. Raises :class:`MalformedResponse` for a wrong type."""
        if value is not None:
            raise malformed(self.provider, f"{name} cannot be a {type(value).__name__}")
        return ""

    def answer(self) -> Answer:
        """The whole of it. Raises :class:`MalformedResponse`."""
        if not self.began:
            raise malformed(self.provider, "no choices")
        said = self.said.message()
        parts = list(said_parts(said, "".join(self.reasoning), self.origin))
        calls = self.calls.parts(self.origin, detail_ids(said))
        if not all(call.name for call in calls):
            raise malformed(self.provider, "a tool call without a name")
        raw = (self.finish_reason or "").lower()
        finish = _FINISH.get(raw, "other")
        if not (parts or calls or self.finish_reason):
            raise malformed(self.provider, "it says nothing, and not why")
        if raw == "tool_calls" and not (parts or calls):
            raise malformed(self.provider, "it ends in tool calls, but none came")
        message = Message("assistant", (*parts, *calls))
        return Answer(
            message,
            "tool_calls" if calls else "refusal" if message.refusal is not None else finish,
            self.finish_reason,
            self.usage,
            self.model,
            self.response_id,
        )


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
