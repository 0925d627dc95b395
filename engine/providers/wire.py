"""Decoded JSON of a shape that nobody guarantees."""

from __future__ import annotations

from typing import Any, cast

Object = dict[str, Any]


def as_object(value: object) -> Object:
    """The object, empty for anything else."""
    return cast("Object", value) if isinstance(value, dict) else {}


def as_objects(value: object) -> list[Object]:
    """The objects of a list, in its order, without what else is in it."""
    if not isinstance(value, list):
        return []
    return [cast("Object", item) for item in cast("list[Any]", value) if isinstance(item, dict)]


def as_string(value: object) -> str:
    """The text, "" for anything else."""
    return value if isinstance(value, str) else ""
