"""What tools return and raise, as the content that a model is told."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from agent.eventstore.codec import CODEC
from agent.eventstore.errors import InvalidEvent
from agent.eventstore.events import ToolReturned
from agent.eventstore.messages import ResultContent, TextPart
from agent.eventstore.rawjson import check_text, to_raw

if TYPE_CHECKING:
    from pydantic import TypeAdapter


def content_of(value: object) -> tuple[ResultContent, ...]:
    """A tool's return value as content: text and parts as they are, everything else as JSON.

    Raises :class:`InvalidEvent` for what JSON cannot hold.
    """
    parts = _parts(value)
    if parts:
        CODEC.encode(ToolReturned(call_id="", content=parts, is_error=False, elapsed=0.0))
        return parts
    if isinstance(value, str):
        check_text(value, of="tool result", path="$")
        return (TextPart(str.__str__(value)),)
    return (TextPart(_json_text(value)),)


def _parts(value: object) -> tuple[ResultContent, ...]:
    """The parts that a value is, or is a list of; none if it is anything else."""
    items = cast("Sequence[object]", value) if isinstance(value, list | tuple) else (value,)
    parts = tuple(item for item in items if isinstance(item, ResultContent))
    return parts if len(parts) == len(items) else ()


def _json_text(value: object) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        raise InvalidEvent(
            "bytes are no JSON; return an ImagePart or FilePart", event="tool result", path="$"
        )
    if inspect.isgenerator(value) or inspect.isasyncgen(value):
        raise InvalidEvent("a generator is no result; return a list", event="tool result", path="$")
    try:
        plain = _any_value().dump_python(value, mode="json")
    except ValueError as error:
        reason = f"{error}; return text, lists and dicts of plain values, models or parts"
        raise InvalidEvent(reason, event="tool result", path="$") from error
    return bytes(to_raw(plain, of="tool result")).decode()


@cache
def _any_value() -> TypeAdapter[Any]:
    from pydantic import ConfigDict, TypeAdapter  # noqa: PLC0415 - loaded with the schema

    return TypeAdapter(Any, config=ConfigDict(ser_json_inf_nan="constants"))


def error_content(error: BaseException) -> tuple[ResultContent, ...]:
    """What the model is told of a tool's exception: ``TypeName: message``.

    Of a group also what is in it.
    """
    return (TextPart(_words(error).encode(errors="replace").decode()),)


def _words(error: BaseException) -> str:
    try:
        text = f"{type(error).__name__}: {error}"
    except BaseException:  # noqa: BLE001 - an exception that cannot say what it is
        text = type(error).__name__
    if isinstance(error, BaseExceptionGroup):
        inner = cast("BaseExceptionGroup[BaseException]", error).exceptions
        return f"{text}: {'; '.join(map(_words, inner))}"
    return text
