"""Rerun: a recorded turn, taken once more, live and in a fork, with something changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import msgspec

from agent.engine.ask import Ask, Resume, Setup
from agent.engine.edits import Edit, edited
from agent.engine.errors import ConfigurationError
from agent.engine.output import Output, OutputRejection
from agent.engine.recorded import RecordedTool
from agent.engine.served import RecordedResult, Served, Serving, results_of
from agent.engine.settings import SettingsOptions, TurnOptions, settings_of
from agent.engine.tools import Tool, Toolset
from agent.eventstore.events import (
    HistoryCleared,
    MessageAdded,
    ModelRequested,
    SystemChanged,
    ToolResolved,
    TurnStarted,
)
from agent.eventstore.rawjson import from_raw
from agent.projections import session as projection
from agent.projections.fold import rebuild
from agent.projections.session import SessionState

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from agent.engine.divergence import Divergence
    from agent.engine.plan import Plan
    from agent.engine.session import Session
    from agent.engine.stream import Response
    from agent.eventstore.errors import AgentError
    from agent.eventstore.events import Event
    from agent.eventstore.record import Recorded
    from agent.eventstore.values import OutputSchema
    from agent.projections.conversation import Conversation

replace = msgspec.structs.replace

ENDS = ("turn.completed", "turn.failed", "turn.abandoned")


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be different this time. What is None or not set is as it was."""

    at: int | None = None
    model: str | None = None
    system: str | msgspec.UnsetType | None = msgspec.UNSET
    tools: Toolset | None = None
    edit: Edit = {}
    tool_results: Serving = "recorded"
    options: SettingsOptions = {}
    output: Output[Any] | None = None


class RerunOptions(SettingsOptions, total=False):
    """What is to be different in a rerun, as keyword arguments; and any setting.

    ``model`` and ``system`` are others to ask, and to ask with. ``tools`` are those that are
    offered; without it the agent's, or as recorded where it has none. ``edit`` is other content by
    version: of a prompt, a message, an answer before the turn, or a tool's result. ``schema`` is
    the type of a ``json`` turn, whose value is plain without it. ``session_id`` is the fork's.

    ``tool_results``: with ``"recorded"`` no tool runs, and a call that has no recorded result ends
    the turn with :class:`NoRecordedResult`; with ``"ask"`` such a call waits for
    ``approve`` and ``resume`` of the rerun's session; with ``"live"`` every tool runs.
    """

    model: str
    system: str | None
    tools: Sequence[Tool[..., Any] | Callable[..., Any]]
    edit: Edit
    schema: type[Any] | TypeAdapter[Any]
    tool_results: Serving
    session_id: str


def wish_of(at: int | None, options: RerunOptions) -> Wish:
    """The checked wish that options are. Raises :class:`ConfigurationError`."""
    serving = options.get("tool_results", "recorded")
    if serving not in get_args(Serving):
        choices = ", ".join(map(repr, get_args(Serving)))
        raise ConfigurationError(f"tool_results= takes one of {choices}, not {serving!r}")
    own = RerunOptions.__optional_keys__ - SettingsOptions.__optional_keys__
    chosen: Any = {name: value for name, value in options.items() if name not in own}
    settings_of(chosen)
    model = options.get("model")
    if model is not None:
        settings_of(TurnOptions(model=model))
    return Wish(
        at=at,
        model=model,
        system=options.get("system", msgspec.UNSET),
        tools=Toolset(options["tools"]) if "tools" in options else None,
        edit=options.get("edit", {}),
        tool_results=serving,
        options=chosen,
        output=Output(options["schema"]) if "schema" in options else None,
    )


class Original(NamedTuple):
    """The turn that is taken again.

    ``facts`` are the events of its session, ``turn`` its own. It began at version ``started`` with
    ``recorded``; it is taken again from the first ``at`` events on.
    """

    facts: Sequence[Recorded]
    turn: Sequence[Recorded]
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
        return rebuild(projection.evolve, self.facts[:version], SessionState()).conversation


class Rerun(msgspec.Struct, frozen=True):
    """What came of a rerun. ``session`` is the fork in which it was taken.

    ``response`` is that of the turn, None when it ended in ``error``. ``departure`` is the first
    answer or result that is another one than in the original, at its version there; None if all
    agree. ``served`` are the versions of the recorded results that were given to the model.
    """

    session: Session
    plan: Plan
    response: Response[Any] | None
    error: AgentError | None
    departure: Divergence | None
    served: tuple[int, ...]


class Prepared(NamedTuple):
    """A rerun worked out: where it forks, what it records first, and what it then does.

    ``expected`` is the turn as it was but for what is edited in it.
    """

    original: Original
    expected: Sequence[Recorded]
    events: Sequence[Event]
    order: Ask[Any] | Resume[Any]
    setup: Setup
    results: Sequence[RecordedResult]
    served: Served


def prepare_rerun(facts: Sequence[Recorded], wish: Wish, setup: Setup, model: str) -> Prepared:
    """Work out a rerun; ``setup`` and ``model`` are those of its agent.

    Raises :class:`ConfigurationError`, and :class:`NoRecordedResult` for a call that was under way
    and has none.
    """
    original = original_turn(facts, wish)
    tools = _tools(original, wish, setup)
    expected = edited(original.turn, _edits_of(original.turn, wish.edit))
    results = [one for one in results_of(expected) if one.version > original.at]
    served = Served(results, wish.tool_results, tools.names)
    asks = wish.tool_results == "ask"
    setup = replace(
        setup,
        tools=tools,
        requires_approval=asks or setup.requires_approval,
        compact_at=None,
        answered=served.answered,
    )
    asked = original.asked
    chosen = wish.model or (asked.model if asked else model)
    at, events = _first(original, wish, served)
    begun = _begun(expected[0])
    order = _resume(begun, wish, chosen) if original.entered else _ask(begun, wish, chosen)
    return Prepared(original._replace(at=at), expected, events, order, setup, results, served)


def after(prepared: Prepared, setup: Setup) -> Setup:
    """What the fork works with once the turn was taken: nothing recorded is served any more."""
    return replace(
        setup, tools=prepared.setup.tools, requires_approval=prepared.setup.requires_approval
    )


# Which turn, and from where


def original_turn(facts: Sequence[Recorded], wish: Wish) -> Original:
    """The turn that was under way at a version, or that came next."""
    at = _at(facts, wish)
    state = rebuild(projection.evolve, facts[:at], SessionState()).conversation
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
    if not under_way or wish.options or any(version <= started for version in wish.edit):
        at = started - 1
        if at and facts[at - 1].type == "tools.declared":
            at -= 1
    turn = _until_end(facts, started)
    _check_edits(facts, turn, wish)
    return Original(facts, turn, started, begun, at)


def _check_edits(facts: Sequence[Recorded], turn: Sequence[Recorded], wish: Wish) -> None:
    """Refuse edits that would come to nothing. Raises :class:`ConfigurationError`."""
    first, last = turn[0].version, turn[-1].version
    for version in wish.edit:
        if type(version) is not int or not 1 <= version <= last:
            raise ConfigurationError(
                f"edit= names version {version!r}; the turn that is taken again ends at {last}"
            )
        if facts[version - 1].type in ("session.started", "system.changed"):
            raise ConfigurationError("give another system prompt with system=, not with edit=")
        if version > first and facts[version - 1].type == "model.responded":
            raise ConfigurationError(
                f"version {version} is an answer of the turn that is taken again: the model gives "
                "it anew; rerun the next turn to put words in its mouth"
            )


def _at(facts: Sequence[Recorded], wish: Wish) -> int:
    at = wish.at
    if at is None:
        last = next((fact.version for fact in reversed(facts) if _starts(fact)), len(facts) + 1)
        at = max(min([*wish.edit, last]) - 1, 1)
    if type(at) is not int or not 1 <= at <= len(facts):
        raise ConfigurationError(f"at= takes a version from 1 to {len(facts)}, not {at!r}")
    return at


def _begun(fact: Recorded) -> TurnStarted:
    match fact.event:
        case TurnStarted() as started:
            return started
        case _:
            raise AssertionError("a turn begins with its start")


def _starts(fact: Recorded) -> bool:
    """Whether a turn of the user begins."""
    if fact.type != "turn.started":
        return False
    return isinstance(fact.event, TurnStarted) and fact.event.kind == "user"


def _until_end(facts: Sequence[Recorded], started: int) -> Sequence[Recorded]:
    """The events of a turn, from its start to what ended it last."""
    turn: list[Recorded] = []
    for fact in facts[started - 1 :]:
        if turn and (turn[-1].type in ENDS and fact.type != "turn.resumed"):
            break
        turn.append(fact)
    return turn


# What is recorded before it goes on


def _first(original: Original, wish: Wish, served: Served) -> tuple[int, list[Event]]:
    """Where to fork, and what the fork records first."""
    before = {at: said for at, said in wish.edit.items() if at < original.started}
    if original.entered:
        now = original.conversation(original.at)
        return original.at, [*_system(now, now.system, wish), *_decided(now, served)]
    target = _told_otherwise(original, before)
    at = _settled_before(original, before) if before else original.at
    now = original.conversation(at)
    events: list[Event] = list(_system(now, target.system, wish))
    shown, wanted = now.messages, target.messages
    if wanted[: len(shown)] != shown:
        events.append(HistoryCleared())
        shown = []
    events += [MessageAdded(message=message) for message in wanted[len(shown) :]]
    return at, events


def _told_otherwise(original: Original, edit: Mapping[int, Any]) -> Conversation:
    """The conversation before the turn, with some of its words replaced."""
    facts = edited(original.facts[: original.at], edit)
    return rebuild(projection.evolve, facts, SessionState()).conversation


def _settled_before(original: Original, edit: Mapping[int, Any]) -> int:
    """The last version before all edits at which no turn was open."""
    first = min(edit)
    marks = original.conversation(original.at).marks
    return max(mark.version for mark in marks if mark.version < first)


def _system(now: Conversation, wanted: str | None, wish: Wish) -> Iterator[SystemChanged]:
    if wish.system is not msgspec.UNSET:
        wanted = wish.system or None
    if wanted != now.system:
        yield SystemChanged(system=wanted)


def _decided(now: Conversation, served: Served) -> Iterator[ToolResolved]:
    """What becomes of the calls that were under way: a fork never repeats them by itself."""
    for call in now.turn.calls if now.turn else ():
        if call.state == "unknown":
            retry = ToolResolved(call_id=call.part.call_id, how="retry")
            yield served.answered(call) or retry


# How it goes on


def _ask(recorded: TurnStarted, wish: Wish, model: str) -> Ask[Any]:
    chosen, names = settings_of(wish.options), wish.options.keys()
    settings = replace(recorded.settings, **{name: getattr(chosen, name) for name in names})
    own = tuple(sorted({*recorded.own, *names, *(("model",) if wish.model else ())}))
    output = _output(recorded.output, wish)
    return Ask(recorded.input, model, settings, stream=False, output=output, own=own)


def _resume(recorded: TurnStarted, wish: Wish, model: str) -> Resume[Any]:
    output = _output(recorded.output, wish)
    return Resume(stream=False, model=model, output=output, switch=wish.model is not None)


def _output(recorded: OutputSchema | None, wish: Wish) -> Output[Any] | None:
    if recorded is None or wish.output is not None:
        return wish.output
    return AnyJSON(recorded)


class AnyJSON(Output[Any]):
    """A recorded shape, whose type nobody has given: the model is told it, the value is plain."""

    def __init__(self, schema: OutputSchema) -> None:
        self.schema = schema

    def parse(self, text: str) -> Any:  # noqa: ANN401 - JSON of any shape
        """The decoded answer. Raises :class:`OutputRejection` for what is no JSON."""
        try:
            return from_raw(msgspec.Raw(text.encode()))
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
            raise OutputRejection((f"invalid JSON: {error}",)) from error


def _tools(original: Original, wish: Wish, setup: Setup) -> Toolset:
    """The tools that are offered: those of today, or as recorded where there are none."""
    if wish.tools is not None or setup.tools.names:
        return wish.tools or setup.tools
    known = original.conversation(original.started).tools.definitions
    return Toolset([RecordedTool(definition) for definition in known])


def _edits_of(facts: Sequence[Recorded], edit: Edit) -> Edit:
    return {fact.version: edit[fact.version] for fact in facts if fact.version in edit}
