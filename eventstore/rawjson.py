"""Untyped JSON at the edge: checked once, then carried as immutable raw text.

msgspec writes NaN as ``null``, bytes as base64 and integer keys as strings. Each of these would
change a fact silently, so values are walked before they are encoded.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import Enum
from typing import Any, cast

import msgspec

from agent.eventstore.errors import InvalidEvent

EMPTY_OBJECT = msgspec.Raw(b"{}")

_SCALARS = (bool, int, float, str)
_encoder = msgspec.json.Encoder()

DEEPEST = 100
"""What is decoded near the end of the stack must be readable there, as where it was stored."""


def to_raw(value: object, *, of: str) -> msgspec.Raw:
    """Encode a JSON value; ``of`` names it in errors.

    Raises :class:`InvalidEvent` with the path of what JSON cannot hold.
    """
    try:
        _check_json(value, of=of, path="$")
    except RecursionError:
        raise InvalidEvent("nested too deep, or contains itself", event=of, path="$") from None
    return msgspec.Raw(_encoder.encode(value))


def from_raw(raw: msgspec.Raw) -> Any:  # noqa: ANN401 - JSON of any shape
    """Decode raw JSON into fresh Python values."""
    return msgspec.json.decode(raw)


def _check_json(value: object, *, of: str, path: str) -> None:
    match value:
        case None:
            pass
        case bool() | int() | float() | str():
            check_scalar(value, of=of, path=path)
        case dict():
            for key, item in cast("dict[Any, Any]", value).items():
                if not isinstance(key, str):
                    reason = f"key {key!r} is no string"
                    raise InvalidEvent(reason, event=of, path=path)
                check_text(key, of=of, path=path)
                _check_json(item, of=of, path=f"{path}.{key}")
        case list() | tuple():
            for index, item in enumerate(cast("list[Any]", value)):
                _check_json(item, of=of, path=f"{path}[{index}]")
        case _:
            raise InvalidEvent(f"JSON cannot hold a {type(value).__name__}", event=of, path=path)


def check_scalar(value: float | str, *, of: str, path: str) -> None:
    """Refuse text and numbers that JSON cannot hold, and subclasses that msgspec cannot write."""
    if type(value) not in _SCALARS and not isinstance(value, Enum):
        reason = f"JSON cannot hold a {type(value).__name__}; convert it first"
        raise InvalidEvent(reason, event=of, path=path)
    if isinstance(value, str):
        check_text(value, of=of, path=path)
    elif isinstance(value, float) and not math.isfinite(value):
        raise InvalidEvent(f"{value} is no JSON number", event=of, path=path)


def check_text(text: str, *, of: str, path: str) -> None:
    """Refuse lone surrogates: no UTF-8 writes them."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        reason = (
            f"lone surrogate at {error.start}, as in text decoded from bytes that are not UTF-8; "
            "replace it first"
        )
        raise InvalidEvent(reason, event=of, path=path) from None


def check_raw(raw: msgspec.Raw, *, of: str, path: str) -> None:
    """Refuse raw text that is not one JSON value, or nested so deep that reading it may fail."""
    try:
        level: list[object] = [msgspec.json.decode(raw)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidEvent(f"invalid raw JSON: {error}", event=of, path=path) from None
    for _ in range(DEEPEST):
        level = [item for value in level for item in _items(value)]
    if level:
        reason = f"nested deeper than {DEEPEST} levels"
        raise InvalidEvent(reason, event=of, path=path)


def _items(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return cast("dict[str, object]", value).values()
    return cast("list[object]", value) if isinstance(value, list) else ()
