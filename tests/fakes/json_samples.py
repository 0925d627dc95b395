"""Smallest sensible values for a JSON schema."""

from typing import Any

FORMATS = {
    "date": "2024-02-29",
    "date-time": "2024-02-29T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "PT1H",
    "email": "alice@example.com",
    "uri": "https://example.com/",
    "uuid": "3f2b8c1e-5d4a-4b6f-9a7e-0c1d2e3f4a5b",
}
DEEP = 6


def sample(schema: dict[str, Any]) -> Any:
    """Return a value that fits the schema; the same one each time."""
    return _sample(schema, schema.get("$defs", {}), "value", 0)


def _sample(schema: dict[str, Any], defs: dict[str, Any], name: str, depth: int) -> Any:
    if "$ref" in schema:
        target = defs[schema["$ref"].rpartition("/")[2]]
        return _sample(target, defs, name, depth + 1)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    options = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
    if options:
        return _sample(_choose(options, depth), defs, name, depth)
    return _typed(schema, defs, name, depth)


def _choose(options: list[dict[str, Any]], depth: int) -> dict[str, Any]:
    nulls = [option for option in options if option.get("type") == "null"]
    values = [option for option in options if option.get("type") != "null"]
    return nulls[0] if nulls and (depth > DEEP or not values) else values[0]


def _typed(schema: dict[str, Any], defs: dict[str, Any], name: str, depth: int) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    match kind:
        case "object":
            return _object(schema, defs, depth)
        case "array":
            return _array(schema, defs, name, depth)
        case "string":
            return FORMATS.get(schema.get("format", ""), _string(schema, name))
        case "integer" | "number":
            return _number(schema)
        case "boolean":
            return True
        case _:
            return None


def _object(schema: dict[str, Any], defs: dict[str, Any], depth: int) -> dict[str, Any]:
    properties = schema.get("properties", {})
    keys = properties if depth <= DEEP else schema.get("required", [])
    return {key: _sample(properties[key], defs, key, depth + 1) for key in keys}


def _array(schema: dict[str, Any], defs: dict[str, Any], name: str, depth: int) -> list[Any]:
    if "prefixItems" in schema:
        return [_sample(item, defs, name, depth + 1) for item in schema["prefixItems"]]
    wanted = 1 if depth <= DEEP else 0
    length = min(max(wanted, schema.get("minItems", 0)), schema.get("maxItems", 99))
    return [_sample(schema.get("items", {}), defs, name, depth + 1) for _ in range(length)]


def _string(schema: dict[str, Any], name: str) -> str:
    text = f"some {name.replace('_', ' ')}".ljust(schema.get("minLength", 0), ".")
    return text[: schema.get("maxLength", len(text))]


def _number(schema: dict[str, Any]) -> int | float:
    if "exclusiveMinimum" in schema:
        return schema["exclusiveMinimum"] + 1
    return schema.get("minimum", min(1, schema.get("maximum", 1)))
