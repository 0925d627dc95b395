"""``agent resume``: the rest of a turn that did not come to its end."""

from __future__ import annotations

import asyncio
import shlex
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent.engine.errors import ConfigurationError, NothingUnfinished
from agent.eventstore.errors import AgentError
from agent.tools import exits
from agent.tools.agents import Who, agent_of, check_key, request_near, who_options
from agent.tools.completion import session_ids
from agent.tools.revisions import Place, resolve_session
from agent.tools.source import db_option, reading

if TYPE_CHECKING:
    from agent.engine.agent import Agent
    from agent.engine.session import Session
    from agent.engine.stores import SQLiteStore
    from agent.projections.turn import Call, Turn


@click.command()
@click.argument("session", shell_complete=session_ids)
@db_option
@who_options
@click.option("--takeover", is_flag=True, help="Take the turn from whoever may be running it.")
def resume(*, session: str, db: Path | None, who: Who, takeover: bool) -> None:
    """Go on with a turn that did not come to its end.

    The model is asked for what is missing, live, and the answer is written as it comes. What is
    recorded is used, and no tool runs twice behind your back. A turn with tools needs the agent
    that has them: --app. The exit status is 5 if somebody has to decide first, which agent resolve
    shows. Ctrl-C stops the answer; the turn can be gone on with again.

    \b
    Example:
      agent resume order-7 --app shop:agent
    """  # noqa: D301 - click's mark for lines that stay as they are
    with reading(db) as store:
        key = resolve_session(store.log, session)
        turn, offered = _unfinished(store, key)
        asked = turn.asked or request_near(store.log, Place(key, turn.started))
        with agent_of(who, store, asked) as agent:
            _check(agent, who, turn, offered)
            status = _go_on(agent.session(key), takeover=takeover)
    sys.exit(status)


def _unfinished(store: SQLiteStore, key: str) -> tuple[Turn, set[str]]:
    """The turn to go on with, and the tools that it has. Raises :class:`NothingUnfinished`."""
    from agent.engine.past_states import PastStates  # noqa: PLC0415 - slow to import

    head = store.log.head(key)
    state = PastStates(store.log, key).at(head.version if head else 0).conversation
    if state.unfinished is None:
        raise NothingUnfinished(key)
    return state.unfinished, {one.name for one in state.tools.definitions}


def _check(agent: Agent, who: Who, turn: Turn, offered: set[str]) -> None:
    """Raise :class:`ConfigurationError` for an agent that cannot go on with a turn."""
    check_key(agent.provider)
    if turn.asked is not None and who.model not in (None, turn.asked.model):
        raise ConfigurationError(
            f"the turn asks {turn.asked.model}; another model takes it with agent rerun"
        )
    missing = offered - {*agent.today().base.tools.names}
    if who.app is not None:
        missing &= {call.part.name for call in turn.calls if _may_start(call)}
    if missing:
        raise ConfigurationError(_lacking(sorted(missing), who))


def _may_start(call: Call) -> bool:
    refused = call.approval is not None and call.approval.state == "rejected"
    return call.state == "not started" and not refused


def _lacking(missing: list[str], who: Who) -> str:
    names = ", ".join(missing)
    if who.app is None:
        return f"the turn has tools ({names}): name the agent that has them, with --app MODULE:NAME"
    return f"the turn calls tools that {who.app} does not have: {names}"


def _go_on(session: Session, *, takeover: bool) -> int:
    """Take the turn to its end. Returns the exit status."""
    from agent.tools.answers import Answers  # noqa: PLC0415 - slow to import
    from agent.tools.screen import Screen  # noqa: PLC0415

    screen, name = Screen(), shlex.quote(session.session_id)
    with asyncio.Runner() as runner:
        begin = partial(session.resume_stream_async, takeover=takeover)
        try:
            response = Answers(screen, runner).take(begin)
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a key held down is no second wish
            screen.notice(f"stopped; agent resume {name} goes on")
            return exits.INTERRUPTED
        except AgentError:
            screen.end_line()
            raise
    waiting = ", ".join(f"{call.call_id} ({call.tool})" for call in response.pending_approvals)
    if waiting:
        screen.notice(f"a person has to allow {waiting}; decide with: agent resolve {name}")
        return exits.UNDECIDED
    return exits.OK
