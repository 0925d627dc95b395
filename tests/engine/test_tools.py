import asyncio
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from agent import TextPart, Tool, ToolContext, tool
from agent.engine.errors import InvalidTool
from agent.engine.tools import InvalidArguments, ToolRun, Toolset
from tests.engine.tool_samples import CONTEXT, Place, Unit, invoke, schema


def weather(city: str, unit: Unit = Unit.C, days: int = 3) -> str:
    """Tell the weather.

    Looks it up far away.

    Args:
        city: Where, in
            English.
        unit: Of the temperature.
        days: How many.

    Returns:
        Some text.
    """
    return f"{city} {unit.value} {days}"


# What the model sees


def test_schema_from_signature_and_docstring():
    """Name, description, types, defaults and what each parameter is for come from the function."""
    definition = Tool(weather).definition

    assert (definition.name, definition.description) == (
        "weather",
        "Tell the weather.\n\nLooks it up far away.",
    )
    assert schema(weather) == {
        "$defs": {"Unit": {"enum": ["celsius", "fahrenheit"], "title": "Unit", "type": "string"}},
        "additionalProperties": False,
        "properties": {
            "city": {"description": "Where, in\nEnglish.", "type": "string"},
            "unit": {
                "$ref": "#/$defs/Unit",
                "default": "celsius",
                "description": "Of the temperature.",
            },
            "days": {"default": 3, "description": "How many.", "type": "integer"},
        },
        "required": ["city"],
        "type": "object",
    }


def test_no_parameters_and_no_docstring():
    """A bare function is a tool as well."""

    def now():
        return "now"

    assert Tool(now).definition.description == ""
    assert schema(now) == {"additionalProperties": False, "properties": {}, "type": "object"}


def test_parameters_without_hints():
    """A parameter without a type takes anything."""

    def echo(value, other=None):
        return value, other

    assert schema(echo)["properties"] == {"value": {}, "other": {"default": None}}
    assert invoke(echo, {"value": [1]}) == ([1], None)


def test_annotated_parameters():
    """Constraints and descriptions may stand in the annotation."""

    def wait(seconds: Annotated[int, Field(ge=1, le=9, description="How long.")]):
        return seconds

    assert schema(wait)["properties"]["seconds"] == {
        "description": "How long.",
        "maximum": 9,
        "minimum": 1,
        "type": "integer",
    }
    assert invoke(wait, {"seconds": 9}) == 9
    with pytest.raises(InvalidArguments):
        invoke(wait, {"seconds": 10})


@pytest.mark.parametrize(
    "name",
    ["schema", "json", "copy", "model_config", "model_x", "validate", "dict", "self_", "type"],
)
@pytest.mark.filterwarnings("error")
def test_names_that_pydantic_dislikes(name: str):
    """A parameter may have any name, also one that pydantic keeps for itself."""
    namespace: dict[str, Any] = {}
    exec(f"def f({name}: int = 1): return {name}", namespace)

    assert list(schema(namespace["f"])["properties"]) == [name]
    assert invoke(namespace["f"], {name: 2}) == 2
    assert invoke(namespace["f"], {}) == 1


def test_models_as_parameters():
    """Pydantic models, dataclasses, literals and lists of them are parameters like any."""

    @dataclass
    class Size:
        width: int

    def book(place: Place, sizes: list[Size], kind: Literal["a", "b"] = "a"):
        return place, sizes, kind

    assert invoke(book, {"place": {"city": "Paris"}, "sizes": [{"width": 2}]}) == (
        Place(city="Paris"),
        [Size(2)],
        "a",
    )
    assert schema(book)["properties"]["place"] == {"$ref": "#/$defs/Place"}


def test_context_is_hidden():
    """A parameter of type ToolContext is filled in, and the model never sees it."""

    def act(what: str, context: ToolContext) -> object:
        return what, context

    assert list(schema(act)["properties"]) == ["what"]
    assert invoke(act, {"what": "x"}) == ("x", CONTEXT)
    with pytest.raises(InvalidArguments, match="context"):
        invoke(act, {"what": "x", "context": {}})


def test_defaults_are_fresh():
    """A default that can be changed is a fresh one in every call."""

    def collect(item: str, items: list[str] = []):  # noqa: B006 - what is tested
        items.append(item)
        return items

    assert [invoke(collect, {"item": "a"}), invoke(collect, {"item": "b"})] == [["a"], ["b"]]


# What may be a tool


def test_decorated_function_stays_callable():
    """A decorated function is called as before, and keeps name and docstring."""

    @tool
    def double(number: int) -> int:
        """Double a number."""
        return 2 * number

    described = (double(4), vars(double)["__name__"], double.__doc__)
    assert described == (8, "double", "Double a number.")
    assert isinstance(double, Tool)


def test_decorator_with_arguments():
    """Name, description and timeout can be chosen."""

    @tool(name="x-2", description="Other words.", timeout=1.5)
    def double(number: int) -> int:
        """Double a number."""
        return 2 * number

    assert (double.definition.name, double.definition.description) == ("x-2", "Other words.")
    assert (double.timeout, double(4)) == (1.5, 8)


def test_async_functions():
    """An async function gives a coroutine, and runs to its end either way."""

    @tool
    async def double(number: int) -> int:
        """Double a number."""
        await asyncio.sleep(0)
        return 2 * number

    run = ToolRun(double, '{"number":4}', CONTEXT)
    assert double.is_async
    assert asyncio.run(double(4)) == 8
    assert run.execute() == asyncio.run(run.execute_async()) == (TextPart("8"),)


class Counter:
    """Counts."""

    def __init__(self) -> None:
        self.count = 0
        self.name = "not a tool's name!"
        self.timeout = "never"

    def add(self, number: int) -> int:
        """Add a number."""
        self.count += number
        return self.count

    @classmethod
    def make(cls, start: int) -> str:
        """Make one."""
        return f"{cls.__name__}({start})"

    @staticmethod
    def zero() -> int:
        """Be zero."""
        return 0

    def __call__(self, number: int = 1) -> int:
        """Count on."""
        return self.add(number)


class AsyncCounter:
    async def __call__(self, number: int) -> int:
        """Count on."""
        return number + 1


def test_methods():
    """Bound methods, class methods and static methods are tools without their first argument."""
    counter = Counter()

    assert list(schema(counter.add)["properties"]) == ["number"]
    assert invoke(counter.add, {"number": 2}) == counter.count == 2
    assert invoke(Counter.make, {"start": 1}) == "Counter(1)"
    assert invoke(Counter.zero, {}) == 0
    assert Tool(counter.add).definition.description == "Add a number."


def test_callable_objects():
    """An object that can be called is a tool under its class's name; its attributes are its own."""
    counter = Counter()
    made = Tool(counter)

    assert (made.name, made.timeout, made.is_async) == ("Counter", None, False)
    assert list(schema(counter)["properties"]) == ["number"]
    assert invoke(counter, {"number": 3}) == 3
    assert Tool(AsyncCounter()).is_async


def test_attributes_of_a_function_are_its_own():
    """What hangs on a function does not change the tool that is made of it."""

    def act() -> str:
        return "done"

    act.timeout = "never"  # pyright: ignore[reportFunctionMemberAccess]
    act.name = "other"  # pyright: ignore[reportFunctionMemberAccess]
    made = Tool(act)

    assert (made.name, made.timeout) == ("act", None)


def test_partials():
    """A partial function is a tool once it has a name; what is bound has a default."""
    made = Tool(functools.partial(weather, days=1), name="tomorrow")

    assert made.definition.name == "tomorrow"
    assert made.invoke('{"city":"Rome"}', CONTEXT) is not None


def positional(a: int, /) -> int:
    """Take a positional argument."""
    return a


def variadic(*numbers: int) -> int:
    """Take any number."""
    return sum(numbers)


def keywords(**options: int) -> int:
    """Take any name."""
    return len(options)


def unresolved(place: "Nowhere") -> None:  # noqa: F821 - what is tested  # pyright: ignore[reportUndefinedVariable]
    """Take what does not exist."""


def unschematic(of: Callable[[], int]) -> int:
    """Take what JSON cannot hold."""
    return of()


def alien(of: Counter) -> int:
    """Take what pydantic does not know."""
    return of.count


def undefined(number: float = math.nan) -> float:
    """Have a default that JSON cannot hold."""
    return number


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (3, "a tool is a function, not 3"),
        (lambda: 1, "tool name '<lambda>' must be 1 to 64 letters"),
        (positional, "tool positional: parameter 'a' cannot be passed by name"),
        (variadic, "tool variadic: parameter 'numbers' cannot be passed by name"),
        (keywords, "tool keywords: parameter 'options' cannot be passed by name"),
        (unresolved, "tool unresolved: a type hint does not resolve: name 'Nowhere'"),
        (unschematic, "tool unschematic: "),
        (alien, "tool alien: "),
        (undefined, "tool undefined: "),
    ],
)
def test_invalid_tools(function: Any, words: str):
    """What cannot be a tool is refused when the agent is made, and the error says why."""
    with pytest.raises(InvalidTool) as raised:
        Toolset([function])

    assert words in str(raised.value)


@pytest.mark.parametrize("name", ["", "a b", "a" * 65, "a.b", "größe", "a\n"])
def test_invalid_names(name: str):
    """A name that providers refuse is refused at once."""
    with pytest.raises(InvalidTool, match=r"must be 1 to 64 letters"):
        Tool(weather, name=name or " ")


def test_two_tools_of_one_name():
    """Two tools of one name are a mistake."""
    with pytest.raises(InvalidTool, match="two tools are called 'weather'"):
        Toolset([weather, Tool(weather)])


def test_toolset_keeps_its_order():
    """Tools stand in the order in which they were given."""
    made = Toolset([weather, Counter.zero, Counter()])

    assert made.names == tuple(d.name for d in made.definitions) == ("weather", "zero", "Counter")
    assert made.get("zero") is not None
    assert made.get("nothing") is None
