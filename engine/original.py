"""The turn that a rerun takes again: which one, from where on, and what is said otherwise in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.engine.edits import Edit, edited
from agent.engine.errors import ConfigurationError
from agent.engine.unfinished import same_shape
from agent.eventstore.events import Event, ModelRequested, ModelResponded, TurnStarted
from agent.projections import session as projection
from agent.projections.fold import rebuild
from agent.projections.pairing import Pairing
from agent.projections.session import SessionState

if TYPE_CHECKING:
    from agent.engine.rerun import Wish
    from agent.eventstore.record import Recorded
    from agent.projections.conversation import Conversation


class Original(NamedTuple):
    """The turn that is taken again.

    ``facts`` are the events of its session, ``turn`` its own, ``expected`` these with what is
    edited, which ``recorded`` begins. It began at version ``started``; it is taken again from the
    first ``at`` events on.
    """

    facts: Sequence[Recorded]
    turn: Sequence[Recorded]
    expected: Sequence[Recorded]
    started: int
    recorded: TurnStarted
    at: int

    @property
    def entered(self) -> bool:
        """Whether it is taken up where it stood, not from its start."""
        return self.at >= self.started

    @property
    def asked(self) -> ModelRequested | None:
        """Its first request."""
        events = (fact.event for fact in self.turn)
        return next((event for event in events if isinstance(event, ModelRequested)), None)

    def conversation(self, version: int) -> Conversation:
        """The conversation at a version."""
        return _conversation(self.facts[:version])


def _conversation(facts: Sequence[Recorded]) -> Conversation:
    return rebuild(projection.evolve, facts, SessionState()).conversation


def original_turn(facts: Sequence[Recorded], wish: Wish) -> Original:
    """The turn that was under way at a version, or that came next.

    Raises :class:`ConfigurationError` if there is none, and for edits that cannot be.
    """
    at = _at(facts, wish)
    state = _conversation(facts[:at])
    under_way = state.turn if state.turn and not state.compacting else None
    starts = (f.version for f in facts[at:] if _starts(f))
    started = under_way.started if under_way else next(starts, 0)
    if not started:
        last = next((fact.version for fact in reversed(facts) if _starts(fact)), None)
        found = f"the last began at version {last}" if last else "none was ever taken"
        raise ConfigurationError(f"after version {at} there is no turn to take again: {found}")
    begun = _begun(facts[started - 1])
    inside = [version for version in wish.edit if started < version <= at]
    at = min([at, *(version - 1 for version in inside)])
    if not under_way or _begins_otherwise(begun, wish) or any(v <= started for v in wish.edit):
        at = undeclared(facts, started - 1)
    turn = _turn_of(facts, started)
    _check_edits(facts, turn, wish.edit)
    expected = _expected(facts, turn, wish.edit)
    return Original(facts, turn, expected, started, _begun(expected[0]), at)


def _at(facts: Sequence[Recorded], wish: Wish) -> int:
    if wish.at is not None:
        return wish.at
    last = next((fact.version for fact in reversed(facts) if _starts(fact)), len(facts) + 1)
    first = min(wish.edit) if wish.edit else last
    return max(min(first, len(facts)) - 1, 1)


def undeclared(facts: Sequence[Recorded], at: int) -> int:
    """A version where a turn can begin: which tools there are is declared with its start."""
    return at - 1 if facts[at - 1].type == "tools.declared" else at


def _begins_otherwise(begun: TurnStarted, wish: Wish) -> bool:
    """Whether something is wished that is said at the start of a turn."""
    shape = wish.output and wish.output.schema
    return bool(wish.options) or not (shape is None or same_shape(begun.output, shape))


def _begun(fact: Recorded) -> TurnStarted:
    match fact.event:
        case TurnStarted() as started:
            return started
        case _:
            raise AssertionError("a turn begins with its start")


def _starts(fact: Recorded) -> bool:
    """Whether a turn of the user begins."""
    return isinstance(fact.event, TurnStarted) and fact.event.kind == "user"


def _turn_of(facts: Sequence[Recorded], started: int) -> Sequence[Recorded]:
    """The events of a turn, to what ended it last, without what others came in between."""
    turn = [facts[started - 1]]
    state = rebuild(projection.evolve, facts[:started], SessionState())
    for fact in facts[started:]:
        before, state = state.conversation, projection.evolve(state, fact)
        both = (before.turn, state.conversation.turn)
        if any(turn is not None and turn.started == started for turn in both):
            turn.append(fact)
        if state.conversation.unfinished is None:
            break
    return turn


# What is said otherwise


def _expected(
    facts: Sequence[Recorded], turn: Sequence[Recorded], edit: Edit
) -> Sequence[Recorded]:
    """The events of the turn with what is edited."""
    versions = {fact.version for fact in turn}
    whole = facts[turn[0].version - 1 : turn[-1].version]
    inside = {version: content for version, content in edit.items() if version in versions}
    return [fact for fact in edited(whole, inside) if fact.version in versions]


def _check_edits(facts: Sequence[Recorded], turn: Sequence[Recorded], edit: Edit) -> None:
    """Refuse edits of what the turn gives anew or never saw."""
    first, last = turn[0].version, turn[-1].version
    for version in edit:
        if not 1 <= version <= last:
            raise ConfigurationError(
                f"edit= names version {version}; the turn that is taken again ends at {last}"
            )
        if facts[version - 1].type in ("session.started", "system.changed"):
            raise ConfigurationError("give another system prompt with system=, not with edit=")
        if version > first and isinstance(facts[version - 1].event, ModelResponded):
            raise ConfigurationError(
                f"version {version} is an answer of the turn that is taken again: the model gives "
                "it anew; rerun the next turn to put words in its mouth"
            )


def told_otherwise(original: Original, edit: Mapping[int, Any]) -> Conversation:
    """The conversation before the turn, with some of its words replaced.

    Raises :class:`ConfigurationError` for an edit of what is not in it, or that it cannot hold.
    """
    facts = original.facts[: original.at]
    was, changed = _conversation(facts), edited(facts, edit)
    for version in edit:
        _check_calls(version, facts[version - 1].event, changed[version - 1].event)
    now = _conversation(changed)
    for version, content in edit.items():
        alone = edited(facts, {version: content})
        same = alone[version - 1].event == facts[version - 1].event
        if not same and _conversation(alone).messages == was.messages:
            raise ConfigurationError(
                f"version {version} is not in the history that the turn begins with: it was "
                "cleared, taken back, summarized, or never became a part of it"
            )
    pairing = Pairing()
    for message in now.messages if edit else ():
        pairing.see(message)
    pairing.end()
    return now


def _check_calls(version: int, then: Event, now: Event) -> None:
    """The results of an answer's calls follow it: it has to make the same."""
    if not (isinstance(then, ModelResponded) and isinstance(now, ModelResponded)):
        return
    calls, wanted = ([call.call_id for call in one.message.tool_calls] for one in (then, now))
    if calls != wanted:
        raise ConfigurationError(
            f"version {version} is an answer whose tool calls have the ids "
            f"{', '.join(calls) or '(none)'}, and their results follow it: give a message with the "
            "same calls"
        )
