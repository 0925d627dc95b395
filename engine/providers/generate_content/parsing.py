"""Answers of ``generateContent``, whole and streamed, to messages.

Each event of a stream is a response with the parts that are new. Text comes in many of them; those
that bear nothing but text are joined with their neighbours, so that a signature stays on its part.
The finish reason is STOP with calls too: tool turns are known by their calls.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from agent.engine.provider import Answer, Delta, ReasoningDelta, TextDelta
from agent.engine.providers.failures import error_in_answer
from agent.engine.providers.generate_content.parts import read_part
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
from agent.eventstore.messages import Message, ToolCallPart
from agent.eventstore.values import FinishReason, Usage

if TYPE_CHECKING:
    from agent.engine.providers.origin import Origin
    from agent.eventstore.messages import Part

_FILTERED = (
    *("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR"),
    *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"),
)
_FINISH: dict[str, FinishReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    **dict.fromkeys(_FILTERED, "content_filter"),
}
_PLAIN = {"text", "thought"}


class _Said:
    """One part, growing while nothing but text comes."""

    def __init__(self, item: Object) -> None:
        self.item = item
        self.plain = isinstance(item.get("text"), str) and item.keys() <= _PLAIN
        self.texts = [item["text"]] if self.plain else []

    def takes(self, other: _Said) -> bool:
        if not (self.plain and other.plain and self.thought == other.thought):
            return False
        self.texts += other.texts
        return True

    @property
    def thought(self) -> bool:
        return self.item.get("thought") is True

    def whole(self) -> Object:
        return {**self.item, "text": "".join(self.texts)} if self.plain else self.item


class GenerateReading(Reading):
    """A response, or the events of one."""

    lists = True

    def __init__(self, origin: Origin) -> None:
        super().__init__(origin)
        self.said: list[_Said] = []
        self.finish_reason: str | None = None
        self.blocked: str | None = None
        self.usage = Usage()
        self.model: str | None = None
        self.response_id: str | None = None

    def whole(self, body: Object) -> Iterator[Delta]:
        """Take a response."""
        return self._add(body)

    def event(self, kind: str, data: Object) -> Iterator[Delta]:  # noqa: ARG002 - events have no types
        """Take the next piece of a response."""
        return self._add(data)

    def _add(self, body: Object) -> Iterator[Delta]:
        error = body.get("error")
        if error:
            raise error_in_answer(error, self.provider)
        self.response_id = self.response_id or as_string(body.get("responseId")) or None
        self.model = as_string(body.get("modelVersion")) or self.model
        usage = as_object(body.get("usageMetadata"))
        self.usage = _usage(usage) if usage else self.usage
        feedback = as_object(body.get("promptFeedback"))
        self.blocked = as_string(feedback.get("blockReason")) or self.blocked
        self.complete = self.complete or self.blocked is not None
        candidate = first_of(body.get("candidates"))
        if candidate is None:
            return
        self.began = True
        for item in as_objects(as_object(candidate.get("content")).get("parts")):
            yield from self._take(item)
        self.finish_reason = as_string(candidate.get("finishReason")) or self.finish_reason
        self.complete = self.complete or self.finish_reason is not None

    def _take(self, item: Object) -> Iterator[Delta]:
        said = _Said(item)
        text = as_string(item.get("text"))
        if said.plain and not text:
            return
        if not (self.said and self.said[-1].takes(said)):
            self.said.append(said)
            self.called += "functionCall" in item
            self.check_parts(len(self.said))
        if text:
            yield ReasoningDelta(text) if said.thought else TextDelta(text)

    def answer(self) -> Answer:
        """The whole of it. Raises :class:`MalformedResponse`."""
        raw = self.finish_reason or self.blocked
        try:
            parts: list[Part] = [read_part(said.whole(), self.origin) for said in self.said]
        except ValueError as error:
            raise malformed(self.provider, str(error)) from error
        if not (parts or raw):
            reason = "it says nothing, and not why" if self.began else "no candidates"
            raise malformed(self.provider, reason)
        filtered: FinishReason = "content_filter" if self.blocked else "other"
        finish = _FINISH.get(raw or "", filtered)
        calls = any(isinstance(part, ToolCallPart) for part in parts)
        return Answer(
            Message("assistant", tuple(parts)),
            "tool_calls" if calls else finish,
            raw,
            self.usage,
            self.model,
            self.response_id,
        )


def _usage(usage: Object) -> Usage:
    """The prompt includes what was cached; tool results and thoughts are counted beside."""
    thoughts = as_count(usage.get("thoughtsTokenCount"))
    prompt = as_count(usage.get("promptTokenCount"))
    return Usage(
        prompt + as_count(usage.get("toolUsePromptTokenCount")),
        as_count(usage.get("candidatesTokenCount")) + thoughts,
        as_count(usage.get("cachedContentTokenCount")),
        reasoning_tokens=thoughts,
    )
