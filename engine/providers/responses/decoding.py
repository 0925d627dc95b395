"""The items of a Responses request, read into our messages."""

from __future__ import annotations

import mimetypes
from typing import TYPE_CHECKING

import msgspec

from agent.engine.errors import InvalidPrompt
from agent.engine.providers.responses.items import InvalidItem, parts_of
from agent.engine.providers.transcript import (
    CallNames,
    Transcript,
    names_besides,
    parted,
    placed,
    source_of,
    text_of,
    transcript,
)
from agent.engine.providers.wire import Object, as_objects, as_string
from agent.eventstore.messages import (
    FilePart,
    ImagePart,
    Message,
    OpaquePart,
    Part,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.engine.providers.origin import Origin
    from agent.eventstore.messages import ResultContent, Role

replace = msgspec.structs.replace

_SYSTEM = ("system", "developer")
_ELSEWHERE = ("previous_response_id", "conversation")
_RESULTS = ("function_call_output", "custom_tool_call_output")
_PLAIN_RESULT = {"type", "call_id", "output"}


def read_body(body: Object, origin: Origin) -> Transcript:
    """The conversation of a body. Raises :class:`InvalidPrompt`."""
    for key in _ELSEWHERE:
        if body.get(key):
            raise InvalidPrompt(f"the server keeps the history of a request with {key}")
    given = body.get("input")
    items = [{"role": "user", "content": given}] if isinstance(given, str) else as_objects(given)
    leading, rest = parted(items, _is_system)
    system = [as_string(body.get("instructions"))]
    system += [text_of(item.get("content")) for item in leading]
    messages = _Messages(origin)
    for place, item in enumerate(rest, len(leading)):
        with placed("input", place):
            messages.add(item)
    pieces = [part for item in leading for part in as_objects(item.get("content"))]
    marks = names_besides(pieces, "type", "text")
    return transcript(system, marks, messages.whole())


def _is_system(item: Object) -> bool:
    return item.get("role") in _SYSTEM and item.get("type") in ("message", None)


class _Messages:
    """Messages, growing item by item: what stands together was said together."""

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._names = CallNames()
        self._messages: list[tuple[Role, list[Part]]] = []
        self._waiting: set[str] = set()

    def whole(self) -> Iterator[Message]:
        """The messages."""
        for role, parts in self._messages:
            yield Message(role, tuple(parts))

    def add(self, item: Object) -> None:
        """Take the next item. Raises :class:`InvalidPrompt`."""
        kind, role = item.get("type"), item.get("role")
        if kind in ("message", None) and role != "assistant":
            self._messages.append(("user", list(self._user(item))))
        elif kind in _RESULTS:
            self._open("tool").append(self._result(item))
        else:
            self._say(item)

    def _open(self, role: Role) -> list[Part]:
        """The parts of the last message, or of a new one if that is another's."""
        if not self._messages or self._messages[-1][0] != role:
            self._messages.append((role, []))
        return self._messages[-1][1]

    def _say(self, item: Object) -> None:
        try:
            parts = parts_of(item, self._origin)
        except InvalidItem as error:
            raise InvalidPrompt(str(error)) from error
        if self._waiting and self._messages[-1][0] == "tool" and isinstance(parts[0], OpaquePart):
            # The results of one answer are one message, which holds nothing else.
            self._messages[-2][1].extend(parts)
            return
        said = self._open("assistant")
        spoken = isinstance(parts[0], TextPart) and parts[0].opaque is None
        if spoken and any(isinstance(part, TextPart) for part in said):
            self._messages.append(("assistant", said := []))
        said.extend(self._named(part) for part in parts)

    def _named(self, part: Part) -> Part:
        if not isinstance(part, ToolCallPart):
            return part
        call = self._names.call(part)
        self._waiting.add(call.call_id)
        return call

    def _result(self, item: Object) -> ToolResultPart:
        call_id = self._names.result(as_string(item.get("call_id")))
        self._waiting.discard(call_id)
        fields = {key: value for key, value in item.items() if key not in _PLAIN_RESULT}
        opaque = self._origin.opaque(fields) if fields else None
        return ToolResultPart(call_id, tuple(self._pieces(item.get("output"))), opaque=opaque)

    def _user(self, item: Object) -> Iterator[Part]:
        role = item.get("role")
        if role in _SYSTEM:
            yield TextPart(text_of(item.get("content")), self._origin.opaque({"role": role}))
        elif role == "user":
            yield from self._pieces(item.get("content"))
        else:
            raise InvalidPrompt(f"no message of Responses has the role {role!r}")

    def _pieces(self, content: object) -> Iterator[ResultContent]:
        if isinstance(content, str):
            yield TextPart(content)
            return
        for item in as_objects(content):
            yield self._piece(item)

    def _piece(self, item: Object) -> ResultContent:
        match item.get("type"):
            case "input_text" | "output_text" | "text":
                part: ResultContent = TextPart(as_string(item.get("text")))
                known = {"type", "text"}
            case "input_image" if url := as_string(item.get("image_url")):
                part = ImagePart(*source_of(url))
                known = {"type", "image_url"}
                known |= {"detail"} if item.get("detail") == "auto" else set[str]()
            case "input_file" if data := as_string(item.get("file_data")):
                source, media_type = source_of(data)
                name = as_string(item.get("filename")) or None
                part = FilePart(source, media_type or _type_of(name or ""), name)
                known = {"type", "file_data", "filename"}
            case "input_file" if url := as_string(item.get("file_url")):
                part, known = FilePart(source_of(url)[0], _type_of(url)), {"type", "file_url"}
            case _:
                return OpaquePart(self._origin.opaque(item))
        fields = {key: value for key, value in item.items() if key not in known}
        return replace(part, opaque=self._origin.opaque(fields)) if fields else part


def _type_of(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/pdf"
