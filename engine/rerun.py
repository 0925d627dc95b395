"""Rerun: a recorded turn, taken once more, live and in a fork, with something changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import msgspec

from agent.engine.ask import Ask, Resume, Setup
from agent.engine.edits import Edit, checked_system
from agent.engine.errors import ConfigurationError
from agent.engine.original import Original, original_turn, told_otherwise, undeclared
from agent.engine.output import Output, OutputRejection
from agent.engine.recorded import RecordedTool
from agent.engine.served import RecordedResult, Served, Serving, results_of
from agent.engine.settings import SettingsOptions, TurnOptions, settings_of
from agent.engine.tools import Tool, Toolset
from agent.eventstore.events import (
    HistoryCleared,
    MessageAdded,
    SystemChanged,
    ToolResolved,
)
from agent.eventstore.rawjson import from_raw

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from agent.engine.divergence import Divergence
    from agent.engine.plan import Plan
    from agent.engine.session import Session
    from agent.engine.stream import Response
    from agent.eventstore.errors import AgentError
    from agent.eventstore.events import Event
    from agent.eventstore.record import Recorded
    from agent.eventstore.values import OutputSchema, ToolDefinition
    from agent.projections.conversation import Conversation

replace = msgspec.structs.replace


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
    the type of a ``json`` turn, whose value is plain without it. Settings, another ``schema`` and
    another prompt are said at the start of a turn: with them it is taken from there.
    ``session_id`` is the fork's.

    ``tool_results``: with ``"recorded"`` no tool runs, and a call that has no recorded result ends
    the turn with :class:`NoRecordedResult`; with ``"ask"`` such a call waits for
    ``approve`` and ``resume`` of the rerun's session; with ``"live"`` every tool runs. A result
    that is edited stands in each case.
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
    if "idempotency_key" in options:
        raise ConfigurationError("a rerun is asked anew each time: it takes no idempotency_key")
    own = RerunOptions.__optional_keys__ - SettingsOptions.__optional_keys__
    chosen: Any = {name: value for name, value in options.items() if name not in own}
    settings_of(chosen)
    model, system = options.get("model"), options.get("system", msgspec.UNSET)
    if model is not None:
        settings_of(TurnOptions(model=model))
    return Wish(
        at=at,
        model=model,
        system=system if system is msgspec.UNSET else checked_system(system),
        tools=Toolset(options["tools"]) if "tools" in options else None,
        edit=_checked_edit(options.get("edit", {})),
        tool_results=serving,
        options=chosen,
        output=Output(options["schema"]) if "schema" in options else None,
    )


def _checked_edit(edit: Edit) -> Edit:
    """Refuse what is no content by version. Raises :class:`ConfigurationError`."""
    if not isinstance(edit, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - user input
        raise ConfigurationError(
            f"edit= takes new content by version, {{12: 'text'}}, not {type(edit).__name__}"
        )
    for version in edit:
        if type(version) is not int:
            raise ConfigurationError(f"edit= takes versions, which are numbers, not {version!r}")
    return dict(edit)


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

    ``results`` are those of the turn from there on.
    """

    original: Original
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
    offered = original.conversation(original.started).tools.definitions
    tools = _tools(offered, wish, setup)
    results = results_of(original.expected, {tool.name for tool in offered})
    left = [one for one in results if one.version > original.at]
    served = Served(left, wish.tool_results, tools.names, wish.edit.keys())
    asks = wish.tool_results == "ask"
    at, events = _first(original, wish, served)
    order = _resume(original, wish, setup, model)
    return Prepared(
        original._replace(at=at),
        events,
        order if original.entered else _ask(original, wish, order),
        replace(
            setup,
            tools=tools,
            requires_approval=asks or setup.requires_approval,
            compact_at=None,
            answered=served.answered,
        ),
        left,
        served,
    )


def after(prepared: Prepared, setup: Setup) -> Setup:
    """What the fork works with once the turn was taken: nothing recorded is served any more."""
    used = prepared.setup
    recorded = any(isinstance(used.tools.get(name), RecordedTool) for name in used.tools.names)
    tools = setup.tools if recorded else used.tools
    return replace(setup, tools=tools, requires_approval=used.requires_approval)


# What is recorded before it goes on


def _first(original: Original, wish: Wish, served: Served) -> tuple[int, list[Event]]:
    """Where to fork, and what the fork records first."""
    before = {at: said for at, said in wish.edit.items() if at < original.started}
    if original.entered:
        now = original.conversation(original.at)
        return original.at, [*_system(now, now.system, wish), *_decided(now, served)]
    target = told_otherwise(original, before)
    at = _settled_before(original, before) if before else original.at
    now = original.conversation(at)
    events: list[Event] = list(_system(now, target.system, wish))
    shown, wanted = now.messages, target.messages
    if wanted[: len(shown)] != shown:
        events.append(HistoryCleared())
        shown = []
    events += [MessageAdded(message=message) for message in wanted[len(shown) :]]
    return at, events


def _settled_before(original: Original, edit: Mapping[int, Any]) -> int:
    """The last version before all edits at which no turn was open."""
    first = min(edit)
    marks = original.conversation(original.at).marks
    return undeclared(original.facts, max(mark.version for mark in marks if mark.version < first))


def _system(now: Conversation, wanted: str | None, wish: Wish) -> Iterator[SystemChanged]:
    if wish.system is not msgspec.UNSET:
        wanted = wish.system or None
    if wanted != now.system:
        yield SystemChanged(system=wanted)


def _decided(now: Conversation, served: Served) -> Iterator[ToolResolved]:
    """What becomes of the calls that were under way: a fork never repeats them by itself.

    Raises :class:`NoRecordedResult` for one that only the record may answer, and does not.
    """
    pending, trial = now.turn.pending_calls if now.turn else (), served.again()
    for call in pending:
        trial.answered(call)
    for call in pending:
        if call.state == "unknown":
            retry = ToolResolved(call_id=call.part.call_id, how="retry")
            yield served.answered(call) or retry


# How it goes on


def _resume(original: Original, wish: Wish, setup: Setup, model: str) -> Resume[Any]:
    """Go on with the turn: asking whom it asked, unless that is another provider's."""
    asked, provider = original.asked, setup.provider
    known = asked is not None and (asked.provider, asked.api) == (provider.name, provider.api)
    chosen = wish.model or (asked.model if asked and known else model)
    return Resume(
        stream=asked is not None and asked.stream,
        model=chosen,
        output=_output(original.recorded.output, wish),
        switch=wish.model is not None or not known,
    )


def _ask(original: Original, wish: Wish, order: Resume[Any]) -> Ask[Any]:
    """Take the turn from its start, as ``order`` would go on with it."""
    recorded, chosen, names = original.recorded, settings_of(wish.options), wish.options.keys()
    settings = replace(recorded.settings, **{name: getattr(chosen, name) for name in names})
    own = tuple(sorted({*recorded.own, *names, *(("model",) if wish.model else ())}))
    return Ask(recorded.input, order.model, settings, order.stream, order.output, own=own)


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


def _tools(offered: Sequence[ToolDefinition], wish: Wish, setup: Setup) -> Toolset:
    """The tools that are offered: those of today, or as recorded where there are none."""
    if wish.tools is not None:
        return wish.tools
    if setup.tools.names or not offered:
        return setup.tools
    if wish.tool_results != "recorded":
        raise ConfigurationError(
            f"the agent has no tools that could run: rerun with tools=[...] that are called "
            f'{", ".join(tool.name for tool in offered)}, or with tool_results="recorded"'
        )
    return Toolset([RecordedTool(definition) for definition in offered])
