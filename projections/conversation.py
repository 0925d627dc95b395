"""The conversation: what a session shows and what the model is told, at one version.

The fold keeps one append-only transcript; the view is ranges over it. ``epoch`` is the version of
the last event that changed what came before (system prompt, clear, rewind, compaction): within one
epoch the visible messages only grow at their end, so whatever was derived from them stays valid.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Any, NoReturn, assert_never, cast, get_args

import msgspec

from agent.eventstore.errors import CorruptLog
from agent.eventstore.events import (
    Event,
    HistoryCleared,
    HistoryCompacted,
    HistoryRewound,
    MessageAdded,
    MetadataChanged,
    PayloadErased,
    SessionDeleted,
    SessionForked,
    SessionStarted,
    SystemChanged,
    ToolsDeclared,
    TurnAbandoned,
    TurnCompleted,
    TurnFailed,
    TurnResumed,
    TurnStarted,
)
from agent.eventstore.messages import Message
from agent.eventstore.rawjson import EMPTY_OBJECT, from_raw
from agent.eventstore.record import Recorded
from agent.eventstore.values import ToolDefinition
from agent.projections.snapshot import Snapshot
from agent.projections.turn import (
    ModelEvent,
    ToolEvent,
    Turn,
    begin,
    ended,
    evolve_model,
    evolve_tool,
    forked,
    resumed,
)
from agent.projections.view import View

replace = msgspec.structs.replace

SessionEvent = (
    SessionStarted
    | SessionForked
    | SessionDeleted
    | SystemChanged
    | ToolsDeclared
    | MetadataChanged
    | PayloadErased
)
HistoryEvent = MessageAdded | HistoryCleared | HistoryRewound | HistoryCompacted
TurnEvent = TurnStarted | TurnResumed | TurnCompleted | TurnFailed | TurnAbandoned


class Tools(msgspec.Struct, frozen=True, gc=False):
    """The tools offered to the model, and the digest of the set."""

    definitions: tuple[ToolDefinition, ...] = ()
    digest: str = ""


class Mark(msgspec.Struct, frozen=True, gc=False):
    """What a settled version showed: enough to go back to it.

    Histories that have the same ``hash`` here are the same up to here.
    """

    version: int
    hash: bytes
    length: int
    view: View
    system: str | None
    tools: Tools
    undo_to: int


class Keyed(msgspec.Struct, frozen=True, gc=False):
    """A turn with an idempotency key: the versions of its start and of its completion."""

    key: str
    started: int
    completed: int


class Conversation(msgspec.Struct, frozen=True, gc=False):
    """A conversation at ``version``; 0 is the one before any event.

    ``turn`` is the open turn, None when settled; ``ended`` is the last turn of the user when it
    failed or was abandoned, until the next turn or change of the history: a compaction that comes
    to nothing is neither. ``keyed`` are the
    completed turns that have an idempotency key. ``undo_to`` is the version right before the last
    turn of the history, 0 without one. ``tokens`` is how long the history was with its last answer,
    as the provider counted; 0 while that is not known.
    """

    version: int = 0
    session_id: str = ""
    system: str | None = None
    tools: Tools = Tools()
    metadata: msgspec.Raw = EMPTY_OBJECT
    transcript: Snapshot[Message] = msgspec.field(default_factory=Snapshot[Message])
    view: View = View()
    epoch: int = 0
    marks: Snapshot[Mark] = msgspec.field(default_factory=Snapshot[Mark])
    turn: Turn | None = None
    ended: Turn | None = None
    keyed: Snapshot[Keyed] = msgspec.field(default_factory=Snapshot[Keyed])
    undo_to: int = 0
    tokens: int = 0

    @property
    def unfinished(self) -> Turn | None:
        """The turn that can be taken up: the open one, or the last when it did not complete.

        A compaction is none: it is done as a whole or not at all.
        """
        return self.ended if self.compacting else self.turn or self.ended

    @property
    def compacting(self) -> bool:
        """Whether a compaction is under way, or was when its process died."""
        return self.turn is not None and self.turn.input.kind == "compaction"

    @property
    def messages(self) -> list[Message]:
        """The visible history. An open turn is no part of it."""
        return self.view.messages(self.transcript)

    @property
    def length(self) -> int:
        """How many messages are visible."""
        return self.view.count(len(self.transcript))

    @property
    def settled(self) -> int:
        """The last version at which no turn was open."""
        return self.marks[-1].version if self.marks else 0

    def mark_at(self, version: int) -> Mark | None:
        """What a settled version showed; None if the version is not settled."""
        index = bisect_left(self.marks, version, key=lambda mark: mark.version)
        found = self.marks[index] if index < len(self.marks) else None
        return found if found and found.version == version else None

    def settled_near(self, version: int) -> tuple[int, ...]:
        """The settled versions right before and right after one that is not."""
        index = bisect_left(self.marks, version, key=lambda mark: mark.version)
        return tuple(mark.version for mark in self.marks[max(index - 1, 0) : index + 1])

    def branch(self) -> Conversation:
        """The same conversation for another writer."""
        return replace(
            self,
            transcript=self.transcript.branch(),
            marks=self.marks.branch(),
            keyed=self.keyed.branch(),
        )


def evolve(state: Conversation, fact: Recorded) -> Conversation:
    """The conversation after one more event. Raises :class:`CorruptLog` for an impossible one."""
    if fact.version != state.version + 1:
        _corrupt(fact, f"it follows version {state.version}")
    event = fact.event
    return FOLDS[type(event)](state, event, fact)


def metadata_of(event: SessionStarted | MetadataChanged, fact: Recorded) -> dict[str, object]:
    """The metadata that an event sets. Raises :class:`CorruptLog` if it is no JSON object."""
    try:
        metadata: object = from_raw(event.metadata)
    except (msgspec.DecodeError, RecursionError) as error:
        _corrupt(fact, f"metadata does not decode: {error}")
    if not isinstance(metadata, dict):
        _corrupt(fact, "metadata is no object")
    return cast("dict[str, object]", metadata)


def _marked(state: Conversation, fact: Recorded) -> Conversation:
    """The state after an event, which shows what one can come back to unless a turn is open."""
    version, length = fact.version, len(state.transcript)
    if state.turn is not None:
        return replace(state, version=version)
    mark = Mark(version, fact.hash, length, state.view, state.system, state.tools, state.undo_to)
    return replace(state, version=version, marks=state.marks.append(mark))


def _evolve_model(state: Conversation, event: ModelEvent, fact: Recorded) -> Conversation:
    turn = evolve_model(_open_turn(state, fact), event, fact)
    return replace(state, version=fact.version, turn=turn)


def _evolve_tool(state: Conversation, event: ToolEvent, fact: Recorded) -> Conversation:
    turn = evolve_tool(_open_turn(state, fact), event, fact)
    return replace(state, version=fact.version, turn=turn)


def _evolve_session(state: Conversation, event: SessionEvent, fact: Recorded) -> Conversation:
    match event:
        case SessionStarted():
            _ = metadata_of(event, fact)
            return replace(
                state,
                session_id=event.session_id,
                system=event.system,
                metadata=event.metadata,
            )
        case SessionForked():
            return replace(
                state,
                session_id=event.session_id,
                turn=state.turn and forked(state.turn),
                ended=state.ended and forked(state.ended),
            )
        case SystemChanged():
            return replace(state, system=event.system, epoch=fact.version)
        case ToolsDeclared():
            return replace(state, tools=Tools(event.tools, event.digest))
        case MetadataChanged():
            _ = metadata_of(event, fact)
            return replace(state, metadata=event.metadata)
        case SessionDeleted() | PayloadErased():
            return state
        case _:
            assert_never(event)


def _evolve_history(state: Conversation, event: HistoryEvent, fact: Recorded) -> Conversation:
    if state.turn is not None:
        _corrupt(fact, f"the turn of version {state.turn.started} is open")
    state = replace(state, ended=None)
    length = len(state.transcript)
    match event:
        case MessageAdded():
            return replace(state, transcript=state.transcript.append(event.message))
        case HistoryCleared():
            view = state.view.cleared(length)
            return replace(state, view=view, epoch=fact.version, undo_to=0, tokens=0)
        case HistoryRewound():
            mark = _mark(state, event.to, fact)
            return replace(
                state,
                view=mark.view.ended(mark.length, length),
                system=mark.system,
                tools=mark.tools,
                epoch=fact.version,
                undo_to=mark.undo_to,
                tokens=0,
            )
        case HistoryCompacted():
            mark = _mark(state, event.through, fact)
            if mark.view != state.view:
                _corrupt(fact, f"the view has changed since version {event.through}")
            if not 0 <= event.kept <= mark.view.count(mark.length):
                _corrupt(fact, f"version {event.through} shows fewer than {event.kept} messages")
            return replace(
                state,
                transcript=state.transcript.append(event.summary),
                view=state.view.summarized(mark.length, length, event.kept),
                epoch=fact.version,
                tokens=0,
            )
        case _:
            assert_never(event)


def _evolve_turn(state: Conversation, event: TurnEvent, fact: Recorded) -> Conversation:
    match event:
        case TurnStarted():
            if state.turn is not None:
                _corrupt(fact, f"the turn of version {state.turn.started} is open")
            _check_excerpt(state, event, fact)
            left = state.ended if event.kind == "compaction" else None
            return replace(state, turn=begin(event, fact), ended=left)
        case TurnCompleted():
            return _completed(state, _open_turn(state, fact), fact)
        case TurnResumed(owner=owner):
            turn = state.unfinished
            if turn is None or state.compacting:
                _corrupt(fact, "there is no turn to resume")
            return replace(state, turn=resumed(turn, owner, fact), ended=None)
        case TurnFailed() | TurnAbandoned():
            turn = _open_turn(state, fact)
            left = state.ended if state.compacting else ended(turn, event)
            return replace(state, turn=None, ended=left)
        case _:
            assert_never(event)


def _completed(state: Conversation, turn: Turn, fact: Recorded) -> Conversation:
    if turn.pending_calls or turn.waiting:
        _corrupt(fact, "the turn still waits for an answer")
    if turn.input.kind == "compaction":
        return replace(state, turn=None)
    key, keyed = turn.input.idempotency_key, state.keyed
    if key is not None:
        keyed = keyed.append(Keyed(key, turn.started, fact.version))
    return replace(
        state,
        turn=None,
        transcript=state.transcript.extend(turn.kept),
        keyed=keyed,
        undo_to=turn.started - 1,
        tokens=turn.tokens,
    )


def _check_excerpt(state: Conversation, event: TurnStarted, fact: Recorded) -> None:
    if event.excerpt is not None:
        start, end, length = event.excerpt.start, event.excerpt.end, state.length
        if not 0 <= start <= (length if end is None else end) <= length:
            _corrupt(fact, f"there is no such excerpt of {length} messages")


def _open_turn(state: Conversation, fact: Recorded) -> Turn:
    if state.turn is None:
        _corrupt(fact, "no turn is open")
    return state.turn


def _mark(state: Conversation, version: int, fact: Recorded) -> Mark:
    mark = state.mark_at(version)
    if mark is None:
        _corrupt(fact, f"version {version} is not settled")
    return mark


def _corrupt(fact: Recorded, reason: str) -> NoReturn:
    raise CorruptLog(f"{fact.type}: {reason}", stream=fact.stream, version=fact.version)


_Fold = Callable[[Conversation, Any, Recorded], Conversation]


def _and_marked(fold: _Fold) -> _Fold:
    return lambda state, event, fact: _marked(fold(state, event, fact), fact)


FOLDS: dict[type[Event], _Fold] = {
    kind: fold
    for family, fold in (
        (SessionEvent, _and_marked(_evolve_session)),
        (HistoryEvent, _and_marked(_evolve_history)),
        (TurnEvent, _and_marked(_evolve_turn)),
        (ModelEvent, _evolve_model),
        (ToolEvent, _evolve_tool),
    )
    for kind in get_args(family)
}
"""What each kind of event does; a ``match`` over all of them would try one after another."""
