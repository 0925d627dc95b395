"""What `strict: true` asks of a JSON schema."""

from collections.abc import Iterator
from typing import Any

REFUSED = (
    "default",
    "oneOf",
    "allOf",
    "not",
    "if",
    "then",
    "else",
    "dependentRequired",
    "dependentSchemas",
    "minLength",
    "maxLength",
    "patternProperties",
    "propertyNames",
    "minProperties",
    "maxProperties",
    "unevaluatedProperties",
    "contains",
    "uniqueItems",
    "prefixItems",
)


def check_strict(schema: dict[str, Any]) -> str | None:
    """Return what is wrong with the schema, or None."""
    if schema.get("type") != "object" or "anyOf" in schema:
        return "schema must be a JSON Schema of 'type: \"object\"'."
    return next(_problems(schema, schema, ()), None)


def _problems(
    schema: dict[str, Any], root: dict[str, Any], context: tuple[str, ...]
) -> Iterator[str]:
    where = f"In context={context}, "
    for key in REFUSED:
        if key in schema:
            yield f"{where}'{key}' is not permitted."
    yield from (where + text for text in _own_problems(schema, root))
    for step, part in _parts(schema):
        if isinstance(part, dict):
            yield from _problems(part, root, (*context, *step))
        else:
            yield f"{where}{step} is not a schema."


def _own_problems(schema: dict[str, Any], root: dict[str, Any]) -> Iterator[str]:
    if "$ref" in schema:
        if len(schema) > 1:
            yield f"$ref cannot have keywords {sorted(schema.keys() - {'$ref'})}."
        if not _resolves(schema["$ref"], root):
            yield f"reference {schema['$ref']!r} is not defined."
    elif not schema.keys() & {"type", "anyOf", "enum", "const"}:
        yield "schema must have a 'type' key."
    if schema.get("type") == "array" and "items" not in schema:
        yield "array schema missing items."
    if schema.get("type") == "object":
        yield from _object_problems(schema)


def _resolves(reference: str, root: dict[str, Any]) -> bool:
    prefix, _, name = reference.rpartition("/")
    return reference == "#" or (prefix == "#/$defs" and name in root.get("$defs", {}))


def _object_problems(schema: dict[str, Any]) -> Iterator[str]:
    if schema.get("additionalProperties") is not False:
        yield "'additionalProperties' is required to be supplied and to be false."
    missing = sorted(schema.get("properties", {}).keys() - set(schema.get("required", [])))
    extra = sorted(set(schema.get("required", [])) - schema.get("properties", {}).keys())
    if missing:
        yield (
            "'required' is required to be supplied and to be an array including every key in "
            f"properties. Missing '{missing[0]}'."
        )
    if extra:
        yield f"'required' names '{extra[0]}', which is not in properties."


def _parts(schema: dict[str, Any]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for group in ("properties", "$defs"):
        for key, part in schema.get(group, {}).items():
            yield (group, key), part
    for index, part in enumerate(schema.get("anyOf", [])):
        yield ("anyOf", str(index)), part
    if "items" in schema:
        yield ("items",), schema["items"]
