from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
from pydantic import Field

from agent import Tool, ToolContext
from agent.engine.tools import InvalidArguments
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
    [
        "schema",
        "json",
        "copy",
        "context",
        "model_config",
        "model_x",
        "validate",
        "dict",
        "self_",
        "type",
    ],
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
