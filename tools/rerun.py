"""``agent rerun``: what a model would say otherwise."""

from __future__ import annotations

import asyncio
import shlex
import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from agent.engine.errors import ConfigurationError
from agent.engine.rerun import RerunOptions
from agent.engine.served import Serving
from agent.tools import exits
from agent.tools.agents import Who, agent_of, check_key, request_near, who_options
from agent.tools.completion import session_ids
from agent.tools.output import Form, output_options, write_document, write_lines
from agent.tools.parameters import edited, text_or_file
from agent.tools.revisions import Place, names_version, resolve
from agent.tools.setting_options import setting_options
from agent.tools.source import db_option, reading
from agent.tools.terminal import one_line, visible

if TYPE_CHECKING:
    from agent.engine.plan import Plan
    from agent.engine.rerun import Rerun
    from agent.engine.session import Session
    from agent.eventstore.log import EventLog


@click.command()
@click.argument("revision", shell_complete=session_ids)
@db_option
@who_options
@click.option(
    "--system",
    type=text_or_file,
    metavar="TEXT|@FILE",
    help="Another system prompt; empty for none.",
)
@click.option(
    "--edit",
    "edits",
    type=edited,
    multiple=True,
    metavar="VERSION=TEXT",
    help="Other words in an event, such as the result of a tool.",
)
@click.option(
    "--tools",
    type=click.Choice(get_args(Serving)),
    default="recorded",
    show_default=True,
    help="What becomes of a call without a recorded result.",
)
@click.option("--session-id", metavar="ID", help="The id of the fork.")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@setting_options
@output_options
def rerun(
    *,
    revision: str,
    db: Path | None,
    who: Who,
    dry_run: bool,
    form: Form,
    pager: bool,
    settings: dict[str, Any],
    **changes: Any,  # noqa: ANN401 - what is to be different
) -> None:
    """Take a turn again, live and in a fork, with something changed.

    It is the last turn of a session; of a version, the turn that was under way, which goes on from
    there, or the one that came next. Tools do not run unless --tools says so: while the model makes
    the same calls it is given the recorded results. What it says otherwise is told with where and
    why, and the session stays as it is. Every setting of a turn is an option.

    \b
    Examples:
      agent rerun trip --model gpt-4o-mini --max-tokens 200 --dry-run
      agent rerun trip --edit 7=rain --temperature 0
    """  # noqa: D301 - click's mark for lines that stay as they are
    with reading(db) as store:
        place = resolve(store.log, revision)
        at = place.version if names_version(store.log, revision) else None
        options = _options(who, settings, **changes)
        with agent_of(who, store, request_near(store.log, place)) as agent:
            session = agent.session(place.session)
            if dry_run:
                _show_plan(session.rerun(at, dry_run=True, **options), place, form, pager=pager)
                return
            check_key(agent.provider)
            options.setdefault("session_id", agent.new_key(None))
            taken = _taken(session, at, options, store.log)
            _show(taken, place, form, pager=pager)
    sys.exit(_status(taken))


def _options(
    who: Who,
    settings: dict[str, Any],
    *,
    system: str | None,
    edits: tuple[tuple[int, str], ...],
    tools: Serving,
    session_id: str | None,
) -> RerunOptions:
    if tools != "recorded" and who.app is None:
        raise ConfigurationError(
            f"--tools {tools} needs the agent that has them: --app MODULE:NAME"
        )
    edit = dict(edits)
    if len(edit) < len(edits):
        raise ConfigurationError("--edit names a version twice")
    options: RerunOptions = {**settings, "edit": edit, "tool_results": tools}  # pyright: ignore[reportAssignmentType] - the settings are named as there
    if who.model is not None:
        options["model"] = who.model
    if system is not None:
        options["system"] = system
    if session_id is not None:
        options["session_id"] = session_id
    return options


def _taken(session: Session, at: int | None, options: RerunOptions, log: EventLog) -> Rerun:
    """The turn, taken again. Ctrl-C leaves the fork with what there is."""
    from agent.tools.answers import Answers  # noqa: PLC0415 - slow to import
    from agent.tools.screen import Screen  # noqa: PLC0415

    screen = Screen()
    with asyncio.Runner() as runner:
        try:
            return Answers(screen, runner).wait_for(partial(session.rerun_async, at, **options))
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a key held down is no second wish
            name = options.get("session_id", "")
            made = log.head(name) is not None
            screen.notice(
                f"stopped; what there is of it is in session {name}" if made else "stopped"
            )
            sys.exit(exits.INTERRUPTED)


def _status(taken: Rerun) -> int:
    """The exit status; what the turn waits for, or why it ended, is told."""
    if taken.error is not None:
        raise taken.error
    waiting = taken.response.pending_approvals if taken.response else ()
    if not waiting:
        return exits.OK
    names = ", ".join(f"{call.call_id} ({call.tool})" for call in waiting)
    decide = f"decide with: agent resolve {shlex.quote(taken.session.session_id)}"
    click.echo(one_line(f"a person has to allow {names}; {decide}"), err=True)
    return exits.UNDECIDED


# What came of it


def _show(taken: Rerun, place: Place, form: Form, *, pager: bool) -> None:
    if form == "text":
        write_lines(_lines(taken, place), pager=pager)
    else:
        write_document("agent.rerun/1", _fields(taken, place))
    sys.stdout.flush()


def _lines(taken: Rerun, place: Place) -> Iterator[str]:
    yield click.style(one_line(f"{taken.session.session_id}@{taken.session.version}"), "cyan")
    if taken.departure is not None:
        yield from visible(f"departs from {place.session} at {taken.departure}").split("\n")
    elif taken.error is None:
        yield one_line(f"the same as in {place.session}")
    if taken.response is not None and taken.response.text:
        yield ""
        yield from visible(taken.response.text).split("\n")


def _fields(taken: Rerun, place: Place) -> dict[str, Any]:
    gone, answer = taken.departure, taken.response
    return {
        "session": taken.session.session_id,
        "version": taken.session.version,
        "parent": place.session,
        "plan": _plan_fields(taken.plan),
        "answer": None if answer is None else answer.text,
        "waiting": [] if answer is None else [one.call_id for one in answer.pending_approvals],
        "departure": None if gone is None else str(gone),
        "departed_at": None if gone is None else gone.version,
        "cause": None if gone is None else gone.cause,
        "served": list(taken.served),
        "error": None if taken.error is None else str(taken.error),
    }


# What would come of it


def _show_plan(plan: Plan, place: Place, form: Form, *, pager: bool) -> None:
    if form == "text":
        write_lines(_plan_lines(plan, place), pager=pager)
    else:
        write_document("agent.plan/1", {"session": place.session, **_plan_fields(plan)})


def _plan_lines(plan: Plan, place: Place) -> Iterator[str]:
    where = f"{place.session}, in a fork of {place.session}@{plan.at}"
    yield one_line(f"{plan.model} takes the turn of version {plan.turn} of {where}")
    for call in plan.calls:
        said = one_line(f"{call.tool}({call.arguments})")
        yield f"call    {said}, version {call.version}: {call.fate}"
    yield f"others  {plan.others}"
    if plan.tools:
        yield f"tools   {one_line(', '.join(plan.tools))}"
    yield f"steps   {plan.steps_at_most} at most"
    usage, cost = plan.usage_at_most, plan.cost_at_most
    words = (
        f"{usage.input_tokens:,} in, {usage.output_tokens:,} out at most" if usage else "no bound"
    )
    yield f"tokens  {words}"
    yield "cost    unknown" if cost is None else f"cost    {cost} US dollars at most"


def _plan_fields(plan: Plan) -> dict[str, Any]:
    from agent.tools.states import plain, usage_fields  # noqa: PLC0415 - slow to import

    usage = plan.usage_at_most
    return {**plain(plan), "usage_at_most": None if usage is None else usage_fields(usage)}
