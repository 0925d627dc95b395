"""Decoded JSON of a shape that nobody guarantees."""

from __future__ import annotations

import re
from typing import Any, cast

import msgspec

from agent.engine.errors import MalformedResponse

Object = dict[str, Any]

_LARGEST_COUNT = 2**53
_SHOWN = 80
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
"""An escape of a JSON string; group 1 is half a character on its own."""


def as_object(value: object) -> Object:
    """The object, empty for anything else."""
    return cast("Object", value) if isinstance(value, dict) else {}


def as_objects(value: object) -> list[Object]:
    """The objects of a list, in its order, without what else is in it."""
    if not isinstance(value, list):
        return []
    return [cast("Object", item) for item in cast("list[Any]", value) if isinstance(item, dict)]


def first_of(value: object) -> Object | None:
    """Of a list of alternatives the one with index 0: only that one was asked for."""
    for item in as_objects(value):
        if item.get("index") in (0, None):
            return item
    return None


def as_string(value: object) -> str:
    """The text, "" for anything else."""
    return value if isinstance(value, str) else ""


def as_count(value: object) -> int:
    """A number of tokens; 0 for what is none."""
    if isinstance(value, int | float) and 0 < value < _LARGEST_COUNT:
        return int(value)
    return 0


def malformed(provider: str, reason: str) -> MalformedResponse:
    """An answer that the protocol does not allow; another attempt may do better."""
    return MalformedResponse(
        f"malformed answer of {provider}: {reason}; try again, and check base_url and model "
        "if it stays so",
        provider=provider,
        retryable=True,
    )


def decoded(body: bytearray | str, provider: str) -> object:
    """The JSON value. Raises :class:`MalformedResponse`."""
    try:
        return _json(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        start = body[:_SHOWN]
        start = start if isinstance(start, str) else start.decode(errors="replace")
        reason = f"not JSON ({error}): {start!r}" if body else "it is empty"
        raise malformed(provider, reason) from error


def an_object(value: object, provider: str) -> Object:
    """The object. Raises :class:`MalformedResponse` for anything else."""
    if not isinstance(value, dict):
        raise malformed(provider, f"an object was expected, not a {type(value).__name__}")
    return cast("Object", value)


def _json(body: bytearray | str) -> object:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        # A server that cuts text between UTF-16 units sends halves of characters.
        raw = body.encode() if isinstance(body, str) else body
        mended = _ESCAPE.sub(lambda escape: rb"\ufffd" if escape[1] else escape[0], raw)
        if mended == raw:
            raise
        return msgspec.json.decode(mended)
