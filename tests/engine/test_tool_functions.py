"""Which functions may be tools, and what becomes of them."""

import asyncio
import functools
import math
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field

from agent import Agent, TextPart, Tool, tool
from agent.engine.errors import InvalidTool
from agent.engine.tool_run import ToolRun
from agent.engine.tools import InvalidArguments, Toolset
from agent.testing import Call, ScriptedModel
from tests.engine.programs import run_program
from tests.engine.tool_samples import CONTEXT, invoke, schema


def weather(city: str, unit: str = "C", days: int = 3) -> str:
    """Tell the weather.

    Args:
        city: Where.
        unit: Of the temperature.
        days: How many.
    """
    return f"{city} {unit} {days}"


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


def test_results_to_be_awaited():
    """A coroutine that a tool returns is run to its end, however deep it is wrapped."""

    async def later() -> str:
        return "later"

    async def wrapped() -> object:
        return later()

    def plain() -> object:
        return wrapped()

    for function in (later, wrapped, plain):
        run = ToolRun(Tool(function), "{}", CONTEXT)
        assert run.execute() == asyncio.run(run.execute_async()) == (TextPart("later"),)


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


class Silent:
    """Says nothing of its call."""

    def __call__(self) -> None:  # noqa: D102 - what is tested
        return None


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
    assert made.definition.description == "Count on."
    assert Tool(Silent()).definition.description == "Says nothing of its call."
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
    """A partial is called as its function; the model can't change what is bound, nor see it."""

    def remind(user: str, at: int, text: str = "Tea!") -> str:
        """Remind somebody.

        Args:
            user: Whom.
            at: The hour.
            text: What about.
        """
        return f"{user} {at} {text}"

    made = Tool(functools.partial(functools.partial(remind, "Ada"), text="Coffee!"))

    assert (made.name, made.definition.description) == ("remind", "Remind somebody.")
    assert (vars(made)["__name__"], made.__doc__) == ("remind", remind.__doc__)
    assert schema(made)["properties"] == {"at": {"description": "The hour.", "type": "integer"}}
    assert invoke(made, {"at": 5}) == made(5) == "Ada 5 Coffee!"
    with pytest.raises(InvalidArguments, match="text: Extra inputs are not permitted"):
        invoke(made, {"at": 5, "text": "Rum!"})


def test_partials_of_async_functions_and_objects():
    """What is inside of a partial decides whether it is async, and gives it its types."""

    async def wait(seconds: float) -> float:
        return seconds

    made = Tool(functools.partial(Counter(), 3))

    assert Tool(functools.partial(wait, 0.0)).is_async
    assert (made.name, made.is_async, invoke(made, {})) == ("Counter", False, 3)


def test_tools_of_tools():
    """A tool can be made anew under another name; the rest stays as it was unless it is given."""
    first = tool(description="Other words.", timeout=1.5)(weather)
    made = tool(name="forecast")(first)

    assert (made.name, made.timeout) == ("forecast", 1.5)
    assert made.definition.description == "Other words."
    assert made.definition.parameters == first.definition.parameters
    assert tool(timeout=2.0)(first).timeout == 2.0
    assert Toolset([weather, made]).names == ("weather", "forecast")


class Unspeakable:
    def __repr__(self) -> str:
        raise ValueError("no words")


MISSING = object()


def test_defaults_that_json_cannot_hold():
    """The model does not see such a default; without an argument the function has it as it is."""
    lock = threading.Lock()

    def act(lock: Any = lock, of: Any = MISSING, limit: float = math.inf, data: bytes = b"\xff"):
        return lock, of, limit, data

    assert [p for p in schema(act)["properties"].values() if "default" in p] == []
    assert "required" not in schema(act)
    assert invoke(act, {}) == (lock, MISSING, math.inf, b"\xff")


@pytest.mark.parametrize(
    "words", ["Args:\n  a: What.", "Args:\n", "Returns:", "Args:\n\na", "Raises:\n  :", ":", "\t"]
)
def test_docstrings_of_any_shape(words: str):
    """A docstring that is not in Google's style is no mistake of the tool."""

    def act(a: int) -> int:
        return a

    act.__doc__ = words

    assert schema(act)["properties"]["a"]["type"] == "integer"


def test_docstrings_that_python_removed():
    """Under `python -OO` a tool still works, and its description is the one given to it."""
    program = """
from agent import Tool
def act() -> str:
    'Removed.'
    return 'done'
model = ScriptedModel([Call("act"), "x"])
session = Agent(model, tools=[act]).session()
print([Tool(act).definition.description, Tool(act, description="Given.").definition.description])
print(session.run("go").messages[2].text)
"""
    ended = run_program(program, env={"PYTHONOPTIMIZE": "2"})

    assert tuple(ended) == (0, "['', 'Given.']\ndone", "")


def test_two_hundred_tools():
    """Many tools are declared in their order, and the last can be called."""

    def number(n: int) -> Tool[..., Any]:
        def act(a: int) -> int:
            return a + n

        return Tool(act, name=f"add_{n}")

    model = ScriptedModel([Call("add_199", {"a": 1}), "200."])
    session = Agent(model, "m", tools=[number(n) for n in range(200)]).session()

    assert session.run("Go").messages[2].text == "200"
    assert len(model.requests[0].prompt.tools) == 200


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


def several(number: int) -> Iterator[int]:
    """Yield."""
    yield number


async def several_later(number: int) -> AsyncIterator[int]:
    """Yield later."""
    yield number


def unreadable(place: str) -> None:
    """Have a hint that is no expression."""


unreadable.__annotations__["place"] = "1 +"


def unpatterned(text: Annotated[str, Field(pattern="(")]) -> str:
    """Have a constraint that is no pattern."""
    return text


def undescribed() -> None:
    """To be replaced: newer Pythons compile no docstring with a lone surrogate."""


undescribed.__doc__ = "\ud800"


class Order(BaseModel):
    """Data."""

    number: int


def unspeakable(of: Any = Unspeakable()) -> None:  # noqa: B008 - what is tested
    """Have a default that cannot be shown."""


@dataclass
class Point:
    x: int


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (3, "a tool is a function, not 3"),
        ("weather", "a tool is a function, not 'weather'"),
        ({"type": "function"}, "a tool is a function, not {'type': 'function'}"),
        (Order, "a tool is a function, not <class"),
        (Point, "a tool is a function, not <class"),
        (vars(Counter)["make"], "a tool is a function, not <classmethod("),
        (lambda: 1, "tool name '<lambda>' must be 1 to 64 letters"),
        (positional, "parameter 'a' cannot be passed by name, as models do; write it without '/'"),
        (variadic, "tool variadic: parameter 'numbers' cannot be passed by name"),
        (keywords, "tool keywords: parameter 'options' cannot be passed by name"),
        (len, "tool len: parameter 'obj' cannot be passed by name"),
        (Counter.add, "tool add is a method without its object; leave the method undecorated"),
        (Tool(Counter.add), "tool(instance.method)"),
        (several, "tool several yields its results one by one; return them as a list"),
        (functools.partial(several, 1), "tool several yields"),
        (several_later, "tool several_later yields its results one by one"),
        (functools.partial(weather, *"abcd"), "tool weather has no readable signature: "),
        (unresolved, "tool unresolved: a type hint does not resolve: name 'Nowhere'"),
        (unreadable, "tool unreadable: a type hint does not resolve: "),
        (unschematic, "tool unschematic: "),
        (unpatterned, "tool unpatterned: "),
        (unspeakable, "tool unspeakable: no words"),
        (alien, "parameters have types that JSON can hold, such as int, str, lists, and pydantic"),
        (undescribed, "tool undescribed: description: lone surrogate at 0"),
    ],
)
def test_invalid_tools(function: Any, words: str):
    """What cannot be a tool is refused when the agent is made, and the error says why."""
    with pytest.raises(InvalidTool) as raised:
        Toolset([function])

    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["", " ", "a b", "a" * 65, "a.b", "größe", "a\n", 3])
def test_invalid_names(name: Any):
    """A name that providers refuse is refused at once."""
    with pytest.raises(InvalidTool, match=r"must be 1 to 64 letters.* @tool\(name=...\)"):
        Tool(weather, name=name)


@pytest.mark.parametrize("description", [3, b"x"])
def test_descriptions_are_text(description: Any):
    """A description of another type is refused at once."""
    with pytest.raises(InvalidTool, match="tool weather: description must be text"):
        tool(description=description)(weather)


def test_two_tools_of_one_name():
    """Two tools of one name are a mistake."""
    with pytest.raises(InvalidTool, match=r"two tools are called 'weather'; .* tool\(name=...\)"):
        Toolset([weather, Tool(weather)])


def test_toolset_keeps_its_order():
    """Tools stand in the order in which they were given."""
    made = Toolset([weather, Counter.zero, Counter()])

    assert made.names == tuple(d.name for d in made.definitions) == ("weather", "zero", "Counter")
    assert made.get("zero") is not None
    assert made.get("nothing") is None
