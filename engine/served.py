"""Recorded tool results, served again to a model that asks for the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from agent.engine.errors import NoRecordedResult
from agent.eventstore.events import ModelResponded, ToolCalled, ToolResolved, ToolReturned

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from agent.eventstore.messages import ResultContent, ToolCallPart
    from agent.eventstore.record import Recorded
    from agent.projections.turn import Call

Serving = Literal["recorded", "ask", "live"]
"""What becomes of the calls of a rerun: the recorded results are all that there is; or a person is
asked about calls that have none; or every tool runs."""


class RecordedResult(msgspec.Struct, frozen=True):
    """What a tool answered to a call, at a version of the record."""

    version: int
    call: ToolCallPart
    content: tuple[ResultContent, ...]
    is_error: bool


def results_of(facts: Sequence[Recorded]) -> Iterator[RecordedResult]:
    """The results of calls that ran, or that somebody decided about, in their order."""
    calls: dict[str, ToolCallPart] = {}
    ran: set[str] = set()
    for fact in facts:
        match fact.event:
            case ModelResponded(message=message):
                calls |= {call.call_id: call for call in message.tool_calls}
            case ToolReturned(call_id=key, content=content, is_error=is_error) if key in ran:
                yield RecordedResult(fact.version, calls[key], content, is_error)
            case ToolResolved(call_id=key, how="result" | "failed", content=content) as event:
                yield RecordedResult(fact.version, calls[key], content, event.is_error)
            case ToolCalled(call_id=key):
                ran.add(key)
            case _:
                pass


class Served:
    """The results of one turn, each served once, while every call asks for what was recorded.

    The first call that does not is the last that is looked for: what other tools have done since
    would make what is recorded untrue.
    """

    def __init__(
        self, results: Sequence[RecordedResult], serving: Serving, known: Sequence[str]
    ) -> None:
        self._left = [] if serving == "live" else list(results)
        self._serving = serving
        self._known = known
        self.versions: dict[str, int] = {}

    def answered(self, call: Call) -> ToolResolved | None:
        """The recorded result of a call, None if its tool is to be dealt with as always.

        Raises :class:`NoRecordedResult` where nothing but the record may answer.
        """
        if self._serving == "live" or call.part.name not in self._known:
            return None
        found = next((one for one in self._left if same_call(one.call, call.part)), None)
        if found is None:
            self._left = []
            if self._serving == "recorded":
                raise NoRecordedResult(call.part.call_id, call.part.name, call.part.arguments)
            return None
        self._left.remove(found)
        self.versions[call.part.call_id] = found.version
        how: Literal["failed", "result"] = "failed" if found.is_error else "result"
        return ToolResolved(call_id=call.part.call_id, how=how, content=found.content)


def same_call(one: ToolCallPart, other: ToolCallPart) -> bool:
    """Whether two calls ask for the same: spaces and the order of names do not count."""
    return one.name == other.name and _meant(one.arguments) == _meant(other.arguments)


def _meant(arguments: str) -> object:
    try:
        return msgspec.json.encode(msgspec.json.decode(arguments or "{}"), order="sorted")
    except (msgspec.DecodeError, RecursionError):
        return arguments
