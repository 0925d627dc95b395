"""Recorded tool results, served again to a model that asks for the same."""

from __future__ import annotations

import json
from operator import itemgetter
from typing import TYPE_CHECKING, Literal

import msgspec

from agent.engine.errors import NoRecordedResult
from agent.eventstore.events import ModelResponded, ToolResolved, ToolReturned, ToolsDeclared

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from agent.eventstore.messages import ResultContent, ToolCallPart
    from agent.eventstore.record import Recorded
    from agent.projections.turn import Call

Serving = Literal["recorded", "ask", "live"]
"""What becomes of the calls of a rerun: the recorded results are all that there is; or a person is
asked about calls that have none; or every tool runs."""


class RecordedResult(msgspec.Struct, frozen=True):
    """What a call was answered, at a version of the record.

    ``offered`` says whether there was such a tool; if not, the model was told so.
    """

    version: int
    call: ToolCallPart
    content: tuple[ResultContent, ...]
    is_error: bool
    offered: bool


def results_of(facts: Sequence[Recorded], offered: Collection[str]) -> Iterator[RecordedResult]:
    """The results of the calls of a turn in their order; the tools ``offered`` when it began."""
    calls: dict[str, ToolCallPart] = {}
    for fact in facts:
        match fact.event:
            case ModelResponded(message=message):
                calls |= {call.call_id: call for call in message.tool_calls}
            case ToolsDeclared(tools=tools):
                offered = {tool.name for tool in tools}
            case ToolResolved(how="retry"):
                pass
            case (ToolReturned() | ToolResolved()) as event:
                call, content = calls[event.call_id], event.content
                known = call.name in offered
                yield RecordedResult(fact.version, call, content, event.is_error, known)
            case _:
                pass


class Served:
    """The results of one turn, each served once, while every call asks for what was recorded.

    The first call that does not is the last that is looked for: what other tools have done since
    would make what is recorded untrue. Results at the versions ``edited`` are served whatever
    becomes of other calls. ``known`` are the names of the tools that are offered now.
    """

    def __init__(
        self,
        results: Sequence[RecordedResult],
        serving: Serving,
        known: Collection[str],
        edited: Collection[int] = (),
    ) -> None:
        self._serving: Serving = serving
        self._known = known
        self._edited = edited
        self.results = tuple(one for one in results if self._counts(one))
        self._left = list(self.results)
        self.versions: dict[str, int] = {}

    def again(self) -> Served:
        """The same results, none of them served yet."""
        return Served(self.results, self._serving, self._known, self._edited)

    def _counts(self, one: RecordedResult) -> bool:
        """Whether a result may be looked for."""
        if one.version in self._edited:
            return True
        return self._serving != "live" and (one.offered or one.call.name not in self._known)

    def serves(self, one: RecordedResult) -> bool:
        """Whether a result is served as it is recorded: of a tool that there is not, none is."""
        return one.version in self._edited or one.call.name in self._known

    def answered(self, call: Call) -> ToolResolved | None:
        """The recorded result of a call, None if it is to be dealt with as always.

        Raises :class:`NoRecordedResult` where nothing but the record may answer.
        """
        part = call.part
        found = next((one for one in self._left if same_call(one.call, part)), None)
        if found is None:
            self._depart(part)
            return None
        self._left.remove(found)
        if not self.serves(found):
            return None
        self.versions[part.call_id] = found.version
        how: Literal["failed", "result"] = "failed" if found.is_error else "result"
        return ToolResolved(call_id=part.call_id, how=how, content=found.content)

    def _depart(self, part: ToolCallPart) -> None:
        """A call asks for what is not recorded. Raises :class:`NoRecordedResult`."""
        if self._serving == "recorded":
            raise NoRecordedResult(part.call_id, part.name, part.arguments)
        if part.name in self._known:
            self._left = [one for one in self._left if one.version in self._edited]


def same_call(one: ToolCallPart, other: ToolCallPart) -> bool:
    """Whether two calls ask for the same: spaces and the order of names do not count."""
    return one.name == other.name and meant(one.arguments) == meant(other.arguments)


def meant(arguments: str) -> str:
    """What arguments say, however they are written."""
    text = arguments.strip() or "{}"
    try:
        return json.dumps(json.loads(text, object_pairs_hook=_by_name))
    except (ValueError, RecursionError):
        return text


def _by_name(pairs: list[tuple[str, object]]) -> object:
    """An object in whatever order; what it says twice it still says twice."""
    return {"": sorted(pairs, key=itemgetter(0))}
