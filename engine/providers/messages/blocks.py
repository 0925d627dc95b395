"""Blocks of an answer, whole or growing delta by delta, and the parts that they become."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agent.engine.provider import Delta, ReasoningDelta, TextDelta
from agent.engine.providers.wire import Object, as_object, as_objects, as_string
from agent.eventstore.messages import (
    Opaque,
    OpaquePart,
    Part,
    ReasoningPart,
    TextPart,
    ToolCallPart,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.engine.providers.origin import Origin

_SAID = {
    "text": ("type", "text"),
    "thinking": ("type", "thinking"),
    "tool_use": ("type", "id", "name", "input"),
}
"""What our parts say of a block; a block that says more is kept as it is."""


class Block:
    """One block of the content."""

    def __init__(self, item: Object) -> None:
        self.kind = as_string(item.get("type"))
        self._item = item
        self._grown: dict[str, list[str]] = {}
        self._json: list[str] = []

    def begin(self) -> Iterator[Delta]:
        """What the block already says."""
        if self.shown:
            yield from self._grow(self.kind, as_string(self._item.get(self.kind)))

    def add(self, delta: Object) -> Iterator[Delta]:
        """Take a delta; of a kind that is not known, nothing is known to be missing."""
        match delta.get("type"):
            case "text_delta" | "thinking_delta" as kind:
                key = kind.removesuffix("_delta")
                if key == self.kind:
                    yield from self._grow(key, as_string(delta.get(key)))
            case "input_json_delta":
                self._json.append(as_string(delta.get("partial_json")))
            case "citations_delta":
                known = as_objects(self._item.get("citations"))
                self._item = {**self._item, "citations": [*known, delta.get("citation")]}
            case "signature_delta" | "compaction_delta":
                said = {key: value for key, value in delta.items() if key != "type"}
                self._item = {**self._item, **said}
            case _:
                pass

    def _grow(self, key: str, text: str) -> Iterator[Delta]:
        if text:
            self._grown.setdefault(key, []).append(text)
            yield TextDelta(text) if key == "text" else ReasoningDelta(text)

    @property
    def shown(self) -> bool:
        """Whether its words are deltas for the caller."""
        return self.kind in ("text", "thinking")

    @property
    def name(self) -> str:
        """What a call is for."""
        return as_string(self._item.get("name"))

    def part(self, origin: Origin) -> Part | None:
        """The block as a part; None for text that is empty."""
        text = "".join(self._grown.get(self.kind, ()))
        match self.kind:
            case "text":
                item = {**self._item, "text": text}
                opaque = kept(item, origin)
                return TextPart(text, opaque) if text or opaque else None
            case "thinking":
                item = {**self._item, "thinking": text}
                return ReasoningPart(text, kept(item, origin))
            case "tool_use":
                return self._call(origin)
            case _:
                return OpaquePart(origin.opaque(self._with_input()))

    def _call(self, origin: Origin) -> ToolCallPart:
        call_id, arguments = as_string(self._item.get("id")), "".join(self._json)
        if not arguments:
            arguments = msgspec.json.encode(as_object(self._item.get("input"))).decode()
        part = ToolCallPart(call_id, self.name, arguments)
        item = self._with_input()
        whole = call_id and isinstance(item.get("input"), dict)
        if not whole:
            return part
        return msgspec.structs.replace(part, opaque=kept(item, origin))

    def _with_input(self) -> Object:
        """The item with its input; as text, if that was cut."""
        written = "".join(self._json)
        if not written:
            return self._item
        try:
            return {**self._item, "input": msgspec.json.decode(written)}
        except (msgspec.DecodeError, RecursionError):
            return {**self._item, "input": written}


def kept(item: Object, origin: Origin) -> Opaque | None:
    """The item, where our part does not say all of it."""
    said = _SAID[as_string(item.get("type"))]
    more = any(value is not None and key not in said for key, value in item.items())
    return origin.opaque(item) if more else None
