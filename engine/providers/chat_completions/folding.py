"""One message out of the deltas of a stream, field by field, nothing left out.

A whole answer goes the same way as one delta, so that both give the same message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from agent.engine.providers.wire import Object, as_objects, as_string

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_NOT_KEPT = ("role", "channel", "tool_calls")
"""What a delta says of itself, and what is collected apart."""

_TEXTS = ("reasoning_content", "reasoning", "refusal")
_GROWING = ("arguments", "data", "summary", "text", "thinking", "transcript")
"""Inside of an object these come in pieces; any other value is replaced by a later one."""


class Folded:
    """A message, growing delta by delta."""

    def __init__(self) -> None:
        self._pieces: dict[str, list[Any]] = {}

    def add(self, said: Object) -> None:
        """Take a delta; null and empty values say nothing."""
        for key, value in said.items():
            if key not in _NOT_KEPT and value not in (None, "", [], {}):
                self._pieces.setdefault(key, []).append(value)

    def message(self) -> Object:
        """The fields of the message but for its tool calls."""
        return {key: _joined(key, pieces) for key, pieces in self._pieces.items()}


def _joined(key: str, pieces: list[Any]) -> Any:
    if key in _TEXTS:
        return "".join(as_string(piece) for piece in pieces)
    if key == "content":
        return _content(pieces)
    if key == "reasoning_details":
        return _details(item for piece in pieces for item in as_objects(piece))
    first, *rest = pieces
    for piece in rest:
        first = merged(key, first, piece)
    return first


def merged(key: str, value: Any, piece: Any) -> Any:
    """A value with what a later delta says of it."""
    match value, piece:
        case dict(), dict():
            known, more = cast("Object", value), cast("Object", piece)
            return known | {k: merged(k, known.get(k), v) for k, v in more.items()}
        case list(), list():
            return [*cast("list[Any]", value), *cast("list[Any]", piece)]
        case str(), str() if key in _GROWING:
            return value + piece
        case _:
            return value if piece is None else piece


def _content(pieces: list[Any]) -> str | list[Object]:
    if all(isinstance(piece, str) for piece in pieces):
        return "".join(pieces)
    return list(_runs(item for piece in pieces for item in _items(piece)))


def _items(piece: object) -> list[Object]:
    return [{"type": "text", "text": piece}] if isinstance(piece, str) else as_objects(piece)


def _runs(items: Iterable[Object]) -> Iterator[Object]:
    """The items with neighbours of one kind joined: a stream cuts them anywhere."""
    last: Object | None = None
    for item in items:
        if last is not None and _continues(last, item):
            last = _longer(last, item)
            continue
        if last is not None:
            yield last
        last = item
    if last is not None:
        yield last


def _continues(last: Object, item: Object) -> bool:
    kind = item.get("type")
    if kind not in ("text", "thinking") or last.get("type") != kind or last.get("signature"):
        return False
    return type(last.get(kind)) is type(item.get(kind)) or kind not in item


def _longer(last: Object, item: Object) -> Object:
    longer = merged("", last, item)
    thinking = longer.get("thinking")
    if isinstance(thinking, list):
        longer["thinking"] = list(_runs(as_objects(cast("Any", thinking))))
    return longer


def _details(items: Iterable[Object]) -> list[Object]:
    """The entries of ``reasoning_details``; one that comes in pieces is known by its index."""
    entries: list[Object] = []
    places: dict[tuple[str, object], int] = {}
    for item in items:
        index = item.get("index")
        key = (as_string(item.get("type")), index if isinstance(index, int) else None)
        place = places.get(key)
        if place is not None and not _is_new(entries[place], item):
            entries[place] = merged("", entries[place], item)
        else:
            places[key] = len(entries)
            entries.append(item)
    return entries


def _is_new(entry: Object, item: Object) -> bool:
    """Encrypted data comes whole, and no entry changes its id."""
    if entry.get("data") and item.get("data"):
        return True
    ids = [one["id"] for one in (entry, item) if one.get("id")]
    return item.get("index") is None or ids[1:] not in ([], ids[:1])
