"""JSON Schemas in the subset that strict structured output takes.

Source: https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
"""

from __future__ import annotations

from typing import Any, cast

_DROPPED = ("default", "title", "examples")
_REFUSED = ("oneOf", "allOf", "not", "if", "prefixItems", "patternProperties", "uniqueItems")

Schema = dict[str, Any]


class _NotStrict(Exception):  # noqa: N818 - control flow of this module
    """The schema says what the subset cannot."""


def strict_schema(schema: Schema) -> Schema | None:
    """The schema with every object closed and every key required; None if it can't be.

    Optional keys keep their default on our side: the model gives every key, validation decides.
    """
    try:
        return _strict(schema)
    except _NotStrict:
        return None


def _strict(schema: Schema) -> Schema:
    if any(key in schema for key in _REFUSED):
        raise _NotStrict
    if "$ref" in schema:
        return {"$ref": schema["$ref"]}
    kept = {key: _value(key, value) for key, value in schema.items() if key not in _DROPPED}
    if not kept.keys() & {"type", "anyOf", "enum", "const", "$defs"}:
        raise _NotStrict
    if schema.get("type") == "object":
        if "properties" not in schema or schema.get("additionalProperties") not in (None, False):
            raise _NotStrict
        kept["additionalProperties"] = False
        kept["required"] = list(schema["properties"])
    return kept


def _value(key: str, value: Any) -> Any:
    match key:
        case "properties" | "$defs":
            return {name: _strict(inner) for name, inner in cast("Schema", value).items()}
        case "items":
            return _strict(value)
        case "anyOf":
            return [_strict(inner) for inner in cast("list[Schema]", value)]
        case _:
            return value
