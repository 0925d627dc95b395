from __future__ import annotations

import datetime as dt
import decimal
import enum
import ipaddress
import uuid
from typing import Annotated, Any, Literal

import pytest
from pydantic import AnyUrl, BaseModel, ConfigDict, Field, TypeAdapter

from agent.engine.providers.strict_schema import ANTHROPIC, strict_schema
from tests.fakes.strict_schema import check_strict


class Colour(enum.Enum):
    """A choice."""

    RED = "red"
    BLUE = "blue"


class Cat(BaseModel):
    """One of two pets."""

    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    """The other."""

    kind: Literal["dog"]


class Rich(BaseModel):
    """Everything that pydantic can say and strict mode can take."""

    name: Annotated[str, Field(min_length=1, max_length=20, description="Full name")]
    code: Annotated[str, Field(pattern="^[a-z]+$")]
    age: Annotated[int, Field(ge=0, lt=150)] = 0
    price: decimal.Decimal
    home: AnyUrl
    address: ipaddress.IPv4Address
    id: uuid.UUID
    born: dt.datetime
    colour: Colour = Colour.RED
    mixed: Literal["a", 1, True] | None
    tags: set[str]
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    maybe: Cat | None = None
    pets: Annotated[list[Cat | Dog], Field(min_length=1, max_length=3)]


class Node(BaseModel):
    """A recursive model: its schema is a reference."""

    value: int
    children: list[Node] = []


class Loose(BaseModel):
    """An object with any further keys."""

    model_config = ConfigDict(extra="allow")


def of(**properties: Any) -> dict[str, Any]:
    """An object with these properties."""
    return {"type": "object", "properties": properties}


def inner(schema: dict[str, Any]) -> Any:
    """What strict mode makes of a property's schema; None if it takes none of it."""
    strict = strict_schema(of(a=schema))
    return strict and strict["properties"]["a"]


@pytest.mark.parametrize("model", [Rich, Node, Cat])
def test_models_are_asked_for_strictly(model: type[BaseModel]) -> None:
    """What pydantic writes becomes what the API takes."""
    strict = strict_schema(model.model_json_schema())
    assert strict is not None
    assert check_strict(strict) is None


def test_every_key_is_required() -> None:
    """Optional keys too: validation gives them their default."""
    assert strict_schema(Cat.model_json_schema()) == {
        "description": "One of two pets.",
        "type": "object",
        "properties": {
            "kind": {"const": "cat", "type": "string"},
            "lives": {"type": "integer"},
        },
        "additionalProperties": False,
        "required": ["kind", "lives"],
    }


def test_the_schema_itself_is_left_alone() -> None:
    """The caller's dictionary is not changed."""
    schema = Rich.model_json_schema()
    strict_schema(schema)
    assert schema == Rich.model_json_schema()


def test_a_recursive_model_begins_with_an_object() -> None:
    """The reference at its root is replaced by what it means."""
    strict = strict_schema(Node.model_json_schema())
    assert strict is not None
    assert strict["properties"]["children"] == {"type": "array", "items": {"$ref": "#/$defs/Node"}}
    assert strict["$defs"]["Node"]["required"] == ["value", "children"]


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        # Bounds that the API takes
        ({"type": "string", "pattern": "^a$"}, {"type": "string", "pattern": "^a$"}),
        ({"type": "string", "format": "uuid"}, {"type": "string", "format": "uuid"}),
        (
            {"type": "number", "minimum": 0, "exclusiveMaximum": 1, "multipleOf": 0.1},
            {"type": "number", "minimum": 0, "exclusiveMaximum": 1, "multipleOf": 0.1},
        ),
        # Bounds that it refuses are told
        (
            {"type": "string", "minLength": 1, "maxLength": 5, "description": "Name"},
            {"type": "string", "description": "Name (minLength: 1, maxLength: 5)"},
        ),
        (
            {"type": "string", "format": "uri"},
            {"type": "string", "description": "(format: uri)"},
        ),
        (
            {"type": "string", "pattern": "^(?!a)b"},
            {"type": "string", "description": "(pattern: ^(?!a)b)"},
        ),
        (
            {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
            {
                "type": "array",
                "items": {"type": "string"},
                "description": "(uniqueItems: True)",
            },
        ),
        # Remarks are left out
        (
            {"type": "string", "title": "T", "default": "", "examples": ["a"], "x-ours": 1},
            {"type": "string"},
        ),
        # Constants get the type of their values
        ({"const": 1}, {"type": "integer", "const": 1}),
        ({"enum": ["a", None]}, {"type": ["string", "null"], "enum": ["a", None]}),
        ({"enum": [True, 0.5]}, {"type": ["boolean", "number"], "enum": [True, 0.5]}),
        # Compositions
        (
            {"oneOf": [{"type": "string"}, {"type": "null"}], "discriminator": {}},
            {"anyOf": [{"type": "string"}, {"type": "null"}]},
        ),
        (
            {"allOf": [{"type": "string"}], "description": "d"},
            {"type": "string", "description": "d"},
        ),
        ({"allOf": [{"$ref": "#/$defs/X"}], "description": "d"}, {"$ref": "#/$defs/X"}),
        ({"$ref": "#/$defs/X", "description": "d"}, {"$ref": "#/$defs/X"}),
        # Objects inside are closed too
        (
            {"type": ["object", "null"], "properties": {"b": {"type": "string"}}},
            {
                "type": ["object", "null"],
                "properties": {"b": {"type": "string"}},
                "additionalProperties": False,
                "required": ["b"],
            },
        ),
        # What the subset cannot say
        ({}, None),
        (True, None),
        ({"type": "array"}, None),
        ({"type": "array", "items": {}}, None),
        ({"type": "array", "prefixItems": [{"type": "string"}]}, None),
        ({"type": "object"}, None),
        ({"type": "object", "additionalProperties": {"type": "string"}}, None),
        ({"type": "object", "properties": {}, "additionalProperties": True}, None),
        ({"type": "object", "properties": {}, "patternProperties": {}}, None),
        ({"not": {"type": "string"}}, None),
        ({"allOf": [{"type": "string"}, {"minLength": 2}]}, None),
        ({"allOf": [True]}, None),
        ({"anyOf": [{"type": "string"}], "oneOf": [{"type": "string"}]}, None),
        ({"enum": []}, None),
        ({"const": {"a": 1}}, None),
        ({"$ref": "https://example.com/schema"}, None),
    ],
)
def test_each_keyword(schema: Any, expected: Any) -> None:
    """A bound is kept or told, a remark left out, a shape kept or the whole given up."""
    assert inner(schema) == expected


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}},
        {"anyOf": [of(), of()]},
        {**of(), "anyOf": [of()]},
        {"$ref": "#/$defs/Missing"},
        {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}},
        Loose.model_json_schema(),
        TypeAdapter(dict[str, int]).json_schema(),
    ],
)
def test_the_root_is_a_closed_object(schema: dict[str, Any]) -> None:
    """Anything else can't be asked for strictly."""
    assert strict_schema(schema) is None


def test_a_provider_that_enforces_fewer_bounds() -> None:
    """What it does not take is told in the description."""
    schema = of(
        a={"type": "integer", "minimum": 1},
        b={"type": "array", "items": {"type": "string", "format": "uri"}, "minItems": 2},
        c={"type": "array", "items": {"type": "string", "pattern": "^a"}, "minItems": 1},
    )
    strict = strict_schema(schema, ANTHROPIC)
    assert strict is not None
    assert strict["properties"] == {
        "a": {"type": "integer", "description": "(minimum: 1)"},
        "b": {
            "type": "array",
            "items": {"type": "string", "format": "uri"},
            "description": "(minItems: 2)",
        },
        "c": {
            "type": "array",
            "items": {"type": "string", "description": "(pattern: ^a)"},
            "minItems": 1,
        },
    }


def test_a_provider_that_takes_no_recursion() -> None:
    """A schema that contains itself cannot be asked for; one that is only used twice can."""
    assert strict_schema(Node.model_json_schema(), ANTHROPIC) is None
    assert strict_schema(Rich.model_json_schema(), ANTHROPIC) is not None
