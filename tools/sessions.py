"""``agent sessions``: what there is in a log."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent.tools.output import (
    Form,
    fitted,
    local_time,
    output_options,
    width,
    write_json,
    write_lines,
)
from agent.tools.source import db_option, reading_log
from agent.tools.terminal import one_line

if TYPE_CHECKING:
    from agent.engine.listing import SessionInfo

_WIDEST_ID = 40


@click.command()
@db_option
@click.option("-n", "count", type=click.IntRange(0), help="No more than so many.")
@output_options
def sessions(*, db: Path | None, count: int | None, form: Form, pager: bool) -> None:
    """List the sessions of a log, the last changed first.

    Each with its id, its number of events, when it was last changed, what it was forked from, and
    its title. A damaged one is listed with what is wrong.

    \b
    Example:
      agent sessions -n 10
    """  # noqa: D301 - click's mark for lines that stay as they are
    from agent.engine.listing import listed  # noqa: PLC0415 - slow to import

    with reading_log(db) as log:
        known = sorted(listed(log), key=lambda one: one.updated, reverse=True)
        shown = list(islice(known, count))
        if form == "text":
            write_lines(_lines(shown), pager=pager)
        else:
            write_json("agent.sessions/1", "sessions", map(_fields, shown), form)


def _fields(info: SessionInfo) -> dict[str, Any]:
    return {
        "session": info.key,
        "version": info.version,
        "created": info.created.isoformat(),
        "updated": info.updated.isoformat(),
        "title": info.title,
        "parent": info.parent,
        "forked_at": info.forked_at,
        "error": str(info.error) if info.error else None,
    }


def _lines(listed: list[SessionInfo]) -> Iterator[str]:
    names = max((len(one_line(info.key)) for info in listed), default=0)
    columns = width()
    names = min(names, _WIDEST_ID, max(columns - 40, 8))
    for info in listed:
        name = fitted(info.key, names).ljust(names)
        head = f"{info.version:>7}  {local_time(info.updated)}"
        left = columns - names - len(head) - 4
        origin = f"from {info.parent}@{info.forked_at}" if info.parent else ""
        words = "  ".join(filter(None, (info.title, origin)))
        if info.error:
            words = f"DAMAGED: {info.error}"
        rest = fitted(words, max(left, 0)) if left > 0 else ""
        last = click.style(rest, "red") if info.error and rest else rest
        yield f"{click.style(name, 'cyan')}  {head}  {last}".rstrip()
