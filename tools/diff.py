"""``agent diff``: how two states of sessions differ."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from agent.tools import exits
from agent.tools.completion import session_ids
from agent.tools.output import Form, indented, output_options, write_document, write_lines
from agent.tools.revisions import Place, resolve, resolve_span
from agent.tools.source import db_option, reading
from agent.tools.terminal import one_line, visible
from agent.tools.words import part_text

if TYPE_CHECKING:
    from agent.eventstore.log import EventLog
    from agent.eventstore.values import Usage
    from agent.projections.diff import Changed, Difference, Placed

T = TypeVar("T")


@click.command()
@click.argument("before", shell_complete=session_ids)
@click.argument("after", shell_complete=session_ids, required=False)
@db_option
@output_options
def diff(*, before: str, after: str | None, db: Path | None, form: Form, pager: bool) -> None:
    """Show what differs between two revisions.

    BEFORE and AFTER are sessions or versions of them; alone, BEFORE is a range such as trip@4..9,
    or is compared with its session as it is now. The exit status is 1 if anything differs.

    \b
    Examples:
      agent diff trip trip-osaka
      agent diff trip~1
    """  # noqa: D301 - click's mark for lines that stay as they are
    with reading(db) as store:
        from agent.tools.states import view_at  # noqa: PLC0415 - slow to import

        one, two = _places(store.log, before, after)
        found = view_at(store.log, one).diff(view_at(store.log, two))
        if form == "text":
            write_lines(_lines(found, one, two) if found else (), pager=pager)
        else:
            write_document("agent.diff/1", _fields(found, one, two))
    if found:
        sys.stdout.flush()
        sys.exit(exits.DIFFERENT)


def _places(log: EventLog, before: str, after: str | None) -> tuple[Place, Place]:
    if after is not None:
        return resolve(log, before), resolve(log, after)
    if ".." in before and log.head(before) is None:
        session, first, last = resolve_span(log, before)
        return Place(session, first), Place(session, last)
    place = resolve(log, before)
    return place, resolve(log, place.session)


def _fields(found: Difference, one: Place, two: Place) -> dict[str, Any]:
    from agent.tools.states import plain, turn_fields, usage_fields  # noqa: PLC0415 - slow to import

    turn = found.turn
    turns = turn and {"before": turn_fields(turn.before), "after": turn_fields(turn.after)}
    spent = found.usage
    usage = spent and {"before": usage_fields(spent.before), "after": usage_fields(spent.after)}
    return {
        "before": str(one),
        "after": str(two),
        "different": bool(found),
        **plain(msgspec.structs.replace(found, turn=None, usage=None)),
        "usage": usage,
        "turn": turns,
    }


def _lines(found: Difference, one: Place, two: Place) -> Iterator[str]:
    yield click.style(f"--- {one_line(str(one))}", bold=True)
    yield click.style(f"+++ {one_line(str(two))}", bold=True)
    yield click.style(f"@@ the same up to version {found.ancestor} @@", "cyan")
    yield from _changes("system", found.system, lambda system: system)
    yield from _tools(found)
    yield from _changes("metadata", found.metadata, _json)
    for placed in found.removed:
        yield from map(_removed, _message(placed))
    for placed in found.added:
        yield from map(_added, _message(placed))
    yield from _changes("tokens", found.usage, _tokens)
    yield from _changes("open turn", found.turn, lambda turn: turn and f"begun at {turn.started}")


def _tools(found: Difference) -> Iterator[str]:
    if found.tools is None:
        return
    for tool in found.tools.removed:
        yield _removed(f"tool {tool.name}")
    for tool in found.tools.added:
        yield _added(f"tool {tool.name}")
    for change in found.tools.changed:
        yield from _changes("tool", change, _json)


def _changes(name: str, change: Changed[T] | None, say: Callable[[T], str | None]) -> Iterator[str]:
    if change is None:
        return
    for value, mark in ((change.before, _removed), (change.after, _added)):
        text = say(value)
        if text is not None:
            yield from (mark(f"{name}: {line}") for line in visible(text).split("\n"))


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _tokens(usage: Usage) -> str:
    return f"{usage.input_tokens:,} in, {usage.output_tokens:,} out"


def _message(placed: Placed) -> Iterator[str]:
    yield f"{placed.place}: {placed.message.role}"
    for part in placed.message.parts:
        yield from indented(part_text(part))


def _removed(line: str) -> str:
    return click.style(f"-{visible(line)}", "red")


def _added(line: str) -> str:
    return click.style(f"+{visible(line)}", "green")
