"""``agent log``: what happened in a session."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent.tools.completion import session_ids
from agent.tools.facts import Facts
from agent.tools.output import Form, fitted, output_options, width, write_json, write_lines
from agent.tools.revisions import Span, resolve_span
from agent.tools.source import db_option, reading_log
from agent.tools.turn_figures import TurnFigures

if TYPE_CHECKING:
    from agent.eventstore.log import EventLog
    from agent.eventstore.record import Recorded

_POLL = 0.3


@click.command()
@click.argument("revision", shell_complete=session_ids, default="@")
@db_option
@click.option("-n", "count", type=click.IntRange(0), help="Only the last so many events.")
@click.option("--oneline", is_flag=True, help="Leave out the times.")
@click.option("--graph", is_flag=True, help="Show where events were inherited and forks begin.")
@click.option("--stat", is_flag=True, help="After each turn, what it took.")
@click.option("-p", "--patch", is_flag=True, help="With everything that the events say.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is recorded from now on.")
@output_options
def log(
    *,
    revision: str,
    db: Path | None,
    count: int | None,
    oneline: bool,
    graph: bool,
    stat: bool,
    patch: bool,
    follow: bool,
    form: Form,
    pager: bool,
) -> None:
    """Show the events of a session, the last at the end.

    REVISION is a session, a version of it, or a range of its events; without one, the session that
    was changed last. As a conversation is read, the last event stands at the end. With --json and
    --nl, -p adds what the events say.

    \b
    Examples:
      agent log trip
      agent log trip~1.. -p
    """  # noqa: D301 - click's mark for lines that stay as they are
    if follow and form == "json":
        raise click.UsageError("what is followed has no end: --nl writes each event on its own")
    with reading_log(db) as source:
        span = resolve_span(source, revision)
        events = _events(source, span, count)
        if follow:
            events = chain(events, _following(source, span))
        facts = Facts(span.session)
        if form == "text":
            lines = Lines(facts, _forks(source, span) if graph else None, timed=not oneline)
            written = lines.of(events, stat=stat, patch=patch)
            write_lines(written, pager=pager and not follow)
        else:
            fields = (facts.fields(fact, whole=patch) for fact in events)
            write_json("agent.log/1", "events", fields, form)
        facts.check()


def _events(log: EventLog, span: Span, count: int | None) -> Iterator[Recorded]:
    after = span.after if count is None else max(span.after, span.until - count)
    return log.read(span.session, after=after, until=span.until)


def _following(log: EventLog, span: Span) -> Iterator[Recorded]:
    """What is recorded after a span, as it is; ends when the session is deleted."""
    last = span.until
    while (head := log.head(span.session)) is not None:
        for fact in log.read(span.session, after=last, until=head.version):
            last = fact.version
            yield fact
        time.sleep(_POLL)


def _forks(log: EventLog, span: Span) -> dict[int, list[str]]:
    """The forks of a session, by the version up to which they share its events."""
    from agent.engine.listing import listed  # noqa: PLC0415 - slow to import

    found: dict[int, list[str]] = {}
    for info in listed(log):
        if info.parent == span.session and info.forked_at is not None:
            found.setdefault(info.forked_at, []).append(info.key)
    return found


class Lines:
    """Events as lines; ``forks`` draws a graph, of those that begin after each version."""

    def __init__(self, facts: Facts, forks: dict[int, list[str]] | None, *, timed: bool) -> None:
        self._facts = facts
        self._forks = forks
        self._timed = timed

    def of(self, events: Iterable[Recorded], *, stat: bool, patch: bool) -> Iterator[str]:
        """The lines of events, with everything that they say and what turns took."""
        figures = TurnFigures()
        for fact in events:
            yield self._facts.line(fact, timed=self._timed, before=self._before(fact))
            if patch:
                yield from map(self._beside, self._facts.contents(fact))
            if stat and (took := figures.add(fact.type, self._facts.event(fact))):
                yield self._beside(click.style(f"        {took}", "yellow"))
            for name in (self._forks or {}).get(fact.version, ()):
                yield f"|\\ {click.style(fitted(name, width() - 4), 'magenta')}"

    def _before(self, fact: Recorded) -> str:
        if self._forks is None:
            return ""
        return "* " if fact.stream == self._facts.session else "o "

    def _beside(self, line: str) -> str:
        return line if self._forks is None else f"| {line}".rstrip()
