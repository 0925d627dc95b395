"""Tools: Python functions that a model may call.

The schema comes from the signature, the descriptions from the docstring (Google style). pydantic
validates the arguments of every call; it is imported when the first schema is made.
"""

from __future__ import annotations

import inspect
import json
import re
import reprlib
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial, update_wrapper
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast, overload

import msgspec

from agent.engine.approvals import ApprovalPolicy, checked_policy
from agent.engine.errors import ConfigurationError, InvalidTool
from agent.engine.output import first_line, sentences
from agent.engine.settings import check_seconds
from agent.eventstore.errors import InvalidEvent
from agent.eventstore.lazy import cached_property
from agent.eventstore.rawjson import check_text, to_raw
from agent.eventstore.values import ToolDefinition

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic.json_schema import GenerateJsonSchema

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

    ``timeout`` is in seconds. When a crash leaves the outcome of a call unknown, a tool that is
    ``retry_safe`` (it only reads) is run again, one that is ``idempotent`` (it hands on the
    idempotency key of its context) is run again with the same key, and all others wait for
    ``session.resolve``. Where ``requires_approval`` is true, or is a function that is true of a
    :class:`ProposedCall`, the turn stops for a person's ``session.approve``. Raises
    :class:`~agent.engine.errors.InvalidTool`.
    """

    def __init__(
        self,
        function: Callable[P, R],
        *,
        name: str | None = None,
        description: str | None = None,
        timeout: float | None = None,
        retry_safe: bool | None = None,
        idempotent: bool | None = None,
        requires_approval: ApprovalPolicy | None = None,
    ) -> None:
        given: object = function
        if not callable(given) or isinstance(given, type):
            raise InvalidTool(f"a tool is a function, not {reprlib.repr(given)}")
        inner = cast("Tool[P, R]", given) if isinstance(given, Tool) else None
        self.function: Callable[P, R] = inner.function if inner else function
        named = _unbound(self.function)
        own = inner.name if inner else getattr(named, "__name__", type(named).__name__)
        self.name = own if name is None else name
        self.timeout = inner.timeout if inner and timeout is None else timeout
        self.description = inner.description if inner and description is None else description
        inherit = inner is not None and retry_safe is None and idempotent is None
        self.retry_safe = inner.retry_safe if inner and inherit else retry_safe or False
        self.idempotent = inner.idempotent if inner and inherit else idempotent or False
        asks: ApprovalPolicy = inner.requires_approval if inner else False
        self.requires_approval = asks if requires_approval is None else requires_approval
        self._check()
        update_wrapper(self, named, updated=())

    def _check(self) -> None:
        if not (isinstance(self.name, str) and _NAME.fullmatch(self.name)):
            raise InvalidTool(
                f"tool name {reprlib.repr(self.name)} must be 1 to 64 letters, digits, '_' or '-'; "
                "give another with @tool(name=...)"
            )
        if self.description is not None and not isinstance(self.description, str):  # pyright: ignore[reportUnnecessaryIsInstance] - user input
            raise InvalidTool(f"tool {self.name}: description must be text")
        try:
            if self.timeout is not None:
                check_seconds("timeout", self.timeout)
            checked_policy(self.requires_approval, of="requires_approval")
        except ConfigurationError as error:
            raise InvalidTool(f"tool {self.name}: {error}") from None
        self._check_repetition()
        if inspect.isgeneratorfunction(self._written) or inspect.isasyncgenfunction(self._written):
            raise InvalidTool(
                f"tool {self.name} yields its results one by one; return them as a list"
            )

    def _check_repetition(self) -> None:
        for name in ("retry_safe", "idempotent"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidTool(f"tool {self.name}: {name} must be True or False")
        if self.retry_safe and self.idempotent:
            raise InvalidTool(
                f"tool {self.name}: choose one: retry_safe runs again as a new call, idempotent "
                "runs again with the same key"
            )

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself."""
        return self.function(*args, **kwargs)

    @cached_property
    def _written(self) -> Callable[..., Any]:
        """The function as written: the one inside of a partial, the method of an object."""
        function = _unbound(self.function)
        return function if inspect.isroutine(function) else type(function).__call__

    @cached_property
    def is_async(self) -> bool:
        """Whether calling the function gives a coroutine."""
        return inspect.iscoroutinefunction(self._written)

    @cached_property
    def definition(self) -> ToolDefinition:
        """The tool as the model sees it."""
        arguments = self._arguments
        try:
            schema = arguments.model_json_schema(schema_generator=_schema_generator())
        except Exception as error:  # pydantic refuses types in many ways
            raise self._unfit(error) from error
        schema.pop("title", None)
        for parameter in schema.get("properties", {}).values():
            parameter.pop("title", None)
        description = self.description or self._docstring[0]
        try:
            check_text(description, of=f"tool {self.name}", path="description")
            raw = to_raw(schema, of=f"tool {self.name}")
        except InvalidEvent as error:
            raise InvalidTool(str(error)) from error
        return ToolDefinition(self.name, description, raw)

    def validated(self, arguments: str) -> dict[str, Any]:
        """What the model's arguments (JSON text) stand for, by parameter name.

        Raises :class:`InvalidArguments`, and whatever a validator of the user's raises.
        """
        from pydantic import ValidationError  # noqa: PLC0415 - loaded with the schema

        text = arguments.strip() or "{}"
        try:
            values = self._arguments.model_validate_json(text)
        except ValidationError as error:
            raise InvalidArguments("; ".join(sentences(error))) from None
        json.loads(text, object_pairs_hook=_refuse_repetitions)
        chosen = {name: getattr(values, name) for name in type(values).model_fields}
        return {alias: chosen[name] for name, alias in self._aliases.items()}

    def invoke(self, arguments: str, context: ToolContext) -> R:
        """Validate the model's arguments and call the function. Raises as :meth:`validated`."""
        extra = dict.fromkeys(self._context_parameters, context)
        return cast("Callable[..., R]", self.function)(**self.validated(arguments), **extra)

    @cached_property
    def _hints(self) -> dict[str, Any]:
        try:
            return typing.get_type_hints(self._written, include_extras=True)
        except Exception as error:  # a hint may be any expression
            raise InvalidTool(f"tool {self.name}: a type hint does not resolve: {error}") from error

    @cached_property
    def _parameters(self) -> list[inspect.Parameter]:
        try:
            parameters = list(inspect.signature(self.function).parameters.values())
        except (TypeError, ValueError) as error:
            raise InvalidTool(f"tool {self.name} has no readable signature: {error}") from error
        if parameters and parameters[0].name in {"self", "cls"}:
            raise InvalidTool(
                f"tool {self.name} is a method without its object; leave the method undecorated, "
                "and make a tool of the bound one: tool(instance.method)"
            )
        given: Any = self.function
        bound: Mapping[str, Any] = given.keywords if isinstance(given, partial) else {}
        parameters = [p for p in parameters if p.name not in bound]
        for parameter in parameters:
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise InvalidTool(
                    f"tool {self.name}: parameter {parameter.name!r} cannot be passed by name, as "
                    "models do; write it without '/', '*' and '**'"
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
        from docstring_parser import ParseError  # noqa: PLC0415 - only to make a schema
        from docstring_parser.google import GoogleParser  # noqa: PLC0415

        function = _unbound(self.function)
        text = inspect.getdoc(self._written if self._written.__doc__ else function) or ""
        try:
            parsed = GoogleParser().parse(text)
        except ParseError:
            return text, {}
        words = [parsed.short_description, parsed.long_description]
        described = {p.arg_name: p.description for p in parsed.params if p.description}
        return "\n\n".join(part for part in words if part), described

    @cached_property
    def _arguments(self) -> type[BaseModel]:
        from pydantic import ConfigDict, Field, create_model  # noqa: PLC0415

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
        except Exception as error:  # pydantic refuses types in many ways
            raise self._unfit(error) from error

    def _unfit(self, error: Exception) -> InvalidTool:
        return InvalidTool(
            f"tool {self.name}: {first_line(error)}; parameters have types that JSON can hold, "
            "such as int, str, lists, and pydantic models"
        )


def _unbound(function: Callable[..., Any]) -> Callable[..., Any]:
    """What a partial was made of; every other function itself."""
    return _unbound(function.func) if isinstance(function, partial) else function


def _refuse_repetitions(pairs: list[tuple[str, object]]) -> None:
    """Refuse an object that says two things under one name: which of them was meant?"""
    seen: set[str] = set()
    for name, _ in pairs:
        if name in seen:
            raise InvalidArguments(f"{name}: given more than once")
        seen.add(name)


@cache
def _schema_generator() -> type[GenerateJsonSchema]:
    """Makes schemas without the defaults that JSON cannot hold: those are the function's own."""
    from pydantic.json_schema import GenerateJsonSchema  # noqa: PLC0415 - slow to import

    class Generator(GenerateJsonSchema):
        ignored_warning_kinds = {"non-serializable-default", "skipped-choice"}  # noqa: RUF012 - pydantic's

        def default_schema(self, schema: Any) -> dict[str, Any]:  # noqa: ANN401 - pydantic's
            described = super().default_schema(schema)
            try:
                to_raw(described.get("default"), of="default")
            except InvalidEvent:
                del described["default"]
            return described

    return Generator


@overload
def tool(function: Callable[P, R], /) -> Tool[P, R]: ...
@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    timeout: float | None = None,
    retry_safe: bool | None = None,
    idempotent: bool | None = None,
    requires_approval: ApprovalPolicy | None = None,
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...
def tool(
    function: Callable[P, R] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    timeout: float | None = None,
    retry_safe: bool | None = None,
    idempotent: bool | None = None,
    requires_approval: ApprovalPolicy | None = None,
) -> Tool[P, R] | Callable[[Callable[P, R]], Tool[P, R]]:
    """Make a function a tool, with or without arguments, which are those of :class:`Tool`.

    >>> @tool
    ... def add(a: int, b: int) -> int:
    ...     "Add two numbers."
    ...     return a + b
    >>> add(1, 2)
    3
    """

    def decorate(function: Callable[P, R]) -> Tool[P, R]:
        return Tool(
            function,
            name=name,
            description=description,
            timeout=timeout,
            retry_safe=retry_safe,
            idempotent=idempotent,
            requires_approval=requires_approval,
        )

    return decorate if function is None else decorate(function)


class Toolset:
    """The tools of an agent by name, in their order. Raises :class:`InvalidTool`."""

    def __init__(self, tools: Sequence[Tool[..., Any] | Callable[..., Any]] = ()) -> None:
        if not isinstance(tools, Iterable) or isinstance(tools, str | bytes | Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - user input
            raise InvalidTool(f"tools= takes a list of functions, not {reprlib.repr(tools)}")
        self._tools: dict[str, Tool[..., Any]] = {}
        for item in tools:
            made = cast("Tool[..., Any]", item) if isinstance(item, Tool) else Tool(item)
            if made.name in self._tools:
                raise InvalidTool(
                    f"two tools are called {made.name!r}; rename one: tool(name=...)(function)"
                )
            self._tools[made.name] = made
        self.definitions = tuple(made.definition for made in self._tools.values())

    def get(self, name: str) -> Tool[..., Any] | None:
        """The tool of this name."""
        return self._tools.get(name)

    @property
    def names(self) -> tuple[str, ...]:
        """The names, in order."""
        return tuple(self._tools)


def _is_context(hint: object) -> bool:
    """Whether a parameter is for the context, also as an optional or annotated one."""
    return hint is ToolContext or any(_is_context(inner) for inner in typing.get_args(hint))
