"""What a session spent, counted once over a lineage: its own share, and its ancestors'."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agent.eventstore.events import ModelFailed, ModelRequested, ModelResponded, SessionForked
from agent.eventstore.values import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.eventstore.record import Recorded


class ModelUsage(msgspec.Struct, frozen=True, gc=False):
    """What one model call used.

    ``model`` is the one that answered, in the provider's words, else the one that was asked.
    """

    provider: str
    model: str
    usage: Usage


class SessionUsage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of every model response, whatever became of its turn.

    ``own`` counts from the last fork on, ``inherited`` what lies before it. Summing ``own`` over
    all sessions of a log counts nothing twice.
    """

    own: Usage = Usage()
    inherited: Usage = Usage()

    @property
    def total(self) -> Usage:
        """Both together: what this conversation cost since its root."""
        return self.own + self.inherited


TYPES = {"model.responded", "model.failed", "session.forked"}
"""The types of the events that change it."""

_CALL_TYPES = {"model.requested", "model.responded", "model.failed"}


class _Answer(msgspec.Struct, gc=False):
    """An answer, of which nothing is decoded but what it cost."""

    usage: Usage


_ANSWER = msgspec.json.Decoder(_Answer)


def evolve(state: SessionUsage, fact: Recorded) -> SessionUsage:
    """The usage after one more event."""
    if fact.type not in TYPES:
        return state
    match fact.event:
        case ModelResponded(usage=usage) | ModelFailed(usage=Usage() as usage):
            return SessionUsage(state.own + usage, state.inherited)
        case SessionForked():
            return SessionUsage(Usage(), state.total)
        case _:
            return state


def model_calls(facts: Iterable[Recorded]) -> Iterator[ModelUsage]:
    """What each model call used, in the order of their ends; one that did not say is left out."""
    asked: ModelRequested | None = None
    for fact in facts:
        if fact.type not in _CALL_TYPES:
            continue
        match fact.event:
            case ModelRequested() as event:
                asked = event
            case ModelResponded(usage=usage, model=model) if asked is not None:
                yield ModelUsage(asked.provider, model or asked.model, usage)
            case ModelFailed(usage=Usage() as usage) if asked is not None:
                yield ModelUsage(asked.provider, asked.model, usage)
            case _:
                pass


def counted(facts: Iterable[Recorded]) -> SessionUsage:
    """What folding events of a session gives. Their messages are not decoded."""
    state = SessionUsage()
    for fact in facts:
        if fact.type == "model.responded" and fact.schema == ModelResponded.schema:
            try:
                spent = _ANSWER.decode(fact.payload).usage
            except msgspec.MsgspecError:
                spent = None
            if spent is not None:
                state = SessionUsage(state.own + spent, state.inherited)
                continue
        state = evolve(state, fact)
    return state
