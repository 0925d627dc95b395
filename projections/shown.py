"""What a session shows at one version, from the events that this hangs on.

A history that was cleared, rewound or compacted needs no more of what came before than it shows of
it, so that the cost goes with what is shown. Of the other events only the types are looked at, and
the tokens of the answers.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from typing import TYPE_CHECKING

import msgspec

from agent.eventstore.chain import GENESIS
from agent.eventstore.core import IDENTITY_TYPES
from agent.eventstore.events import (
    EVENTS,
    HistoryCompacted,
    HistoryRewound,
    MetadataChanged,
    SessionForked,
    SessionStarted,
    SystemChanged,
    ToolsDeclared,
)
from agent.eventstore.log import Surveyed
from agent.projections import conversation, lineage, session, usage
from agent.projections.conversation import Conversation, Tools
from agent.projections.fold import rebuild
from agent.projections.lineage import Lineage
from agent.projections.session import SessionState
from agent.projections.snapshot import Snapshot
from agent.projections.view import Range, View

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from agent.eventstore.log import EventLog
    from agent.eventstore.messages import Message
    from agent.eventstore.record import Recorded

replace = msgspec.structs.replace

_RESETS = ("history.cleared", "history.rewound", "history.compacted")
_CONFIGURATION = ("system.changed", "tools.declared")
_TURNING = frozenset((*IDENTITY_TYPES, *_RESETS, *_CONFIGURATION))

_ANY_NUMBER = View((Range(0, 1 << 60, 0),))
"""Of a history of which only the end is wanted nobody knows how long it is."""


def shown_at(log: EventLog, stream: str, version: int) -> SessionState:
    """The session after its first ``version`` events, as far as it can be looked at.

    It is what folding all of them gives, but for what only decisions are made by: ``marks``,
    ``keyed``, ``undo_to`` and ``tokens`` of its conversation, and the places in its transcript.
    Damage is found in what is read alone. Raises :class:`CorruptLog` and :class:`UnknownEvent`.
    """
    if not _can_skip(log, stream, version):
        return rebuild(session.evolve, log.read(stream, until=version), SessionState())
    facts = list(log.read(stream, until=version, types=sorted(_TURNING | usage.TYPES)))
    past = _Past(log, stream, [fact for fact in facts if fact.type in _TURNING])
    head = next(log.read(stream, after=version - 1, until=version), None)
    return SessionState(
        head.hash if head else GENESIS,
        past.at(version),
        usage.counted(facts),
        rebuild(lineage.evolve, past.facts, Lineage()),
    )


def conversation_at(log: EventLog, stream: str, version: int) -> Conversation:
    """The same of the conversation alone, for whom it does not matter what it cost."""
    if not _can_skip(log, stream, version):
        return rebuild(conversation.evolve, log.read(stream, until=version), Conversation())
    facts = list(log.read(stream, until=version, types=sorted(_TURNING)))
    return _Past(log, stream, facts).at(version)


def _can_skip(log: EventLog, stream: str, version: int) -> bool:
    """Whether no event is missing, and none is of a kind that may change who knows what."""
    if not isinstance(log, Surveyed):
        return False
    types = log.survey(stream, until=version).types
    return sum(types.values()) == version and types.keys() <= EVENTS.keys()


class _Past:
    """A stream; ``facts`` are those that turn its history or its configuration."""

    def __init__(self, log: EventLog, stream: str, facts: Sequence[Recorded]) -> None:
        self._log = log
        self._stream = stream
        self.facts = facts
        self._configured = _configurations(facts)

    def at(self, version: int) -> Conversation:
        """The conversation at a version."""
        reset = self._reset(version)
        if reset is None:
            return rebuild(
                conversation.evolve, self._log.read(self._stream, until=version), Conversation()
            )
        configured = self._configured[self._known(reset.version) - 1]
        begun = replace(
            configured,
            transcript=Snapshot(self._shown(reset)),
            epoch=reset.version,
        )
        rest = self._log.read(self._stream, after=reset.version, until=version)
        return rebuild(conversation.evolve, rest, begun)

    def _reset(self, version: int) -> Recorded | None:
        """The last event up to a version that changed which messages are visible."""
        before = (self.facts[at] for at in range(self._known(version) - 1, -1, -1))
        return next((fact for fact in before if fact.type in _RESETS), None)

    def _known(self, version: int) -> int:
        """How many of these events there are up to a version."""
        return bisect_right(self.facts, version, key=lambda fact: fact.version)

    def _shown(self, reset: Recorded | None) -> list[Message]:
        """What is visible right after such an event.

        It is collected from its end, so that of what a compaction left only so much is read.
        """
        found: list[Message] = []
        summaries: list[Message] = []
        wanted = sys.maxsize
        while reset is not None and wanted > 0:
            match reset.event:
                case HistoryRewound(to=until):
                    through = until
                case HistoryCompacted(through=through):
                    until = reset.version - 1
                case _:
                    break
            before = self._reset(until)
            said = self._said(before.version if before else 0, until)
            if isinstance(reset.event, HistoryCompacted):
                later = sum(version > through for version, _ in said)
                if wanted > reset.event.kept + later:
                    summaries.append(reset.event.summary)
                    wanted = reset.event.kept + later
            taken = [message for _, message in said[max(len(said) - wanted, 0) :]]
            found += reversed(taken)
            wanted -= len(taken)
            reset = before
        return [*summaries, *reversed(found)]

    def _said(self, after: int, until: int) -> list[tuple[int, Message]]:
        """The messages that became a part of the history, with the versions at which they did."""
        state = Conversation(version=after, view=_ANY_NUMBER)
        found: list[tuple[int, Message]] = []
        for fact in self._log.read(self._stream, after=after, until=until):
            state = conversation.evolve(state, fact)
            found += ((fact.version, one) for one in state.transcript[len(found) :])
        return found


def _configurations(facts: Iterable[Recorded]) -> list[Conversation]:
    """What was configured after each of these events; a rewind brings an earlier one back."""
    state, found = Conversation(), list[Conversation]()
    for fact in facts:
        state = replace(state, version=fact.version)
        match fact.event:
            case SessionStarted(session_id=name, system=system, metadata=metadata):
                state = replace(state, session_id=name, system=system, metadata=metadata)
            case SessionForked(session_id=name):
                state = replace(state, session_id=name)
            case MetadataChanged(metadata=metadata):
                state = replace(state, metadata=metadata)
            case SystemChanged(system=system):
                state = replace(state, system=system)
            case ToolsDeclared(tools=tools, digest=digest):
                state = replace(state, tools=Tools(tools, digest))
            case HistoryRewound(to=to):
                then = found[bisect_right(found, to, key=lambda one: one.version) - 1]
                state = replace(state, system=then.system, tools=then.tools)
            case _:
                pass
        found.append(state)
    return found
