"""JSON Schemas in the subset that strict structured output takes.

What the subset refuses as a bound on a value (``minLength``, look-around in ``pattern``, ...) is
told to the model in the description instead, and validated when the answer comes. What it refuses
as a shape makes the schema impossible to ask for strictly.

Sources: https://platform.openai.com/docs/guides/structured-outputs#supported-schemas and
https://docs.anthropic.com/en/docs/build-with-claude/structured-outputs#json-schema-limitations
"""

from __future__ import annotations

import re
from typing import Any, cast

import msgspec

_SHAPES = {"type", "properties", "$defs", "items", "anyOf", "enum", "const", "description"}
_BOUNDS = {
    *("minLength", "maxLength", "uniqueItems", "pattern", "format", "multipleOf", "minimum"),
    *("maximum", "exclusiveMinimum", "exclusiveMaximum", "minItems", "maxItems"),
}
_REFUSED = {
    *("allOf", "not", "if", "then", "else", "prefixItems", "patternProperties", "propertyNames"),
    *("contains", "dependentRequired", "dependentSchemas", "unevaluatedProperties"),
    *("unevaluatedItems", "minProperties", "maxProperties", "definitions", "$dynamicRef"),
}
_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}
)
_LOOK_AROUND = re.compile(r"\(\?(?:=|!|<=|<!)")
_DEFINITIONS = "#/$defs/"
Schema = dict[str, Any]


class Subset(msgspec.Struct, frozen=True):
    """What a provider enforces.

    ``bounds`` are the keywords that it takes, ``formats`` the formats, ``most_items`` the largest
    ``minItems`` (None for any), ``recursive`` whether a schema may contain itself.
    """

    bounds: frozenset[str]
    formats: frozenset[str]
    most_items: int | None = None
    recursive: bool = True

    def takes(self, key: str, value: Any) -> bool:
        """Whether the bound is enforced."""
        match key:
            case "pattern":
                return key in self.bounds and _LOOK_AROUND.search(value) is None
            case "format":
                return value in self.formats
            case "minItems" if self.most_items is not None:
                return value <= self.most_items
            case _:
                return key in self.bounds


OPENAI = Subset(
    frozenset(_BOUNDS - {"minLength", "maxLength", "uniqueItems"}),
    _FORMATS,
)
ANTHROPIC = Subset(frozenset({"minItems"}), _FORMATS | {"uri"}, most_items=1, recursive=False)


class _NotStrict(Exception):
    """The schema says what the subset cannot."""


def strict_schema(schema: Schema, subset: Subset = OPENAI) -> Schema | None:
    """The schema with every object closed and every key required; None if it can't be.

    Optional keys keep their default on our side: the model gives every key, validation decides.
    """
    try:
        root = _strict(_without_root_reference(schema), subset)
    except _NotStrict:
        return None
    if not subset.recursive and _is_recursive(root):
        return None
    return root if root.get("type") == "object" and "anyOf" not in root else None


def _is_recursive(root: Schema) -> bool:
    """Whether a definition leads back to itself."""
    uses = {name: _references(inner) for name, inner in root.get("$defs", {}).items()}
    for name, used_by_it in uses.items():
        reached: set[str] = set()
        waiting = [*used_by_it]
        while waiting:
            used = waiting.pop()
            if used == name:
                return True
            if used not in reached:
                reached.add(used)
                waiting += uses.get(used, ())
    return False


def _references(schema: Any) -> set[str]:
    match schema:
        case {"$ref": str(reference)}:
            return {reference.removeprefix(_DEFINITIONS)}
        case dict():
            return _references(list(cast("Schema", schema).values()))
        case list():
            return {name for one in cast("list[Any]", schema) for name in _references(one)}
        case _:
            return set()


def _without_root_reference(schema: Schema) -> Schema:
    """A recursive model is a reference at the root, where an object has to be."""
    if "$ref" not in schema:
        return schema
    definitions = schema.get("$defs", {})
    definition = _object(definitions.get(_referenced(schema["$ref"])))
    if "$ref" in definition:
        raise _NotStrict
    return {**definition, "$defs": definitions}


def _referenced(reference: str) -> str:
    if not reference.startswith(_DEFINITIONS):
        raise _NotStrict
    return reference.removeprefix(_DEFINITIONS)


def _object(schema: Any) -> Schema:
    if not isinstance(schema, dict):
        raise _NotStrict
    return cast("Schema", schema)


def _strict(given: Any, subset: Subset) -> Schema:
    schema = _simpler(_object(given))
    if schema.keys() & _REFUSED:
        raise _NotStrict
    if "$ref" in schema:
        _referenced(schema["$ref"])
        return {"$ref": schema["$ref"]}
    told = {
        key: value
        for key, value in schema.items()
        if key in _BOUNDS and not subset.takes(key, value) and value is not False
    }
    kept = {
        key: _value(key, value, subset)
        for key, value in schema.items()
        if key in _SHAPES or (key in _BOUNDS and subset.takes(key, value))
    }
    if told:
        words = ", ".join(f"{key}: {value}" for key, value in told.items())
        kept["description"] = f"{kept.get('description', '')} ({words})".lstrip()
    return _closed(schema, _typed(kept))


def _simpler(schema: Schema) -> Schema:
    """``allOf`` of one schema is that schema; ``oneOf`` becomes ``anyOf``, which asks for less."""
    schema = schema.copy()
    while len(schema.get("allOf", ())) == 1:
        (only,) = schema.pop("allOf")
        schema = {**_object(only), **schema}
    if "oneOf" in schema:
        if "anyOf" in schema:
            raise _NotStrict
        schema["anyOf"] = schema.pop("oneOf")
    return schema


def _typed(kept: Schema) -> Schema:
    """Every schema needs a type; that of a constant is known by its values."""
    if kept.keys() & {"type", "anyOf"}:
        return kept
    values = [kept["const"]] if "const" in kept else kept.get("enum", [])
    types = list(dict.fromkeys(_type(value) for value in values))
    if not types:
        raise _NotStrict
    return {"type": types[0] if len(types) == 1 else types, **kept}


def _type(value: object) -> str:
    match value:
        case None:
            return "null"
        case str():
            return "string"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case _:
            raise _NotStrict


def _closed(schema: Schema, kept: Schema) -> Schema:
    types = kept.get("type", ())
    if "array" in types:
        if "items" not in kept:
            raise _NotStrict
    elif "object" in types:
        if "properties" not in kept or schema.get("additionalProperties") not in (None, False):
            raise _NotStrict
        kept["additionalProperties"] = False
        kept["required"] = list(kept["properties"])
    return kept


def _value(key: str, value: Any, subset: Subset) -> Any:
    match key:
        case "properties" | "$defs":
            return {name: _strict(inner, subset) for name, inner in cast("Schema", value).items()}
        case "items":
            return _strict(value, subset)
        case "anyOf":
            return [_strict(inner, subset) for inner in cast("list[Any]", value)]
        case _:
            return value
