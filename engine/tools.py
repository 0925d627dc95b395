"""Tools: Python functions that a model may call.

The schema comes from the signature, the descriptions from the docstring (Google style). pydantic
validates the arguments of every call; it is imported when the first schema is made.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import typing
from collections.abc import Awaitable, Callable, Sequence
from functools import cache, update_wrapper
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast, overload

import msgspec

from agent.engine.errors import InvalidTool
from agent.engine.output import sentences
from agent.eventstore.errors import InvalidEvent
from agent.eventstore.lazy import cached_property
from agent.eventstore.messages import ResultContent, TextPart
from agent.eventstore.rawjson import check_text, to_raw
from agent.eventstore.values import ToolDefinition

if TYPE_CHECKING:
    from pydantic import BaseModel, TypeAdapter

P = ParamSpec("P")
R = TypeVar("R")

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class InvalidArguments(Exception):
    """The model's arguments do not fit the tool's parameters."""


class ToolContext(msgspec.Struct, frozen=True):
    """What a tool may know about the call that it serves.

    Declare a parameter of this type and it is filled in; the model never sees it.
    ``idempotency_key`` is the same however often this very call is run.
    """

    session_id: str
    call_id: str
    idempotency_key: str


class Tool(Generic[P, R]):
    """A function that a model may call; calling it directly calls the function.

    ``timeout`` is in seconds. Raises :class:`~agent.engine.errors.InvalidTool`.
    """

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str | None = None,
        description: str | None = None,
        timeout: float | None = None,
    ) -> None:
        if not callable(function):
            raise InvalidTool(f"a tool is a function, not {function!r}")
        self.function = function
        self.name = name or getattr(function, "__name__", type(function).__name__)
        self.timeout = timeout
        self._description = description
        if timeout is not None and not (isinstance(timeout, int | float) and timeout > 0):  # pyright: ignore[reportUnnecessaryIsInstance] - user input
            raise InvalidTool(f"tool {self.name}: timeout must be more than 0 s, not {timeout!r}")
        if not _NAME.fullmatch(self.name):
            raise InvalidTool(
                f"tool name {self.name!r} must be 1 to 64 letters, digits, '_' or '-'; "
                "give another with @tool(name=...)"
            )
        update_wrapper(self, function, updated=())

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself."""
        return self.function(*args, **kwargs)

    @cached_property
    def is_async(self) -> bool:
        """Whether calling the function gives a coroutine."""
        return inspect.iscoroutinefunction(self.function) or inspect.iscoroutinefunction(
            getattr(self.function, "__call__", None)  # noqa: B004 - the method of a callable object
        )

    @cached_property
    def definition(self) -> ToolDefinition:
        """The tool as the model sees it."""
        from pydantic.errors import PydanticInvalidForJsonSchema  # noqa: PLC0415 - slow to import

        try:
            schema = self._arguments.model_json_schema()
        except PydanticInvalidForJsonSchema as error:
            raise InvalidTool(f"tool {self.name}: {error}") from error
        schema.pop("title", None)
        for parameter in schema.get("properties", {}).values():
            parameter.pop("title", None)
        description = self._description or self._docstring[0]
        try:
            raw = to_raw(schema, of=f"tool {self.name}")
        except InvalidEvent as error:
            raise InvalidTool(str(error)) from error
        return ToolDefinition(self.name, description, raw)

    def invoke(self, arguments: str, context: ToolContext) -> R:
        """Validate the model's arguments (JSON text) and call the function.

        Raises :class:`InvalidArguments`.
        """
        from pydantic import ValidationError  # noqa: PLC0415 - loaded with the schema

        try:
            values = self._arguments.model_validate_json(arguments or "{}")
        except ValidationError as error:
            raise InvalidArguments("; ".join(sentences(error))) from None
        chosen = {name: getattr(values, name) for name in type(values).model_fields}
        by_name = {alias: chosen[name] for name, alias in self._aliases.items()}
        extra = dict.fromkeys(self._context_parameters, context)
        return cast("Callable[..., R]", self.function)(**by_name, **extra)

    @cached_property
    def _hints(self) -> dict[str, Any]:
        function = (
            self.function if inspect.isroutine(self.function) else type(self.function).__call__
        )
        try:
            return typing.get_type_hints(function, include_extras=True)
        except (NameError, TypeError) as error:
            raise InvalidTool(f"tool {self.name}: a type hint does not resolve: {error}") from error

    @cached_property
    def _parameters(self) -> list[inspect.Parameter]:
        try:
            parameters = list(inspect.signature(self.function).parameters.values())
        except (TypeError, ValueError) as error:
            raise InvalidTool(f"tool {self.name} has no readable signature: {error}") from error
        if parameters and parameters[0].name in {"self", "cls"}:
            raise InvalidTool(
                f"tool {self.name} is a method without its object; "
                "make a tool of the bound method: tool(instance.method)"
            )
        for parameter in parameters:
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise InvalidTool(
                    f"tool {self.name}: parameter {parameter.name!r} cannot be passed by name"
                )
        return parameters

    @cached_property
    def _context_parameters(self) -> tuple[str, ...]:
        return tuple(p.name for p in self._parameters if _is_context(self._hints.get(p.name)))

    @cached_property
    def _aliases(self) -> dict[str, str]:
        """Field names of the arguments' model, which pydantic restricts, by parameter name."""
        offered = [p.name for p in self._parameters if p.name not in self._context_parameters]
        return {f"argument_{index}": name for index, name in enumerate(offered)}

    @cached_property
    def _docstring(self) -> tuple[str, dict[str, str]]:
        from docstring_parser.google import GoogleParser  # noqa: PLC0415 - only to make a schema

        parsed = GoogleParser().parse(inspect.getdoc(self.function) or "")
        words = [parsed.short_description, parsed.long_description]
        described = {p.arg_name: p.description for p in parsed.params if p.description}
        return "\n\n".join(part for part in words if part), described

    @cached_property
    def _arguments(self) -> type[BaseModel]:
        from pydantic import ConfigDict, Field, PydanticUserError, create_model  # noqa: PLC0415

        by_name = {p.name: p for p in self._parameters}
        described = self._docstring[1]
        fields: dict[str, Any] = {}
        for field, name in self._aliases.items():
            default = by_name[name].default
            words: dict[str, Any] = {"description": described[name]} if name in described else {}
            fields[field] = (
                self._hints.get(name, Any),
                Field(
                    ... if default is inspect.Parameter.empty else default,
                    alias=name,
                    **words,
                ),
            )
        try:
            return create_model(self.name, __config__=ConfigDict(extra="forbid"), **fields)
        except (PydanticUserError, TypeError) as error:
            raise InvalidTool(f"tool {self.name}: {error}") from error


@overload
def tool(function: Callable[P, R], /) -> Tool[P, R]: ...
@overload
def tool(
    *, name: str | None = None, description: str | None = None, timeout: float | None = None
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...
def tool(
    function: Callable[P, R] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    timeout: float | None = None,
) -> Tool[P, R] | Callable[[Callable[P, R]], Tool[P, R]]:
    """Make a function a tool, with or without arguments.

    >>> @tool
    ... def add(a: int, b: int) -> int:
    ...     "Add two numbers."
    ...     return a + b
    >>> add(1, 2)
    3
    """

    def decorate(function: Callable[P, R]) -> Tool[P, R]:
        return Tool(function, name=name, description=description, timeout=timeout)

    return decorate if function is None else decorate(function)


class Toolset:
    """The tools of an agent by name, in their order. Raises :class:`InvalidTool`."""

    def __init__(self, tools: Sequence[Tool[..., Any] | Callable[..., Any]] = ()) -> None:
        self._tools: dict[str, Tool[..., Any]] = {}
        for item in tools:
            made = cast("Tool[..., Any]", item) if isinstance(item, Tool) else Tool(item)
            if made.name in self._tools:
                raise InvalidTool(f"two tools are called {made.name!r}; rename one")
            self._tools[made.name] = made
        self.definitions = tuple(made.definition for made in self._tools.values())

    def get(self, name: str) -> Tool[..., Any] | None:
        """The tool of this name."""
        return self._tools.get(name)

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in order."""
        return tuple(self._tools)


class ToolRun(msgspec.Struct, frozen=True):
    """A call that is to be executed: the tool, the model's arguments, and their context."""

    tool: Tool[..., Any]
    arguments: str
    context: ToolContext

    def execute(self) -> tuple[ResultContent, ...]:
        """Run it to its end in this thread; an async tool gets an event loop of its own."""
        value = self.tool.invoke(self.arguments, self.context)
        return content_of(asyncio.run(_awaited(value)) if inspect.isawaitable(value) else value)

    async def execute_async(self) -> tuple[ResultContent, ...]:
        """Run it to its end on this event loop."""
        value = self.tool.invoke(self.arguments, self.context)
        return content_of(await value if inspect.isawaitable(value) else value)


async def _awaited(value: Awaitable[object]) -> object:
    return await value


def content_of(value: object) -> tuple[ResultContent, ...]:
    """A tool's return value as content: text and parts as they are, everything else as JSON.

    Raises :class:`InvalidEvent` for what JSON cannot hold.
    """
    parts = _parts(value)
    if parts:
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
    try:
        plain = _any_value().dump_python(value, mode="json")
    except ValueError as error:
        raise InvalidEvent(str(error), event="tool result", path="$") from error
    return bytes(to_raw(plain, of="tool result")).decode()


@cache
def _any_value() -> TypeAdapter[Any]:
    from pydantic import ConfigDict, TypeAdapter  # noqa: PLC0415 - loaded with the schema

    return TypeAdapter(Any, config=ConfigDict(ser_json_inf_nan="constants"))


def _is_context(hint: object) -> bool:
    """Whether a parameter is for the context, also as an optional or annotated one."""
    return hint is ToolContext or any(_is_context(inner) for inner in typing.get_args(hint))


def error_content(error: BaseException) -> tuple[ResultContent, ...]:
    """What the model is told of a tool's exception: ``TypeName: message``."""
    try:
        text = f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - an exception that cannot say what it is
        text = type(error).__name__
    return (TextPart(text.encode(errors="replace").decode()),)
