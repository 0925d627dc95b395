"""Responses, whole and streamed, to messages.

The result of a stream is the response in its last event; what came before is shown, and stands in
for what a server leaves out at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec

from agent.engine.provider import Answer, Delta, ReasoningDelta, TextDelta
from agent.engine.providers.failures import error_in_answer
from agent.engine.providers.parsers import Reading
from agent.engine.providers.responses.items import CALLS, InvalidItem, parts_of
from agent.engine.providers.wire import (
    Object,
    an_object,
    as_count,
    as_object,
    as_string,
    malformed,
)
from agent.eventstore.messages import (
    Message,
    OpaquePart,
    Part,
    ReasoningPart,
    TextPart,
    ToolCallPart,
)
from agent.eventstore.values import FinishReason, Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.engine.providers.origin import Origin

replace = msgspec.structs.replace

_FINISH: dict[str, FinishReason] = {
    "completed": "stop",
    "complete": "stop",
    "max_output_tokens": "length",
    "max_tokens": "length",
    "content_filter": "content_filter",
}
_SUMMARY, _THOUGHT = "response.reasoning_summary_text.delta", "response.reasoning_text.delta"
_PIECE = ("item_id", "output_index", "summary_index", "content_index")
"""What tells the pieces of reasoning apart; servers leave out some of it."""
_ENDS = ("response.completed", "response.incomplete", "response.failed", "response.cancelled")


class ResponsesReading(Reading):
    """A response, or the events of one."""

    def __init__(self, origin: Origin) -> None:
        super().__init__(origin)
        self.shown = ""
        self.reasoned = ""
        self.piece: tuple[object, ...] = ()
        self.begun = 0
        self.items: list[tuple[int, Object]] = []
        self.parts: tuple[Part, ...] = ()
        self.response: Object = {}

    def whole(self, body: Object) -> Iterator[Delta]:
        """Take a response."""
        return self._end(body)

    def event(self, kind: str, data: Object) -> Iterator[Delta]:
        """Take an event; servers that name none in front of it say its type inside."""
        kind = as_string(data.get("type")) or kind
        if kind == "error" or (data.get("error") and not kind.startswith("response.")):
            said = {key: value for key, value in data.items() if key != "type"}
            raise error_in_answer(data.get("error") or said, self.provider)
        self.began = True
        if kind in _ENDS:
            self.complete = self.ended = True
            response = an_object(data.get("response"), self.provider)
            if kind == "response.failed":
                response = {**response, "status": "failed"}
            yield from self._end(response)
        elif kind == "response.output_text.delta":
            yield from self._show(self._delta(data))
        elif kind in (_SUMMARY, _THOUGHT):
            yield from self._reason(kind, data)
        elif kind == "response.output_item.added":
            self.begun += 1
        elif kind == "response.output_item.done":
            item = an_object(data.get("item"), self.provider)
            self.items.append((as_count(data.get("output_index")), item))
            self.called += as_string(item.get("type")) in CALLS

    def _delta(self, data: Object) -> str:
        delta = data.get("delta")
        if not isinstance(delta, str):
            raise malformed(self.provider, f"a delta cannot be a {type(delta).__name__}")
        return delta

    def _show(self, text: str) -> Iterator[Delta]:
        if text:
            self.shown += text
            yield TextDelta(text)

    def _reason(self, kind: str, data: Object) -> Iterator[Delta]:
        text = self._delta(data)
        piece = (kind, *(data.get(key) for key in _PIECE))
        if text and not (kind == _THOUGHT and self.piece[:1] == (_SUMMARY,)):
            apart = "\n" if self.reasoned and piece != self.piece else ""
            self.piece = piece
            self.reasoned += apart + text
            yield ReasoningDelta(apart + text)

    def _end(self, response: Object) -> Iterator[Delta]:
        status, error = response.get("status"), response.get("error")
        if status == "failed" or (error and status is None):
            raise error_in_answer(error or "the response failed", self.provider)
        self.began, self.response = True, response
        parts = self._parts(self._items(response))
        yield from self._rest(parts)
        changes = response.get("input_transformations")
        if changes:
            parts.append(OpaquePart(self.origin.opaque({"input_transformations": changes})))
        self.parts = tuple(parts)
        self.called = sum(isinstance(part, ToolCallPart) for part in parts)

    def _items(self, response: Object) -> list[Object]:
        output = response.get("output")
        if output:
            if not isinstance(output, list):
                raise malformed(self.provider, f"output cannot be a {type(output).__name__}")
            return [an_object(item, self.provider) for item in cast("list[object]", output)]
        if output is None and not as_string(response.get("status")):
            raise malformed(self.provider, "it has no output")
        if self.begun > len(self.items):
            raise malformed(self.provider, "an item has no end")
        return [item for _, item in sorted(self.items, key=_place)]

    def _parts(self, items: list[Object]) -> list[Part]:
        try:
            parts = [part for item in items for part in parts_of(item, self.origin)]
        except InvalidItem as error:
            raise malformed(self.provider, str(error)) from error
        if not items:
            parts += [ReasoningPart(self.reasoned)] if self.reasoned else []
            parts += [TextPart(self.shown)] if self.shown else []
        return _in_lines(parts)

    def _rest(self, parts: list[Part]) -> Iterator[Delta]:
        """What is in the parts and has not been shown.

        Reasoning that was shown in other words than the last ones stays as it was shown.
        """
        reasoned = "".join(part.text for part in parts if isinstance(part, ReasoningPart))
        if not reasoned.startswith(self.reasoned):
            shown = [ReasoningPart(self.reasoned)]
            parts[:] = [*shown, *(_silent(part) for part in parts)]
        elif rest := reasoned.removeprefix(self.reasoned):
            yield ReasoningDelta(rest)
        text = "".join(part.text for part in parts if isinstance(part, TextPart))
        if not text.startswith(self.shown):
            raise malformed(self.provider, "the text at its end is not what came before")
        yield from self._show(text.removeprefix(self.shown))

    def answer(self) -> Answer:
        """The whole of it. Raises :class:`MalformedResponse`."""
        response, message = self.response, Message("assistant", self.parts)
        reason = as_string(as_object(response.get("incomplete_details")).get("reason"))
        raw = reason or as_string(response.get("status")) or None
        if not (self.parts or raw):
            raise malformed(self.provider, "it says nothing, and not why")
        finish = _FINISH.get(raw or "", "other")
        if message.refusal is not None:
            finish = "refusal"
        return Answer(
            message,
            "tool_calls" if message.tool_calls else finish,
            raw,
            _usage(as_object(response.get("usage"))),
            as_string(response.get("model")) or None,
            as_string(response.get("id")) or None,
        )


def _place(item: tuple[int, Object]) -> int:
    return item[0]


def _in_lines(parts: list[Part]) -> list[Part]:
    """The parts with each reasoning in lines of its own."""
    lines: list[Part] = []
    before = False
    for part in parts:
        if isinstance(part, ReasoningPart) and part.text:
            lines.append(replace(part, text=f"\n{part.text}") if before else part)
            before = True
        else:
            lines.append(part)
    return lines


def _silent(part: Part) -> Part:
    return replace(part, text="") if isinstance(part, ReasoningPart) else part


def _usage(usage: Object) -> Usage:
    """Cached and written tokens lie inside the input, reasoning inside the output."""
    read = as_object(usage.get("input_tokens_details"))
    written = as_object(usage.get("output_tokens_details"))
    return Usage(
        as_count(usage.get("input_tokens")),
        as_count(usage.get("output_tokens")),
        as_count(read.get("cached_tokens")),
        as_count(read.get("cache_write_tokens")),
        as_count(written.get("reasoning_tokens")),
    )
