"""A record written anew: as today's code would have it, had the world answered the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from agent.engine.configurations import Today
from agent.engine.effects import Append, CallFailed, ToolOutcome
from agent.engine.errors import CannotRewrite
from agent.engine.recorded import OUTSIDE
from agent.engine.replay import Diverged, Interrupted, Replaying
from agent.eventstore.errors import CorruptLog
from agent.eventstore.events import (
    ApprovalGranted,
    ApprovalRejected,
    ApprovalRequested,
    HistoryRewound,
    ModelResponded,
    SessionForked,
    ToolResolved,
    ToolReturned,
)
from agent.eventstore.messages import ToolCallPart

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from agent.engine.effects import Answered
    from agent.eventstore.events import Event
    from agent.eventstore.record import Recorded

replace = msgspec.structs.replace


def rewritten(
    facts: Sequence[Recorded], read_attachment: Callable[[str], bytes], today: Today
) -> list[Recorded]:
    """The events of a session as they would be recorded today, with the same answers and results.

    What is not different stays as it is, to the byte. Raises :class:`CannotRewrite` where today's
    code asks for more than was recorded, and what it raises itself.
    """
    for fact in facts:
        if fact.erased:
            raise CannotRewrite(fact.version, "asks for what was erased")
    rewriting = _Rewriting(facts, read_attachment, today)
    try:
        rewriting.run()
    except Diverged as diverged:
        error = diverged.__cause__ or diverged.found.cause
        raise CannotRewrite(rewriting.record.place + 1, f"goes another way ({error})") from diverged
    except CorruptLog as error:
        words = "asks other people, or in another order"
        raise CannotRewrite(rewriting.record.place + 1, words) from error
    return rewriting.written


class _Rewriting(Replaying):
    """A replay that does not compare, but goes on by what it finds next of what it needs."""

    written: list[Recorded]

    def __init__(self, *args: Any) -> None:  # noqa: ANN401 - those of a replay
        super().__init__(*args)
        self.written = []
        self._versions = {0: 0}
        self._used: set[int] = set()
        self._first = 0

    def run(self) -> None:
        """Go through all events."""
        record = self.record
        while (fact := record.peek()) is not None:
            begins = record.begins
            if begins is not None:
                self._first = record.place
                self._take(begins)
                self._skip()
                self._check_asked()
            elif self._left_here(fact) or fact.type == "tools.declared":
                self._adopt(1)
            else:
                record.place += 1
            self._versions[record.place] = self.journal.committed.version

    def _skip(self) -> None:
        """Go past what belongs to a turn that has been taken."""
        record = self.record
        declared = record.facts[self._first].type == "tools.declared"
        record.place = max(record.place, self._first + 1 + declared)
        while (fact := record.peek()) is not None and record.begins is None:
            open_still = self.journal.committed.conversation.turn is not None
            left = fact.type in OUTSIDE or (open_still and self._ended_outside(fact))
            if left and record.place not in self._used:
                break
            record.place += 1

    def _check_asked(self) -> None:
        """Refuse a turn that waits for a person where nobody was asked: what was the word?"""
        turn, record = self.journal.committed.conversation.turn, self.record
        if turn is None or turn.waits_for != "approval":
            return
        gone_through = (fact.event for fact in record.facts[: record.place])
        asked = {event.call_id for event in gone_through if isinstance(event, ApprovalRequested)}
        for call in turn.pending_calls:
            if record.names.get(call.part.call_id, call.part.call_id) not in asked:
                raise CannotRewrite(self._first + 1, "asks a person where nobody was asked")

    def _adopt(self, count: int) -> None:
        record = self.record
        for fact in record.facts[record.place : record.place + count]:
            self.journal.record(self._renamed(fact.event))
        record.place += count
        pending = self.journal.pending
        self._compare(Append(pending, self.journal.committed.head, self.journal.state))

    def _renamed(self, event: Event) -> Event:
        """An event with the versions and the names of calls that it has now."""
        match event:
            case HistoryRewound(to=to):
                return replace(event, to=self._versions[to])
            case SessionForked():
                return replace(event, at=self.journal.state.version)
            case ApprovalGranted() | ApprovalRejected() | ToolResolved():
                now = {then: name for name, then in self.record.names.items()}
                return replace(event, call_id=now.get(event.call_id, event.call_id))
            case _:
                return event

    # What the world said, wherever it is said in this stretch of the turn

    def _compare(self, append: Append) -> None:
        """Write what is appended, as far as a run of then went that ended in the middle of it."""
        facts, place = self.record.facts, self.journal.committed.version
        events, aligned = append.events, self.journal.aligned
        same = next((at for at, mine in enumerate(events) if not self._is(mine, place + at)), None)
        if same is not None and (same or aligned):
            fact = facts[place + same] if place + same < len(facts) else None
            if fact is None or self._left_here(fact):
                self._fold(events[:same])
                self.written += events[:same]
                self.record.place = max(self.record.place, place + same)
                raise Interrupted
        self.journal.settle(append)
        self.written += events

    def _is(self, mine: Recorded, place: int) -> bool:
        return place < len(self.record.facts) and mine is self.record.facts[place]

    def _coming(self) -> Recorded | None:
        """What the record has after the answer that was taken from it last."""
        return self.record.peek()

    def _answer(self) -> Answered | CallFailed:
        record, asked = self.record, False
        for fact in self._rest():
            asked = asked or fact.type == "model.requested"
            if fact.type in ("model.responded", "model.failed"):
                record.place = record.facts.index(fact, record.place)
                self._name_calls(fact.event)
                answer = record.answer()
                if answer is not None:
                    record.place += 1
                    return answer
                break
        if asked:
            raise Interrupted
        raise CannotRewrite(record.place + 1, "asks the model once more than was recorded")

    def _rest(self) -> Iterator[Recorded]:
        begun = self.record.begins is not None and self.record.place > self._first
        return iter(()) if begun else self.record.rest()

    def _name_calls(self, event: Event) -> None:
        version = self.journal.state.version + 1
        parts = event.message.parts if isinstance(event, ModelResponded) else ()
        for index, part in enumerate(parts):
            if isinstance(part, ToolCallPart):
                self.record.names[f"call_{version}_{index}"] = part.call_id

    def _results(self) -> list[ToolOutcome]:
        record = self.record
        running = {record.names.get(name, name): name for name in self._running}
        for place, fact in enumerate(self._rest(), record.place):
            event = fact.event
            if place in self._used or not isinstance(event, ToolReturned | ToolResolved):
                continue
            if isinstance(event, ToolReturned) and event.call_id in running:
                self._used.add(place)
                name = running[event.call_id]
                return [ToolOutcome(name, event.content, event.is_error, event.elapsed)]
        raise Interrupted
