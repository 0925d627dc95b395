"""``agent replay``: what the code of today would do otherwise."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent.eventstore.errors import AgentError
from agent.tools import exits
from agent.tools.output import Form, output_options, write_json, write_lines
from agent.tools.revisions import resolve
from agent.tools.source import db_option, reading, session_of
from agent.tools.terminal import visible

if TYPE_CHECKING:
    from agent.engine.agent import Agent
    from agent.engine.replay import Replay
    from agent.engine.stores import SQLiteStore


@click.command()
@click.argument("names", nargs=-1, metavar="[SESSION]...")
@db_option
@click.option("--app", metavar="MODULE:NAME", help="The agent to try; else the library alone.")
@output_options
def replay(
    *, names: tuple[str, ...], db: Path | None, app: str | None, form: Form, pager: bool
) -> None:
    """Replay sessions offline, and say what would be different today.

    All sessions of the log, or those that are named. Answers and results come from the log: no
    model is asked, no tool runs, nothing is written. With --app the module is imported, from the
    working directory too. The exit status is 1 if anything is different.

    \b
    Example:
      agent replay --app shop:agent
    """  # noqa: D301 - click's mark for lines that stay as they are
    agent = None if app is None else _agent(app)
    results: list[Replay] = []
    with reading(db) as store:
        found = _replayed(store, names, agent, results)
        if form == "text":
            lines = (line for one in found for line in visible(str(one)).split("\n"))
            write_lines(lines, pager=pager)
        else:
            write_json("agent.replay/1", "replays", map(_fields, found), form)
    unread = next((one.error for one in results if one.error), None)
    if unread is not None:
        raise unread
    if not all(results):
        sys.exit(exits.DIFFERENT)


def _replayed(
    store: SQLiteStore, names: tuple[str, ...], agent: Agent | None, results: list[Replay]
) -> Iterator[Replay]:
    """Each replay as it comes, kept in ``results`` too."""
    from agent.engine.replay import Replay  # noqa: PLC0415 - slow to import

    keys = [resolve(store.log, name).session for name in names] or store.list_sessions()
    for key in keys:
        try:
            result = session_of(store, key).replay(agent)
        except AgentError as error:
            result = Replay(key, 0, 0, error=error)
        results.append(result)
        yield result


def _agent(app: str) -> Agent:
    from agent.engine.agent import Agent  # noqa: PLC0415 - slow to import

    module, _, name = app.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = getattr(import_module(module), name or "agent")
    except (ImportError, AttributeError, ValueError) as error:
        raise click.UsageError(visible(f"--app {app}: {error}")) from error
    if not isinstance(found, Agent):
        raise click.UsageError(visible(f"--app {app} is no Agent"))
    return found


def _fields(result: Replay) -> dict[str, Any]:
    divergence = result.divergence
    return {
        "session": result.session_id,
        "same": bool(result),
        "events": result.events,
        "requests": result.requests,
        "unproven": result.unproven,
        "divergence": None if divergence is None else str(divergence),
        "cause": None if divergence is None else divergence.cause,
        "error": None if result.error is None else str(result.error),
    }
