"""``agent search``: where something was said."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent.projections.tables.errors import QueryFailed
from agent.tools import exits
from agent.tools.output import (
    Form,
    fitted,
    local_time,
    output_options,
    width,
    write_json,
    write_lines,
)
from agent.tools.revisions import resolve
from agent.tools.source import db_option, reading
from agent.tools.tables import current_tables
from agent.tools.terminal import is_coloured, one_line

if TYPE_CHECKING:
    from agent.projections.tables.searching import Hit, Kind

_PLACES: dict[str, tuple[Kind, ...]] = {
    "messages": ("system", "added", "summary", "input", "answer", "partial", "feedback"),
    "tool_calls": ("call",),
    "results": ("result",),
}
_MARKS = ("\ue000", "\ue001")
_FOUND = re.compile(r"\ue000([^\ue000\ue001]*)\ue001?")
_NARROWEST = 16
"""Columns of text without which a line has no time."""


@click.command()
@click.argument("words", nargs=-1, required=True)
@db_option
@click.option("--in", "places", multiple=True, type=click.Choice([*_PLACES]), help="Only there.")
@click.option("--session", metavar="SESSION", help="Only in this one, inherited texts included.")
@click.option("-n", "count", type=click.IntRange(1), default=20, show_default=True, help="At most.")
@click.option("--fts", is_flag=True, help="WORDS are a query of SQLite's FTS5.")
@output_options
def search(
    *,
    words: tuple[str, ...],
    db: Path | None,
    places: tuple[str, ...],
    session: str | None,
    count: int,
    fts: bool,
    form: Form,
    pager: bool,
) -> None:
    """Find where something was said, the newest places first.

    All WORDS have to be there, in messages, arguments of tool calls or results; case and accents
    do not matter. "In quotes" is a phrase, and sun* the beginning of a word. The exit status is 1
    if nothing is found.

    \b
    Examples:
      agent search kyoto sunny
      agent search '"where do we"' --in messages --session trip
    """  # noqa: D301 - click's mark for lines that stay as they are
    kinds: list[Kind] = [kind for place in places or _PLACES for kind in _PLACES[place]]
    with reading(db) as store:
        asked = resolve(store.log, session).session if session is not None else None
        with current_tables(store) as tables:
            try:
                hits = tables.search(
                    " ".join(words), kind=kinds, session=asked, limit=count, marks=_MARKS, raw=fts
                )
            except QueryFailed as error:
                raise exits.Refused(one_line(str(error))) from error
    if form == "text":
        write_lines(_lines(hits), pager=pager)
    else:
        write_json("agent.search/1", "hits", map(_fields, hits), form)
    if not hits:
        sys.exit(exits.DIFFERENT)


def _fields(hit: Hit) -> dict[str, Any]:
    return {
        "session": hit.session,
        "version": hit.version,
        "turn": hit.turn,
        "kind": hit.kind,
        "role": hit.role,
        "tool": hit.tool,
        "recorded_at": _time(hit).isoformat(),
        "snippet": _FOUND.sub(r"\1", hit.snippet),
    }


def _lines(hits: list[Hit]) -> Iterator[str]:
    coloured = is_coloured(sys.stdout)
    places = [one_line(f"{hit.session}@{hit.version}") for hit in hits]
    widest = min(max(map(len, places), default=0), 40)
    for place, hit in zip(places, hits, strict=True):
        who = f"calls {hit.tool}" if hit.kind == "call" else hit.role
        head, time = f"{fitted(who, 20):9}  ", f"{local_time(_time(hit))}  "
        left = width() - max(widest, len(place)) - len(head) - 2
        if left - len(time) >= _NARROWEST:
            head, left = time + head, left - len(time)
        text = fitted(hit.snippet, max(left, 1))
        said = _FOUND.sub(lambda found: _highlighted(found[1], coloured=coloured), text)
        yield f"{click.style(place.ljust(widest), 'cyan')}  {head}{said}"


def _highlighted(text: str, *, coloured: bool) -> str:
    return click.style(text, "red", bold=True) if coloured else f"[{text}]"


def _time(hit: Hit) -> datetime:
    return datetime.fromtimestamp(hit.recorded_at / 1e9, UTC)
