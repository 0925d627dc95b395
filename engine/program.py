"""What a session does for one call of its user: a turn, and whatever has to come before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from agent.engine.ask import Ask, Resume
from agent.engine.effects import CatchUp, Load, RecallTurn, Save
from agent.engine.errors import IdempotencyMismatch, NothingUnfinished, NotSaved, TurnUnfinished
from agent.engine.turn import Steps, take_turn
from agent.engine.unfinished import check_resumable, keyed_turn, recalled, way_for
from agent.eventstore.errors import ConflictError

if TYPE_CHECKING:
    from agent.engine.handle import Handle
    from agent.engine.stream import Response

T = TypeVar("T")

_CATCH_UPS = 8
"""How often the start of a turn follows other writers before it gives up."""

_IN_THE_WAY = (TurnUnfinished, NothingUnfinished, IdempotencyMismatch)


def program(handle: Handle, ask: Ask[T] | Resume[T]) -> Steps[Response[T]]:
    """A turn that first follows a stream that others have moved on."""
    yield Load()
    tries = 0
    while True:
        tries += 1
        journal = handle.journal
        before = journal.committed
        try:
            response = yield from _step(handle, ask)
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
            if response is None:
                continue
            yield Save()
            return response


def _step(handle: Handle, ask: Ask[T] | Resume[T]) -> Steps[Response[T] | None]:
    """What has to be done next; None when that was to finish another turn."""
    if isinstance(ask, Resume):
        return (yield from _resume(handle, ask))
    keyed = keyed_turn(handle.journal.state.conversation, ask)
    if keyed is not None:
        turn = yield RecallTurn(keyed)
        return recalled(handle.binding.key, turn, keyed, ask)
    way = way_for(handle.journal, ask, handle.setup)
    if way == "resume first":
        first: Resume[None] = Resume(stream=False, model=ask.model, silent=True)
        yield from _resume(handle, first)
        return None
    if way == "resume it":
        return (yield from _resume(handle, Resume(ask.stream, ask.model, ask.output)))
    return (yield from take_turn(handle.journal, handle.requests, ask, handle.setup))


def _resume(handle: Handle, ask: Resume[T]) -> Steps[Response[T]]:
    check_resumable(handle.journal, ask, handle.setup)
    return (yield from take_turn(handle.journal, handle.requests, ask, handle.setup))


def _saved_after(error: BaseException) -> Steps[None]:
    """Save what a turn that ended in an error has left; the error is what the caller gets."""
    try:
        yield Save()
    except NotSaved as unsaved:
        error.add_note(str(unsaved))
