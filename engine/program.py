"""What a session does for one call of its user: a turn, and whatever has to come before it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeVar, cast

from agent.engine.ask import Ask, Resume, stopped
from agent.engine.compaction import Summarize, compact_when_due, take_compaction
from agent.engine.effects import CatchUp, Load, RecallTurn, Save
from agent.engine.errors import IdempotencyMismatch, NothingUnfinished, NotSaved, TurnUnfinished
from agent.engine.logs import log
from agent.engine.turn import Steps, take_turn
from agent.engine.unfinished import check_resumable, keyed_turn, recalled, way_for
from agent.eventstore.errors import AgentError, ConflictError

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.engine.handle import Handle
    from agent.engine.stream import Response

T = TypeVar("T")
V = TypeVar("V")

_CATCH_UPS = 8
"""How often the start of a turn follows other writers before it gives up."""

_IN_THE_WAY = (TurnUnfinished, NothingUnfinished, IdempotencyMismatch)


Order = Ask[T] | Resume[T] | Summarize[T]
"""What a session can be asked to do: a turn, the rest of one, or a compaction."""


def program(handle: Handle, order: Order[T]) -> Steps[Response[T]]:
    """What is ordered, and before a turn a compaction if one is due."""
    if isinstance(order, Ask) and handle.setup.compact_at is not None:
        yield from _compact_when_due(handle, order)
    return (yield from _following(handle, lambda: _step(handle, order)))


def _compact_when_due(handle: Handle, ask: Ask[Any]) -> Steps[None]:
    """Compact a history that is too long. That it fails is no reason to fail the turn too."""

    def step() -> Steps[bool]:
        if keyed_turn(handle.journal.state.conversation, ask) is not None:
            return False
        return (yield from compact_when_due(handle.journal, handle.requests, ask, handle.setup))

    try:
        yield from _following(handle, step)
    except AgentError as error:
        key = handle.binding.key
        log("compaction.failed", level=logging.WARNING, session_id=key, error=str(error))


def _following(handle: Handle, step: Callable[[], Steps[V | None]]) -> Steps[V]:
    """A step that first follows a stream that others have moved on; None asks for another."""
    yield Load()
    tries = 0
    while True:
        tries += 1
        journal = handle.journal
        before = journal.committed
        try:
            outcome = yield from step()
        except GeneratorExit:
            raise
        except BaseException as error:
            journal.forget()
            late = isinstance(error, ConflictError) and tries <= _CATCH_UPS
            # What stands in the way may be gone since this handle last looked.
            unseen = isinstance(error, _IN_THE_WAY) and tries == 1
            if not (late or unseen) or journal.committed is not before:
                yield from _saved_after(error)
                raise
            yield CatchUp()
        else:
            if outcome is None:
                continue
            if journal.committed is not before:
                yield Save()
            return outcome


def _step(handle: Handle, ask: Order[T]) -> Steps[Response[T] | None]:
    """What has to be done next; None when that was to finish another turn."""
    if isinstance(ask, Resume):
        return (yield from _resume(handle, ask))
    if isinstance(ask, Summarize):
        done = yield from take_compaction(handle.journal, handle.requests, ask, handle.setup)
        return cast("Response[T]", done)
    keyed = keyed_turn(handle.journal.state.conversation, ask)
    if keyed is not None:
        turn = yield RecallTurn(keyed)
        return recalled(handle.binding.key, turn, keyed, ask)
    way = way_for(handle.journal, ask, handle.setup)
    if way == "resume first":
        first: Resume[None] = Resume(stream=False, model=ask.model, silent=True)
        yield from _resume(handle, first)
        return None
    if way == "show it":
        return (yield from _shown(handle))
    if way == "resume it":
        return (yield from _resume(handle, Resume(ask.stream, ask.model, ask.output)))
    return (yield from take_turn(handle.journal, handle.requests, ask, handle.setup))


def _shown(handle: Handle) -> Steps[Response[Any] | None]:
    """The response of a turn that waits for a person; None if others have moved it on since."""
    known = handle.journal.committed
    yield CatchUp()
    turn = known.conversation.turn
    if turn is None or handle.journal.committed.head != known.head:
        return None
    return stopped(turn, known.version)


def _resume(handle: Handle, ask: Resume[T]) -> Steps[Response[T]]:
    check_resumable(handle.journal, ask, handle.setup)
    return (yield from take_turn(handle.journal, handle.requests, ask, handle.setup))


def _saved_after(error: BaseException) -> Steps[None]:
    """Save what a turn that ended in an error has left; the error is what the caller gets."""
    try:
        yield Save()
    except NotSaved as unsaved:
        error.add_note(str(unsaved))
