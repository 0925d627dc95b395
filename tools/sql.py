"""``agent sql``: a log, asked by SQL."""

from __future__ import annotations

import csv
import io
import math
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from agent.projections.tables.errors import QueryFailed
from agent.tools.exits import Refused
from agent.tools.grid import grid_lines
from agent.tools.output import Form, output_options, write_json, write_lines
from agent.tools.source import db_option, reading
from agent.tools.tables import current_tables
from agent.tools.terminal import one_line, visible

if TYPE_CHECKING:
    from agent.projections.tables.tables import Answer, Tables

_LISTED = """
SELECT s.name, s.type, group_concat(c.name, ', ') AS columns
FROM sqlite_schema s JOIN pragma_table_info(s.name) c
WHERE s.type IN ('table', 'view') AND s.name NOT LIKE 'search%' AND s.name NOT LIKE 'sqlite%'
GROUP BY s.name ORDER BY s.type DESC, s.name"""

_NEAR = re.compile(r'near "(.+)": syntax error', re.DOTALL)
_UNKNOWN = re.compile(r"no such (?:column|table|function): (?:\w+\.)*(.+)", re.DOTALL)


@click.command()
@click.argument("query", required=False)
@db_option
@click.option("--table", "form", flag_value="text", help="A table; so it is by default.")
@click.option("--csv", "form", flag_value="csv", help="Comma-separated values.")
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds that the query may take.",
)
@output_options
def sql(
    *,
    query: str | None,
    db: Path | None,
    form: Form | Literal["csv"],
    timeout: float,
    pager: bool,
) -> None:
    """Ask a log by SQL, or list what can be asked.

    QUERY is one statement of SQLite over the tables of all sessions; - reads it from stdin.
    Without one, tables, views and their columns are listed. cost(provider, model, input_tokens,
    output_tokens, cached_tokens, cache_write_tokens) is in US dollars. Nothing can be changed.

    \b
    Examples:
      agent sql
      agent sql "SELECT day, model, calls, output_tokens FROM usage" --csv
    """  # noqa: D301 - click's mark for lines that stay as they are
    text = sys.stdin.read() if query == "-" else query or _LISTED
    with reading(db) as store, current_tables(store) as tables:
        try:
            answer = tables.ask(text, seconds=timeout)
        except QueryFailed as error:
            raise Refused(_explained(tables, text, error)) from error
    if form == "csv":
        _write_csv(answer)
    elif form == "text":
        write_lines(_lines(answer), pager=pager)
    else:
        write_json("agent.sql/1", "rows", _objects(answer), form)


def _lines(answer: Answer) -> Iterator[str]:
    numbers = [
        all(isinstance(cell, int | float | None) for cell in column)
        for column in zip(*answer.rows, strict=True)
    ]
    rows = [[_text(cell) for cell in row] for row in answer.rows]
    return grid_lines(answer.columns, rows, numbers=numbers or [False] * len(answer.columns))


def _text(cell: object) -> str:
    return "" if cell is None else cell.hex() if isinstance(cell, bytes) else str(cell)


def _write_csv(answer: Answer) -> None:
    """Write values as they are to a file or pipe, and harmless to a terminal."""
    shown = visible if sys.stdout.isatty() else str
    for row in (answer.columns, *answer.rows):
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow([shown(_text(cell)) for cell in row])
        click.echo(line.getvalue(), nl=False)


def _objects(answer: Answer) -> Iterator[dict[str, Any]]:
    names = _distinct(answer.columns)
    for row in answer.rows:
        yield dict(zip(names, map(_value, row), strict=True))


def _distinct(columns: Iterable[str]) -> list[str]:
    """The names of columns; one that comes again gets a number, as SQLite's own shell does it."""
    names: list[str] = []
    for column in columns:
        name, number = column, 0
        while name in names:
            number += 1
            name = f"{column}:{number}"
        names.append(name)
    return names


def _value(cell: object) -> object:
    if isinstance(cell, bytes):
        return cell.hex()
    return str(cell) if isinstance(cell, float) and not math.isfinite(cell) else cell


def _explained(tables: Tables, query: str, error: QueryFailed) -> str:
    """What is wrong with a query, and below it the line and place, where that is known."""
    place = _place(tables, query, error.reason)
    words = one_line(str(error))
    if place is None:
        return words
    start = query.rfind("\n", 0, place) + 1
    line = query[start:].split("\n", 1)[0].expandtabs(1)
    return f"{words}\n    {visible(line)}\n    {' ' * (place - start)}^"


def _place(tables: Tables, query: str, reason: str) -> int | None:
    """Where a query is wrong: SQLite names the word, which may be there several times."""
    if unknown := _UNKNOWN.fullmatch(reason):
        found = re.search(rf"(?<!\w){re.escape(unknown[1])}(?!\w)", query, re.IGNORECASE)
        return found.start() if found else None
    near = _NEAR.fullmatch(reason)
    if near is None:
        return len(query.rstrip()) if reason == "incomplete input" else None
    for found in re.finditer(re.escape(near[1]), query):
        try:
            tables.ask(f"EXPLAIN {query[: found.end()]}")
        except QueryFailed as error:
            if error.reason == reason:
                return found.start()
    return None
