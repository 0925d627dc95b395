"""The contents of a ``generateContent`` request, read into ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agent.engine.errors import InvalidPrompt
from agent.engine.providers.generate_content.parts import camel, read_part
from agent.engine.providers.transcript import (
    MessageReader,
    Transcript,
    names_besides,
    transcript,
)
from agent.engine.providers.wire import Object, as_object, as_objects, as_string
from agent.eventstore.messages import Message, Part, TextPart, ToolCallPart, ToolResultPart

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.engine.providers.origin import Origin


def read_body(body: Object, origin: Origin) -> Transcript:
    """The conversation of a body. Raises :class:`InvalidPrompt`."""
    system = as_object(body.get("systemInstruction") or body.get("system_instruction"))
    pieces = as_objects(system.get("parts"))
    texts = [as_string(part.get("text")) for part in pieces]
    messages = _Contents(origin).read(as_objects(body.get("contents")))
    return transcript(texts, names_besides(pieces, "text"), messages)


class _Contents(MessageReader):
    field = "contents"

    def _read(self, item: Object) -> Iterator[Message]:
        parts = [camel(part) for part in as_objects(item.get("parts"))]
        match item.get("role"):
            case "model":
                yield Message("assistant", tuple(self._said(part) for part in parts))
            case "user" | "function" | None:
                results = [part for part in parts if "functionResponse" in part]
                others = [part for part in parts if "functionResponse" not in part]
                if results:
                    yield Message.tool(*(self._result(part) for part in results))
                if others:
                    yield Message("user", tuple(self._part(part) for part in others))
            case role:
                raise InvalidPrompt(f"no content of Gemini has the role {role!r}")

    def _part(self, item: Object) -> Part:
        try:
            return read_part(item, self._origin)
        except ValueError as error:
            raise InvalidPrompt(str(error)) from error

    def _said(self, item: Object) -> Part:
        part = self._part(item)
        return self._names.call(part) if isinstance(part, ToolCallPart) else part

    def _result(self, item: Object) -> ToolResultPart:
        said = as_object(item["functionResponse"])
        name, given = as_string(said.get("name")), as_string(said.get("id"))
        call_id = self._names.result(given, name)
        response = as_object(said.get("response"))
        plain = item.keys() == {"functionResponse"} and said.keys() <= {"name", "id", "response"}
        for key in ("output", "error"):
            if plain and response.keys() == {key} and isinstance(response[key], str):
                return ToolResultPart(call_id, (TextPart(response[key]),), key == "error")
        text = msgspec.json.encode(response).decode()
        return ToolResultPart(call_id, (TextPart(text),), opaque=self._origin.opaque(item))
