"""A list that only grows, seen at one length: how states share what they have in common."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar, overload

T_co = TypeVar("T_co", covariant=True)


class Snapshot(Sequence[T_co], Generic[T_co]):
    """An immutable sequence whose :meth:`extend` costs what it adds, not what is there.

    Snapshots of one list share it. The longest one that owns the list grows it in place; every
    other copies first. A state that is handed to another writer must be :meth:`branch`-ed.
    """

    __slots__ = ("_items", "_length", "_owned")

    def __init__(
        self, items: list[T_co] | None = None, length: int | None = None, *, owned: bool = True
    ) -> None:
        self._items: list[T_co] = [] if items is None else items
        self._length = len(self._items) if length is None else length
        self._owned = owned

    def extend(self, items: Sequence[T_co]) -> Snapshot[T_co]:
        """This sequence with more at its end."""
        mine = self._items
        if not (self._owned and len(mine) == self._length):
            mine = mine[: self._length]
        mine.extend(items)
        return Snapshot(mine)

    def append(self, item: T_co) -> Snapshot[T_co]:  # pyright: ignore[reportGeneralTypeIssues] - returns a new one
        """This sequence with one more at its end."""
        return self.extend((item,))

    def branch(self) -> Snapshot[T_co]:
        """The same sequence for another writer, who will copy before growing it."""
        return Snapshot(self._items, self._length, owned=False)

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> T_co: ...
    @overload
    def __getitem__(self, index: slice) -> list[T_co]: ...
    def __getitem__(self, index: int | slice) -> T_co | list[T_co]:
        if isinstance(index, slice):
            start, stop, step = index.indices(self._length)
            if step < 0:
                return self._items[: self._length][index]
            return self._items[start:stop:step]
        if not -self._length <= index < self._length:
            raise IndexError(index)
        return self._items[index % self._length]

    def __iter__(self) -> Iterator[T_co]:
        return iter(self._items[: self._length])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Snapshot) and list(self) == list(other)  # pyright: ignore[reportUnknownArgumentType]

    __hash__ = None  # pyright: ignore[reportAssignmentType] - as a list

    def __repr__(self) -> str:
        return f"Snapshot({list(self)!r})"
