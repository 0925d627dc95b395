"""Answers of Ollama, whole and streamed, to messages: a whole one is a stream of one object."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

from agent.engine.provider import Answer, Delta, ReasoningDelta, TextDelta
from agent.engine.providers.failures import error_in_answer
from agent.engine.providers.ollama_chat.messages import read_call, read_thinking
from agent.engine.providers.parsers import Reading
from agent.engine.providers.wire import (
    Object,
    as_count,
    as_objects,
    as_string,
    malformed,
)
from agent.eventstore.messages import Message, Part, TextPart, ToolCallPart
from agent.eventstore.values import FinishReason, Usage

if TYPE_CHECKING:
    from agent.engine.providers.origin import Origin

_FINISH: dict[str, FinishReason] = {"stop": "stop", "length": "length"}


class OllamaReading(Reading):
    """The objects of one answer."""

    def __init__(self, origin: Origin) -> None:
        super().__init__(origin)
        self.text: list[str] = []
        self.thinking: list[str] = []
        self.calls: list[ToolCallPart] = []
        self.done_reason: str | None = None
        self.usage = Usage()
        self.model: str | None = None

    def whole(self, body: Object) -> Iterator[Delta]:
        """Take an answer."""
        return self._add(body)

    def event(self, kind: str, data: Object) -> Iterator[Delta]:  # noqa: ARG002 - lines have no types
        """Take a line."""
        return self._add(data)

    def _add(self, body: Object) -> Iterator[Delta]:
        if body.get("error"):
            raise error_in_answer(body["error"], self.provider)
        self.model = as_string(body.get("model")) or self.model
        message = body.get("message")
        if isinstance(message, dict):
            self.began = True
            yield from self._add_said(cast("Object", message))
        if body.get("done") is True:
            self.ended = self.complete = True
            self.done_reason = as_string(body.get("done_reason")) or None
            self.usage = Usage(
                as_count(body.get("prompt_eval_count")), as_count(body.get("eval_count"))
            )

    def _add_said(self, message: Object) -> Iterator[Delta]:
        thinking, text = as_string(message.get("thinking")), as_string(message.get("content"))
        if thinking:
            self.thinking.append(thinking)
            yield ReasoningDelta(thinking)
        if text:
            self.text.append(text)
            yield TextDelta(text)
        for item in as_objects(message.get("tool_calls")):
            self._add_call(item)

    def _add_call(self, item: Object) -> None:
        try:
            self.calls.append(read_call(item, self.origin))
        except ValueError as error:
            raise malformed(self.provider, str(error)) from error
        self.called += 1

    def answer(self) -> Answer:
        """The whole of it. Raises :class:`MalformedResponse`."""
        if not self.began:
            raise malformed(self.provider, "no message")
        if not self.complete:
            raise malformed(self.provider, "it is not done")
        thinking, text = "".join(self.thinking), "".join(self.text)
        parts: list[Part] = [read_thinking(thinking, self.origin)] if thinking else []
        parts += [TextPart(text)] if text else []
        finish = _FINISH.get(self.done_reason or "stop", "other")
        return Answer(
            Message("assistant", (*parts, *self.calls)),
            "tool_calls" if self.calls else finish,
            self.done_reason,
            self.usage,
            self.model,
        )
