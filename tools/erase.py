"""``agent erase``: what was said is gone, and that it happened stays."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent.tools import exits
from agent.tools.facts import Facts
from agent.tools.output import counted, write_document
from agent.tools.revisions import Span, parse, resolve, resolve_span
from agent.tools.source import db_option, reading
from agent.tools.terminal import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.eventstore.erasing import Plan
    from agent.eventstore.log import EventLog

_SHOWN = 20


@click.command()
@click.argument("revisions", nargs=-1, required=True)
@click.option("--reason", required=True, help="Why; it stays in the log.")
@click.option("--all", "whole", is_flag=True, help="All that the session says.")
@click.option("--forks", is_flag=True, help="Also from the forks that share it.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Show what would be erased, and of whom.")
@click.option("--no-vacuum", is_flag=True, help="Leave the bytes in the file until later.")
@click.option("--json", "as_json", is_flag=True, help="One document.")
@db_option
def erase(
    *,
    revisions: tuple[str, ...],
    reason: str,
    whole: bool,
    forks: bool,
    yes: bool,
    dry_run: bool,
    no_vacuum: bool,
    as_json: bool,
    db: Path | None,
) -> None:
    """Erase what events say, for good.

    REVISIONS name single events (trip@6) or ranges (trip@4..12) of one session, or with --all the
    session. That they happened stays, and the chain of hashes verifies. What would be erased, and
    which forks share it, is shown on stderr first; on a terminal you are asked.

    \b
    Example:
      agent erase trip@3 --reason "asked by the person"
    """  # noqa: D301 - click's mark for lines that stay as they are
    from agent.eventstore.erasing import plan  # noqa: PLC0415 - slow to import

    with reading(db) as store:
        session, versions = _named(store.log, revisions, whole=whole)
        wanted = plan(store.log, session, versions)
        _announce(store.log, wanted)
        if dry_run:
            return
        forks = _confirm(wanted, forks=forks, yes=yes)
        found = store.erase(session, versions, reason=reason, forks=forks, vacuum=not no_vacuum)
        if as_json:
            fields = {"session": session, "versions": found.versions, "forks": found.forks}
            write_document("agent.erase/1", {**fields, "vacuumed": found.vacuumed})
        else:
            head = store.log.head(session)
            click.echo(one_line(f"{session}@{head.version if head else 0}"))


def _named(
    log: EventLog, revisions: Sequence[str], *, whole: bool
) -> tuple[str, Sequence[int] | None]:
    """The session, and the versions that are to be erased; None for all."""
    if whole:
        if len(revisions) > 1:
            raise click.UsageError("--all erases one session at a time")
        return resolve(log, revisions[0]).session, None
    spans = [_span(log, text) for text in revisions]
    if len({span.session for span in spans}) > 1:
        raise click.UsageError("these are events of several sessions; erase one after the other")
    versions = {version for span in spans for version in _versions(log, span)}
    return spans[0].session, sorted(versions)


def _span(log: EventLog, text: str) -> Span:
    if ".." in text:
        return resolve_span(log, text)
    named = parse(text)
    if named is None or named.version is None or log.head(text) is not None:
        hint = "trip@6 for an event, trip@4..12 for a range, or all of the session with --all"
        raise click.UsageError(
            f"{one_line(text)!r} names a session, not what to erase of it: {hint}"
        )
    place = resolve(log, text)
    return Span(place.session, place.version - 1, place.version)


def _versions(log: EventLog, span: Span) -> list[int]:
    """The events of a range that have something to lose; a single one is taken at its word."""
    from agent.eventstore.erasing import left_of  # noqa: PLC0415 - slow to import

    if span.until - span.after == 1:
        return [span.until]
    found = log.read(span.session, after=span.after, until=span.until)
    return [fact.version for fact in found if left_of(fact) is not None]


def _announce(log: EventLog, wanted: Plan) -> None:
    """Show what would be erased, and who shares it."""
    facts = Facts(wanted.stream)
    for one in wanted.erasures[:_SHOWN]:
        for fact in log.read(wanted.stream, after=one.version - 1, until=one.version):
            click.echo(facts.line(fact, timed=False), err=True)
    if len(wanted.erasures) > _SHOWN:
        click.echo(f"and {len(wanted.erasures) - _SHOWN} more", err=True)
    for name, (_, shared) in wanted.forks.items():
        click.echo(one_line(f"shared: {name} has {shared} of these events"), err=True)


def _confirm(wanted: Plan, *, forks: bool, yes: bool) -> bool:
    """Whether forks may lose it too; ends the command where nobody says that it is meant."""
    if yes and (forks or not wanted.forks):
        return forks
    if not sys.stdin.isatty():
        missing = "--yes" if not wanted.forks else "--yes --forks"
        raise exits.Undecided(f"nothing was erased: say that it is meant with {missing}")
    also = f", and of {counted(len(wanted.forks), 'fork')}" if wanted.forks else ""
    events = counted(len(wanted.erasures), "event")
    question = f"Erase {events} of {one_line(wanted.stream)}{also}, for good?"
    if not click.confirm(question, err=True):
        raise exits.Undecided("nothing was erased")
    return True
