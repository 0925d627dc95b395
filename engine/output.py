"""Structured output: a shape asked of the model, and its answer checked against it."""

from __future__ import annotations

import inspect
import reprlib
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import msgspec

from agent.engine.errors import ConfigurationError
from agent.eventstore.events import OutputRejected
from agent.eventstore.messages import Message
from agent.eventstore.rawjson import to_raw
from agent.eventstore.values import OutputSchema

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")

_WRAPPED = "result"


class OutputRejection(Exception):
    """The answer does not fit; ``errors`` are short sentences."""

    def __init__(self, errors: tuple[str, ...]) -> None:
        super().__init__("; ".join(errors))
        self.errors = errors


class Output(Generic[T]):
    """A shape: a pydantic model, a dataclass, a TypedDict, or any type that pydantic knows.

    Providers want an object at the root; every other type is asked for inside of one.
    """

    def __init__(self, shape: type[T] | TypeAdapter[T]) -> None:
        from pydantic import BaseModel, PydanticUserError, TypeAdapter  # noqa: PLC0415 - only for json()
        from pydantic.errors import PydanticInvalidForJsonSchema  # noqa: PLC0415

        given: object = shape
        shown = reprlib.repr(given)
        if isinstance(given, dict | str | None) or inspect.isroutine(given):
            raise ConfigurationError(
                "schema= takes a pydantic model or another type, not a JSON Schema, "
                f"and not {shown}"
            )
        if shape is BaseModel:
            raise ConfigurationError("schema= takes a model of your own, not BaseModel itself")
        try:
            self._adapter = cast(
                "TypeAdapter[T]", shape if isinstance(shape, TypeAdapter) else TypeAdapter(shape)
            )
            schema = self._adapter.json_schema()
        except (PydanticUserError, PydanticInvalidForJsonSchema) as error:
            raise ConfigurationError(
                f"schema={shown} has no JSON Schema: {first_line(error)}"
            ) from error
        self._wrapped = schema.get("type") != "object" and "$ref" not in schema
        name = getattr(shape, "__name__", "output")
        self.schema = OutputSchema(_safe(name), to_raw(self._root(schema), of=f"schema {name}"))

    def _root(self, schema: dict[str, Any]) -> dict[str, Any]:
        if not self._wrapped:
            return schema
        definitions = schema.pop("$defs", None)
        root = {"type": "object", "properties": {_WRAPPED: schema}, "required": [_WRAPPED]}
        return {**root, "$defs": definitions} if definitions else root

    def parse(self, text: str) -> T:
        """The validated value of an answer. Raises :class:`OutputRejection`."""
        from pydantic import ValidationError  # noqa: PLC0415 - loaded with the shape

        try:
            return self._adapter.validate_json(_unwrapped(text) if self._wrapped else text)
        except ValidationError as error:
            raise OutputRejection(sentences(error)) from error


def _unwrapped(text: str) -> bytes:
    try:
        return bytes(msgspec.json.decode(text, type=dict[str, msgspec.Raw])[_WRAPPED])
    except (msgspec.ValidationError, KeyError) as error:
        raise OutputRejection((f"the answer is no object with {_WRAPPED!r}",)) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise OutputRejection((f"invalid JSON: {error}",)) from error


def first_line(error: Exception) -> str:
    """What pydantic says before it explains itself at length."""
    return str(error).partition("\n")[0]


def sentences(error: ValidationError) -> tuple[str, ...]:
    """What pydantic found, a short sentence each, without the values."""
    return tuple(
        f"{'.'.join(str(step) for step in item['loc']) or 'value'}: {item['msg']}"
        for item in error.errors(include_url=False, include_input=False)
    )


def _safe(name: str) -> str:
    """A name that providers accept for a schema."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in name)
    return kept[:64] or "output"


def rejected(errors: tuple[str, ...]) -> OutputRejected:
    """An answer that does not fit, with what the model is told to have it answer again."""
    listed = "\n".join(f"- {error}" for error in errors)
    words = (
        f"The answer does not match the required JSON schema:\n{listed}\n"
        "Answer again with JSON that matches it, and nothing else."
    )
    return OutputRejected(errors=errors, feedback=Message.user(words))
