"""``agent bisect``: when something became true of a session."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent.tools import exits
from agent.tools.completion import session_ids
from agent.tools.facts import Facts
from agent.tools.output import Form, output_options, write_document, write_lines
from agent.tools.revisions import Place, Span, resolve_span
from agent.tools.source import db_option, path_of, reading
from agent.tools.terminal import one_line

if TYPE_CHECKING:
    from agent.engine.view import View
    from agent.eventstore.log import EventLog
    from agent.eventstore.record import Recorded

_SKIP = 125
_NO_COMMAND = (126, 127)
_SIGNALS = 128
_TAKES_BACK = ("history.cleared", "history.rewound", "history.compacted")

Try = Callable[[int], bool | None]
"""Whether it is so at a version; None where that cannot be told."""


@click.command()
@click.argument("revision", shell_complete=session_ids, default="@")
@db_option
@click.option("--contains", metavar="TEXT", help="The visible messages contain this text.")
@click.option("--run", "command", metavar="COMMAND", help="This shell command fails.")
@output_options
def bisect(
    *,
    revision: str,
    db: Path | None,
    contains: str | None,
    command: str | None,
    form: Form,
    pager: bool,
) -> None:
    """Find the first version at which something is true of a session.

    Looks by halves, through a session or a range of its events such as trip@4..12, where version 4
    is known to be good. --run gives a shell command the state on stdin, as agent show --state
    --json writes it, and AGENT_SESSION and AGENT_VERSION; as for git bisect, status 0 means good,
    125 that it cannot be told, any other below 128 bad, and the rest stops. The exit status is 4 if
    it is true at no version.

    \b
    Examples:
      agent bisect trip --contains Osaka
      agent bisect trip@4.. --run 'jq -e ".usage.own.output_tokens < 1000"'
    """  # noqa: D301 - click's mark for lines that stay as they are
    if (contains is None) == (command is None):
        raise click.UsageError("look for what? --contains TEXT, or --run COMMAND")
    with reading(db) as store:
        span = resolve_span(store.log, revision)
        if span.until <= span.after:
            raise exits.NotFound(f"there are no events in {revision}")
        if contains is not None:
            seen = Seen(_containing(store.log, span.session, contains))
            edges = list(_edges(store.log, span))
        else:
            seen = Seen(Command(store.log, span.session, command or "", path_of(db)))
            edges = []
        version = first(seen, span, edges)
        _tell_what_is_odd(seen, span)
        fact = next(store.log.read(span.session, after=version - 1, until=version))
        _show(Facts(span.session), fact, len(seen.found), form, pager=pager)


def first(seen: Seen, span: Span, edges: Iterable[int]) -> int:
    """The first version after a span's beginning at which it is so.

    Each of the ``edges`` is looked at, so what comes and goes there is found the first time.
    Raises :class:`NotFound` where it is so nowhere, and :class:`click.ClickException` where it was
    so before, or cannot be told.
    """
    good, last = span.after, span.until
    if good and seen(good):
        words = f"it is so at {Place(span.session, good)} already: begin earlier"
        raise click.ClickException(one_line(words))
    tried = sorted({*edges, last})
    so = [version for version in tried if seen(version)]
    if not so:
        words = "it is not so" if seen(last) is False else "it cannot be told"
        raise exits.NotFound(f"{words} at {Place(span.session, last)}")
    bad = so[0]
    good = max([good, *(version for version in tried if version < bad and seen(version) is False)])
    while bad - good > 1:
        version = _next(seen, good, bad)
        if version is None:
            words = f"it is one of {span.session}@{good + 1} to {bad}: the others cannot be told"
            raise click.ClickException(one_line(words))
        if seen(version):
            bad = version
        else:
            good = version
    return bad


def _next(seen: Seen, good: int, bad: int) -> int | None:
    """The version nearest to the middle at which it can be told."""
    middle = (good + bad) // 2
    for distance in range(bad - good):
        for version in (middle - distance, middle + distance):
            if good < version < bad and seen(version) is not None:
                return version
    return None


class Seen:
    """What was found out so far: each version is tried once."""

    def __init__(self, attempt: Try) -> None:
        self._attempt = attempt
        self.found: dict[int, bool | None] = {}

    def __call__(self, version: int) -> bool | None:
        """Whether it is so at a version."""
        if version not in self.found:
            self.found[version] = self._attempt(version)
        return self.found[version]


# What may be true


def _edges(log: EventLog, span: Span) -> Iterator[int]:
    """The versions before and at which the history shows other messages than before."""
    facts = log.read(span.session, after=span.after, until=span.until, types=_TAKES_BACK)
    for fact in facts:
        yield from (fact.version - 1, fact.version)


def _containing(log: EventLog, session: str, text: str) -> Try:
    from agent.engine.past_states import PastStates  # noqa: PLC0415 - slow to import
    from agent.engine.view import View  # noqa: PLC0415
    from agent.tools.words import part_text  # noqa: PLC0415

    states = PastStates(log, session)

    def contains(version: int) -> bool:
        messages = View(states.at(version)).messages
        return any(text in part_text(part) for message in messages for part in message.parts)

    return contains


class Command:
    """Tries versions by a shell command."""

    def __init__(self, log: EventLog, session: str, command: str, db: Path) -> None:
        from agent.engine.past_states import PastStates  # noqa: PLC0415 - slow to import

        self._states = PastStates(log, session)
        self._session = session
        self._command = command
        self._db = db

    def __call__(self, version: int) -> bool | None:
        """Whether the command says that a version is bad."""
        from agent.engine.view import View  # noqa: PLC0415 - slow to import

        place = Place(self._session, version)
        status = self._run(place, View(self._states.at(version)))
        said = {0: "good", _SKIP: "skipped"}.get(status, "bad")
        if not 0 <= status < _SIGNALS:
            raise click.ClickException(one_line(f"{place}: the command ended with {status}"))
        hint = ": is there such a command?" if status in _NO_COMMAND else ""
        click.echo(one_line(f"{place}: {said} ({status}){hint}"), err=True)
        return None if status == _SKIP else bool(status)

    def _run(self, place: Place, view: View) -> int:
        from agent.tools.states import STATE, state_document  # noqa: PLC0415 - slow to import

        state = json.dumps({"schema": STATE, **state_document(place, view)})
        there = {"AGENT_SESSION": place.session, "AGENT_VERSION": str(place.version)}
        environment = {**os.environ, **there, "AGENT_DB": str(self._db.absolute())}
        done = subprocess.run(  # noqa: S602 - the command is the user's
            self._command,
            shell=True,
            input=f"{state}\n".encode(),
            stdout=2,  # stdout is for what was found
            env=environment,
            check=False,
        )
        return done.returncode


# What was found


def _tell_what_is_odd(seen: Seen, span: Span) -> None:
    """Say that it is not so any more somewhere after it was."""
    told = sorted((version, so) for version, so in seen.found.items() if so is not None)
    came = next(version for version, so in told if so)
    gone = next((version for version, so in told if version > came and not so), None)
    if gone is not None:
        words = f"it comes and goes: it is so at {span.session}@{came}, and not at {gone}"
        click.echo(one_line(words), err=True)


def _show(facts: Facts, fact: Recorded, tries: int, form: Form, *, pager: bool) -> None:
    if form == "text":
        place = click.style(one_line(str(Place(facts.session, fact.version))), "cyan")
        write_lines([place, facts.line(fact, timed=True)], pager=pager)
    else:
        write_document("agent.bisect/1", {**facts.fields(fact, whole=False), "tries": tries})
