"""Two JSON values held against each other: what differs, and where."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator


class Change(msgspec.Struct, frozen=True):
    """One place where two JSON values differ.

    ``pointer`` is a JSON Pointer (RFC 6901). ``before`` or ``after`` is ``msgspec.UNSET`` where
    there is nothing at that place. Places in a list are those in the list that has the item.
    """

    pointer: str
    before: Any = msgspec.UNSET
    after: Any = msgspec.UNSET

    def __str__(self) -> str:
        return f"{self.pointer or '(all)'}: {_shown(self.before)} -> {_shown(self.after)}"


def changes(before: object, after: object, pointer: str = "") -> Iterator[Change]:
    """Every smallest place where two decoded JSON values differ, in order.

    Items that lists have in common at their beginnings and ends are not looked at again.
    """
    match before, after:
        case dict(), dict():
            old: dict[str, object] = before  # pyright: ignore[reportUnknownVariableType]
            new: dict[str, object] = after  # pyright: ignore[reportUnknownVariableType]
            for key in [*old, *(key for key in new if key not in old)]:
                yield from _at(old.get(key, _NONE), new.get(key, _NONE), f"{pointer}/{_step(key)}")
        case list(), list():
            yield from _in_lists(before, after, pointer)  # pyright: ignore[reportUnknownArgumentType]
        case _ if type(before) is not type(after) or before != after:
            yield Change(pointer, before, after)
        case _:
            pass


_NONE = msgspec.UNSET


def _at(before: object, after: object, pointer: str) -> Iterator[Change]:
    if before is _NONE or after is _NONE:
        yield Change(pointer, before, after)
    else:
        yield from changes(before, after, pointer)


def _in_lists(before: list[object], after: list[object], pointer: str) -> Iterator[Change]:
    shorter = min(len(before), len(after))
    first = next((at for at in range(shorter) if not _same(before[at], after[at])), shorter)
    same_end = 0
    while same_end < shorter - first and _same(before[-1 - same_end], after[-1 - same_end]):
        same_end += 1
    old, new = before[first : len(before) - same_end], after[first : len(after) - same_end]
    for offset in range(max(len(old), len(new))):
        one = old[offset] if offset < len(old) else _NONE
        other = new[offset] if offset < len(new) else _NONE
        yield from _at(one, other, f"{pointer}/{first + offset}")


def _same(one: object, other: object) -> bool:
    """Whether values are the same JSON: to Python, 1 and true are equal too."""
    return one == other and next(changes(one, other), None) is None


def _step(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


_LONGEST = 200


def _shown(value: object) -> str:
    if value is _NONE:
        return "nothing"
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
