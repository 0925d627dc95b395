"""Tool calls that arrive in fragments.

The protocol numbers the calls of an answer and names each in its first fragment. Servers leave out
the index, the id or both, give every call the index 0, or repeat id and name in each fragment.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from agent.engine.providers.chat_completions.folding import merged
from agent.engine.providers.wire import Object, as_object, as_string
from agent.eventstore.messages import ToolCallPart

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from agent.engine.providers.origin import Origin

_SAID = ("index", "id", "type", "function")


class _Call:
    """A tool call, growing fragment by fragment."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []
        self.more: Object = {}

    def add(self, fragment: _Fragment) -> None:
        self.id = self.id or fragment.id
        self.name = self.name or fragment.name
        self.more = merged("", self.more, fragment.more)
        if fragment.arguments:
            self.arguments.append(fragment.arguments)

    @property
    def whole(self) -> bool:
        """Whether the arguments are complete: nothing can follow a whole JSON value."""
        try:
            msgspec.json.decode("".join(self.arguments), type=msgspec.Raw)
        except msgspec.DecodeError:
            return False
        return True

    def part(self, origin: Origin, kept: Collection[str]) -> ToolCallPart:
        """The call; with its raw item if there is more to it, and its id if that is in ``kept``."""
        arguments = "".join(self.arguments)
        if not (self.more or self.id in kept):
            return ToolCallPart(self.id, self.name, arguments)
        named = {"id": self.id} if self.id in kept else {}
        function = {"name": self.name, "arguments": arguments, **self.more.get("function", {})}
        item = {**named, "type": "function", **self.more, "function": function}
        return ToolCallPart(self.id, self.name, arguments, opaque=origin.opaque(item))


class _Fragment(msgspec.Struct, frozen=True):
    index: int | None
    id: str
    name: str
    arguments: str
    more: Object

    def continues(self, call: _Call) -> bool:
        """Whether this belongs to a call that has its index, or stands last."""
        if self.id and call.id:
            return self.id == call.id
        if self.id or not self.name or not call.name:
            return True
        return self.name == call.name and not (self.arguments and call.whole)


class CollectedCalls:
    """The calls of an answer, in the order of their indexes."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}
        self._by_id: dict[str, list[_Call]] = {}

    def __len__(self) -> int:
        """How many calls have begun."""
        return len(self._calls)

    def add(self, fragments: Sequence[Object]) -> None:
        """Take the fragments of one delta, or the calls of a whole answer."""
        taken: set[_Call] = set()
        for item in fragments:
            fragment = _fragment(item)
            call = self._known(fragment, taken) or self._begin(fragment)
            if fragment.id and not call.id:
                self._by_id.setdefault(fragment.id, []).append(call)
            call.add(fragment)
            taken.add(call)

    def _begin(self, fragment: _Fragment) -> _Call:
        call = _Call(len(self._calls) if fragment.index is None else fragment.index)
        self._calls.append(call)
        self._by_index[call.index] = call
        return call

    def _known(self, fragment: _Fragment, taken: set[_Call]) -> _Call | None:
        """The call that a fragment belongs to; without indexes, one delta has one of each call."""
        last = self._calls[-1] if self._calls and self._calls[-1] not in taken else None
        if fragment.index is not None:
            found = self._by_index.get(fragment.index)
        elif fragment.id:
            same = [call for call in self._by_id.get(fragment.id, ()) if call not in taken]
            found = same[-1] if same else None if last is None or last.id else last
        else:
            found = last
        return found if found is not None and fragment.continues(found) else None

    def parts(self, origin: Origin, kept: Collection[str] = ()) -> list[ToolCallPart]:
        """The calls, without those of which nothing came.

        Those whose ids are in ``kept`` go back under them.
        """
        ordered = sorted(self._calls, key=lambda call: call.index)
        calls = [call for call in ordered if call.id or call.name or call.arguments]
        ids = Counter(call.id for call in calls)
        unique = {call_id for call_id in kept if ids[call_id] == 1}
        return [call.part(origin, unique) for call in calls]


def _fragment(item: Object) -> _Fragment:
    function = as_object(item.get("function"))
    index, arguments = item.get("index"), function.get("arguments")
    if isinstance(arguments, dict | list):
        arguments = msgspec.json.encode(arguments).decode()
    return _Fragment(
        index if isinstance(index, int) else None,
        as_string(item.get("id")),
        as_string(function.get("name")),
        as_string(arguments),
        more_of(item),
    )


def more_of(item: Object) -> Object:
    """What a call says besides what every call says, such as a signature."""
    function = _without(as_object(item.get("function")), ("name", "arguments"))
    return _without(item, _SAID) | ({"function": function} if function else {})


def _without(item: Object, names: Collection[str]) -> Object:
    return {key: value for key, value in item.items() if key not in names and value is not None}
