"""Messages answers, whole and streamed, to messages.

A stream says the usage at its start and, cumulative, at its end. Tool turns are known by their
calls, not by the stop reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.engine.provider import Answer, Delta
from agent.engine.providers.failures import error_in_answer
from agent.engine.providers.messages.blocks import Block
from agent.engine.providers.parsers import Reading
from agent.engine.providers.wire import (
    Object,
    an_object,
    as_count,
    as_object,
    as_objects,
    as_string,
    malformed,
)
from agent.eventstore.messages import Message, Part, RefusalPart, ToolCallPart
from agent.eventstore.values import FinishReason, Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.engine.providers.origin import Origin

_FINISH: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "pause_turn": "paused",
    "refusal": "refusal",
}


class MessagesReading(Reading):
    """A message, or the events of one."""

    def __init__(self, origin: Origin) -> None:
        super().__init__(origin)
        self._blocks: dict[int, Block] = {}
        self._stop_reason: str | None = None
        self._stop_details: Object = {}
        self._usage: Object = {}
        self._model: str | None = None
        self._response_id: str | None = None

    def whole(self, body: Object) -> Iterator[Delta]:
        """Take a message."""
        self._check_error(body)
        if not isinstance(body.get("content"), list):
            kind = type(body.get("content")).__name__
            raise malformed(self.provider, f"content cannot be a {kind}")
        self._start(body)
        self._stop(body)
        for index, item in enumerate(as_objects(body["content"])):
            yield from self._begin(index, item)

    def event(self, kind: str, data: Object) -> Iterator[Delta]:
        """Take an event; those that are not known say nothing of the message."""
        self._check_error(data)
        match as_string(data.get("type")) or kind:
            case "message_start":
                self._start(an_object(data.get("message"), self.provider))
            case "content_block_start":
                block = an_object(data.get("content_block"), self.provider)
                yield from self._begin(self._index(data), block)
            case "content_block_delta":
                delta = an_object(data.get("delta"), self.provider)
                yield from self._growing(self._index(data)).add(delta)
            case "message_delta":
                self._stop(as_object(data.get("delta")))
                self._count(data)
            case "message_stop":
                self.ended = self.began
            case _:
                pass

    def _check_error(self, data: Object) -> None:
        if data.get("error") or data.get("type") == "error":
            raise error_in_answer(data.get("error") or data, self.provider)

    def _index(self, data: Object) -> int:
        index = data.get("index")
        if not isinstance(index, int):
            raise malformed(self.provider, "a block without an index")
        return index

    def _start(self, message: Object) -> None:
        self.began = True
        self._response_id = as_string(message.get("id")) or None
        self._model = as_string(message.get("model")) or None
        self._count(message)

    def _begin(self, index: int, item: Object) -> Iterator[Delta]:
        if index in self._blocks:
            raise malformed(self.provider, f"block {index} begins twice")
        block = self._blocks[index] = Block(item)
        self.called += block.kind == "tool_use"
        self.check_parts(len(self._blocks))
        return block.begin()

    def _growing(self, index: int) -> Block:
        """The block that a delta belongs to: what is shown as it comes is told block by block."""
        found = self._blocks.get(index)
        if found is None:
            raise malformed(self.provider, "a delta of a block that has not begun")
        if found.shown and index != next(reversed(self._blocks)):
            raise malformed(self.provider, "a delta of a block that is over")
        return found

    def _stop(self, said: Object) -> None:
        self._stop_reason = as_string(said.get("stop_reason")) or self._stop_reason
        self._stop_details = as_object(said.get("stop_details")) or self._stop_details
        self.complete = self.began and self._stop_reason is not None

    def _count(self, said: Object) -> None:
        usage = as_object(said.get("usage"))
        self._usage |= {key: value for key, value in usage.items() if value is not None}

    def answer(self) -> Answer:
        """The whole of it. Raises :class:`MalformedResponse`."""
        raw = self._stop_reason
        parts = self._parts()
        calls = any(isinstance(part, ToolCallPart) for part in parts)
        if not (parts or raw):
            raise malformed(self.provider, "it says nothing, and not why")
        if raw == "tool_use" and not parts:
            raise malformed(self.provider, "it ends in tool calls, but none came")
        return Answer(
            Message("assistant", tuple(parts)),
            "tool_calls" if calls else _FINISH.get(raw or "", "other"),
            raw,
            _usage(self._usage),
            self._model,
            self._response_id,
        )

    def _parts(self) -> list[Part]:
        blocks = list(self._blocks.values())
        if any(block.kind == "tool_use" and not block.name for block in blocks):
            raise malformed(self.provider, "a tool call without a name")
        parts = [part for block in blocks if (part := block.part(self.origin)) is not None]
        if self._stop_reason == "refusal":
            parts.append(self._refusal())
        return parts

    def _refusal(self) -> RefusalPart:
        """The server's words for it; they are not the model's, so they do not go back."""
        words = as_string(self._stop_details.get("explanation"))
        return RefusalPart(words, self.origin.opaque(self._stop_details))


def _usage(usage: Object) -> Usage:
    """What is read from the cache and written to it is counted beside ``input_tokens``."""
    cached = as_count(usage.get("cache_read_input_tokens"))
    written = as_count(usage.get("cache_creation_input_tokens"))
    details = as_object(usage.get("output_tokens_details"))
    return Usage(
        as_count(usage.get("input_tokens")) + cached + written,
        as_count(usage.get("output_tokens")),
        cached,
        written,
        as_count(details.get("thinking_tokens")),
    )
