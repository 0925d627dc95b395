"""Erasing what was said: never unnamed to whoever shares it, nor under a turn that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agent.engine.unfinished import check_owner
from agent.eventstore import erasing
from agent.eventstore.errors import ConflictError, SharedEvents
from agent.projections import conversation
from agent.projections.conversation import Conversation
from agent.projections.fold import rebuild

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from agent.engine.sources import Sources
    from agent.eventstore.log import EventLog
    from agent.eventstore.record import Head

_TRIES = 3
"""How often a log that others write to meanwhile is looked at anew."""


class Erased(msgspec.Struct, frozen=True):
    """What was erased: ``versions`` of a session, and the ``forks`` that shared some of them.

    ``vacuumed`` says whether the file was written anew after it: as long as it was not, the texts
    can still be found in its raw bytes.
    """

    session: str
    versions: tuple[int, ...]
    forks: tuple[str, ...]
    vacuumed: bool = False


def erase(
    log: EventLog,
    key: str,
    versions: Collection[int] | None,
    *,
    reason: str,
    forks: bool,
    sources: Sources,
) -> Erased:
    """Erase what some events of a session say, or all. Raises :class:`SharedEvents`."""
    for attempt in range(1, _TRIES + 1):
        plan = erasing.plan(log, key, versions)
        if plan.forks and not forks:
            raise SharedEvents(key, tuple(plan.forks))
        heads = {key: plan.head} | {name: head for name, (head, _) in plan.forks.items()}
        _check_owners(log, heads, sources)
        try:
            erasing.erase(log, plan, reason, sources.prepare)
        except ConflictError:
            if attempt == _TRIES:
                raise
        else:
            return Erased(key, tuple(one.version for one in plan.erasures), tuple(plan.forks))
    raise AssertionError("the last attempt returns or raises")


def _check_owners(log: EventLog, heads: Mapping[str, Head], sources: Sources) -> None:
    """A turn that somebody runs would conflict with what is appended: it is not lost for this."""
    for key, head in heads.items():
        facts = log.read(key, until=head.version)
        turn = rebuild(conversation.evolve, facts, Conversation()).turn
        if turn is not None:
            check_owner(key, turn, sources.owner())
