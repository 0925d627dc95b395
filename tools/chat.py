"""``agent chat``: talk to a real model in a session that is kept in a file."""

from __future__ import annotations

import asyncio
import shlex
import signal
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent.engine.agent import Agent
from agent.engine.errors import (
    ApprovalPending,
    NothingUnfinished,
    OutcomeUnknown,
    OwnerAlive,
    TurnOpen,
)
from agent.engine.stores import SQLiteStore
from agent.eventstore.errors import AgentError, ConflictError
from agent.tools.advice import advice
from agent.tools.agents import check_key
from agent.tools.answers import Answers
from agent.tools.screen import Screen
from agent.tools.source import db_option, made_default
from agent.tools.terminal import visible

if TYPE_CHECKING:
    from agent.engine.session import Session
    from agent.eventstore.values import Usage
    from agent.tools.answers import Begin

HELP = """\
/clear      start over with an empty history
/undo       take the last turn out of the history
/compact    let a summary stand for all but the last messages
/fork [ID]  branch off, and go on in the branch
/resume     answer what was asked last, if that was interrupted
/usage      the tokens used so far
/quit       leave (as do Ctrl-C and Ctrl-D)
Ctrl-C during an answer stops the answer."""

_RECALLED = 4
_RECALLED_CHARACTERS = 300
_RECALLED_LINES = 6
_INTERRUPTED = 130


@click.command()
@click.option(
    "--model",
    "-m",
    metavar="NAME",
    default="gpt-4o",
    envvar="AGENT_MODEL",
    show_default=True,
    show_envvar=True,
    help="Who answers.",
)
@click.option(
    "--provider", metavar="NAME", default="openai", show_default=True, help="Who is asked."
)
@click.option(
    "--base-url", metavar="URL", help="Another server of the same protocol, such as a local one."
)
@db_option
@click.option(
    "--session",
    "-s",
    "session_id",
    metavar="ID",
    default="main",
    show_default=True,
    help="Which conversation to begin or to go on with.",
)
@click.option("--system", metavar="TEXT", help="System prompt from here on.")
def chat(
    *,
    model: str,
    provider: str,
    base_url: str | None,
    db: Path | None,
    session_id: str,
    system: str | None,
) -> None:
    """Talk to a model in a session that survives being closed.

    The same --session goes on where it stopped. Answers go to stdout, all else to stderr. When
    stdin is not a terminal, each of its lines is a prompt; the exit status is 1 if an answer
    failed.
    """
    path = db or made_default()
    with (
        SQLiteStore(path) as store,
        Agent(provider, model, store=store, base_url=base_url, on_unfinished="abandon") as agent,
        asyncio.Runner() as runner,
    ):
        check_key(agent.provider)
        screen = Screen()
        talk = Chat(agent.session(session_id, system=system), screen, Answers(screen, runner))
        if screen.interactive:
            talk.greet(f"{model}, session {session_id} in {path}")
        status = talk.talk()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a key held down is no second wish
    sys.exit(status)


class Chat:
    """A conversation in the terminal."""

    def __init__(self, session: Session, screen: Screen, answers: Answers) -> None:
        self._session = session
        self._screen = screen
        self._answers = answers
        self._failed = False

    def greet(self, title: str) -> None:
        """Say where the user is, and what was said before."""
        messages = [one for one in self._session.messages if one.text and one.role != "tool"]
        self._screen.notice(f"{title}\n/help lists the commands\n")
        if len(messages) > _RECALLED:
            self._screen.notice(f"({len(messages) - _RECALLED} earlier messages)")
        for message in messages[-_RECALLED:]:
            mark = "> " if message.role == "user" else ""
            self._screen.notice(mark + _excerpt(message.text))
        left = self._session.unfinished_turn
        if left is not None and left.ended is None:
            self._screen.notice("(what was asked last was not answered; /resume answers it)")
        if messages or left:
            self._screen.gap()

    def talk(self) -> int:
        """Answer until the user leaves. Returns the exit status."""
        try:
            for line in self._screen.prompts():
                if line.strip() == "/quit":
                    break
                self._handle(line)
                self._screen.gap()
        except KeyboardInterrupt:
            return _INTERRUPTED
        return int(self._failed and not self._screen.interactive)

    def _handle(self, line: str) -> None:
        try:
            if line.startswith("/") and line.split(maxsplit=1)[0][1:].isalpha():
                self._obey(*line.split(maxsplit=1))
            else:
                self._take_turn(partial(self._session.stream_async, line))
        except AgentError as error:
            self._fail(_advice(error))
        except KeyboardInterrupt:
            self._screen.notice("stopped, and not kept in the history; /resume asks again")
            if not self._screen.interactive:
                raise

    def _fail(self, text: str) -> None:
        self._failed = True
        self._screen.error(text)

    # Turns

    def _take_turn(self, begin: Begin) -> None:
        response = self._answers.take(begin)
        if response.pending_approvals:
            waiting = ", ".join(call.tool for call in response.pending_approvals)
            self._screen.notice(f"(a person has to allow these tools first: {waiting})")

    # Commands

    def _obey(self, command: str, argument: str = "") -> None:
        match command:
            case "/help":
                self._screen.notice(HELP)
            case "/clear":
                self._session.refresh()
                self._session.clear()
                self._screen.notice("the history is empty; the log keeps what was said")
            case "/resume":
                self._take_turn(self._session.resume_stream_async)
            case "/undo":
                self._session.refresh()
                self._session.undo()
                self._screen.notice(f"undone; {len(self._session.messages)} messages are left")
            case "/compact":
                done = self._answers.wait_for(self._session.compact_async)
                self._screen.notice(
                    f"{done.messages_before} messages before, {done.messages_after} now"
                )
            case "/fork":
                self._fork(argument.strip() or None)
            case "/usage":
                self._show_usage()
            case _:
                self._fail(f"there is no command {command}; /help lists them")

    def _fork(self, session_id: str | None) -> None:
        parent = self._session
        parent.refresh()
        try:
            self._session = parent.fork(session_id)
        except ConflictError:
            self._fail(f"there already is a session {session_id}; choose another ID")
            return
        back = shlex.join(["agent", "chat", "--session", parent.session_id])
        self._screen.notice(f"now in session {self._session.session_id}; back with: {back}")

    def _show_usage(self) -> None:
        usage = self._session.usage
        self._screen.notice(f"this session: {_tokens(usage.own)}")
        if usage.inherited.total_tokens:
            self._screen.notice(f"before the fork: {_tokens(usage.inherited)}")


def _excerpt(text: str) -> str:
    """The first lines of a message."""
    whole = visible(text).strip()
    start = "\n".join(whole[:_RECALLED_CHARACTERS].splitlines()[:_RECALLED_LINES])
    return start if len(start) == len(whole) else f"{start} …"


def _tokens(usage: Usage) -> str:
    cached = f" ({usage.cached_tokens:,} from the cache)" if usage.cached_tokens else ""
    return f"{usage.input_tokens:,} tokens in{cached}, {usage.output_tokens:,} out"


def _advice(error: AgentError) -> str:
    """The error, and what to do about it in a chat."""
    match error:
        case OwnerAlive():
            who = f"process {error.owner.process} on {error.owner.host}"
            return f"{who} is at work in this session; wait for it, or use another --session"
        case OutcomeUnknown():
            calls = ", ".join(call.tool for call in error.calls)
            return f"nobody knows whether these tools have run: {calls}; say something else instead"
        case ApprovalPending():
            calls = ", ".join(call.tool for call in error.calls)
            return f"a person has to allow these tools first: {calls}; or say something else"
        case TurnOpen():
            return "what was asked last was not answered; /resume answers it"
        case NothingUnfinished():
            return "there is nothing to resume"
        case _:
            return advice(error)
