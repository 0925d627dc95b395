"""The contents of a ``generateContent`` request, read into ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agent.engine.errors import InvalidPrompt
from agent.engine.providers.generate_content.parts import camel, read_part
from agent.engine.providers.transcript import CallNames, Transcript
from agent.engine.providers.wire import Object, as_object, as_objects, as_string
from agent.eventstore.messages import Message, Part, TextPart, ToolCallPart, ToolResultPart

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.engine.providers.origin import Origin

replace = msgspec.structs.replace


def read_body(body: Object, origin: Origin) -> Transcript:
    """The conversation of a body. Raises :class:`InvalidPrompt`."""
    system = as_object(body.get("systemInstruction") or body.get("system_instruction"))
    texts = [as_string(part.get("text")) for part in as_objects(system.get("parts"))]
    reader = _Contents(origin)
    contents = as_objects(body.get("contents"))
    messages = (message for content in contents for message in reader.read(content))
    return Transcript("\n\n".join(texts) or None, tuple(messages))


class _Contents:
    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._names = CallNames()

    def read(self, content: Object) -> Iterator[Message]:
        parts = [camel(item) for item in as_objects(content.get("parts"))]
        match content.get("role"):
            case "model":
                yield Message("assistant", tuple(self._said(item) for item in parts))
            case "user" | "function" | None:
                results = [item for item in parts if "functionResponse" in item]
                others = [item for item in parts if "functionResponse" not in item]
                if results:
                    yield Message.tool(*(self._result(item) for item in results))
                if others:
                    yield Message("user", tuple(self._part(item) for item in others))
            case role:
                raise InvalidPrompt(f"no content of Gemini has the role {role!r}")

    def _part(self, item: Object) -> Part:
        try:
            return read_part(item, self._origin)
        except ValueError as error:
            raise InvalidPrompt(str(error)) from error

    def _said(self, item: Object) -> Part:
        part = self._part(item)
        if not isinstance(part, ToolCallPart):
            return part
        call_id = self._names.call(part.call_id, part.name)
        return replace(part, call_id=call_id, provider_id=part.call_id or None)

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
