"""``agent stats``: what sessions took."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from agent.tools.grid import grid_lines
from agent.tools.output import Form, output_options, write_json, write_lines
from agent.tools.revisions import resolve
from agent.tools.source import db_option, reading
from agent.tools.tables import current_tables

if TYPE_CHECKING:
    from agent.projections.tables.tables import Tables

Figures = dict[str, Any]

_TURNS = """
SELECT {group} AS name, count(*) AS turns, coalesce(sum(status = 'failed'), 0) AS failed_turns
FROM (SELECT *, started AS time FROM turns) e JOIN origins o ON o.id = e.session
WHERE {within} GROUP BY 1"""

_CALLS = """
SELECT name, count(*) AS model_calls, coalesce(sum(status = 'failed'), 0) AS failures,
  coalesce(sum(attempt > 1), 0) AS retries,
  coalesce(sum(input_tokens), 0) AS input_tokens, coalesce(sum(output_tokens), 0) AS output_tokens,
  coalesce(sum(cached_tokens), 0) AS cached_tokens,
  coalesce(sum(reasoning_tokens), 0) AS reasoning_tokens,
  sum(dollars) AS cost, coalesce(sum(input_tokens IS NOT NULL AND dollars IS NULL), 0) AS unpriced
FROM (
  SELECT {group} AS name, e.*, cost(provider, model, input_tokens, output_tokens, cached_tokens,
    cache_write_tokens) AS dollars
  FROM model_calls e JOIN origins o ON o.id = e.session WHERE {within}
) GROUP BY 1"""

_TOOLS = """
SELECT name, count(*) AS tool_calls, coalesce(sum(is_error), 0) AS tool_errors,
  min(CASE WHEN place >= 0.5 * timed THEN elapsed END) AS p50,
  min(CASE WHEN place >= 0.95 * timed THEN elapsed END) AS p95
FROM (
  SELECT {group} AS name, e.*,
    CASE WHEN elapsed IS NOT NULL THEN row_number() OVER (
      PARTITION BY {group}, elapsed IS NULL ORDER BY elapsed) END AS place,
    count(elapsed) OVER (PARTITION BY {group}) AS timed
  FROM tool_calls e JOIN origins o ON o.id = e.session WHERE {within}
) GROUP BY 1"""

_WITHIN = (
    "(:session IS NULL OR (o.key = :session AND o.deleted = 0)) "
    "AND (:since IS NULL OR e.time >= :since) "
    "AND (:until IS NULL OR substr(e.time, 1, length(:until)) <= :until)"
)

_GROUPS = {
    "all": "''",
    "model": "coalesce(provider || ' ' || model, '(unknown)')",
    "day": "substr(e.time, 1, 10)",
    "session": "o.key || CASE o.deleted WHEN 1 THEN ' (deleted)' ELSE '' END",
    "tool": "tool",
}
_ABOUT_MODELS = {
    "model_calls": "calls",
    "failures": "failed",
    "retries": "retries",
    "input_tokens": "in",
    "output_tokens": "out",
    "cached_tokens": "cached",
    "reasoning_tokens": "reasoning",
    "cost": "cost",
    "unpriced": "no price",
}
_ABOUT_TOOLS = {"tool_calls": "tool calls", "tool_errors": "errors", "p50": "p50", "p95": "p95"}
_TURN_COLUMNS = {"turns": "turns", "failed_turns": "failed turns"}
_COLUMNS = {
    "all": {**_TURN_COLUMNS, **_ABOUT_MODELS, **_ABOUT_TOOLS},
    "model": _ABOUT_MODELS,
    "day": {**_TURN_COLUMNS, **_ABOUT_MODELS, **_ABOUT_TOOLS},
    "session": {**_TURN_COLUMNS, **_ABOUT_MODELS, **_ABOUT_TOOLS},
    "tool": _ABOUT_TOOLS,
}
_UNTOLD = {"cost", "p50", "p95"}
"""Figures that are not there, rather than 0, where nothing tells them."""

_TIME = re.compile(r"\d{4}(-\d\d(-\d\d(T\d\d(:\d\d(:\d\d)?)?)?)?)?")


class _Time(click.ParamType[str]):
    name = "time"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not _TIME.fullmatch(value):
            self.fail("write it as 2026-11-26 or 2026-11-26T09:30, in UTC", param, ctx)
        return value


@click.command()
@click.argument("session", required=False)
@db_option
@click.option("--since", type=_Time(), metavar="TIME", help="From then on; UTC.")
@click.option("--until", type=_Time(), metavar="TIME", help="Until then, that day included; UTC.")
@click.option("--by", type=click.Choice([*_GROUPS][1:]), help="One row for each.")
@output_options
def stats(
    *,
    session: str | None,
    db: Path | None,
    since: str | None,
    until: str | None,
    by: str | None,
    form: Form,
    pager: bool,
) -> None:
    """Say what sessions took: calls, tokens, cost, tools and times.

    All sessions of a log, or SESSION without what it inherited: what forks share is counted once,
    where it happened. Costs are in US dollars at the prices of today, and times in seconds.

    \b
    Examples:
      agent stats --by model --since 2026-11
      agent stats trip
    """  # noqa: D301 - click's mark for lines that stay as they are
    kind = by or "all"
    with reading(db) as store:
        asked = resolve(store.log, session).session if session is not None else None
        with current_tables(store) as tables:
            within = {"session": asked, "since": since, "until": until}
            groups = _figures(tables, kind, within)
    if form == "text":
        write_lines(_lines(kind, groups), pager=pager)
    else:
        rows = ({"name": name or None, **figures} for name, figures in groups.items())
        write_json("agent.stats/1", "groups", rows, form)


def _figures(tables: Tables, kind: str, within: Mapping[str, str | None]) -> dict[str, Figures]:
    """What was asked for, by the name of the group."""
    columns = _COLUMNS[kind]
    empty = {column: None if column in _UNTOLD else 0 for column in columns}
    found: dict[str, Figures] = {"": {**empty}} if kind == "all" else {}
    for query, first in ((_TURNS, "turns"), (_CALLS, "model_calls"), (_TOOLS, "tool_calls")):
        if first not in columns:
            continue
        text = query.format(group=_GROUPS[kind], within=_WITHIN)
        for row in tables.sql(text, within, seconds=math.inf):
            found.setdefault(row.pop("name"), {**empty}).update(row)
    return dict(sorted(found.items()))


def _lines(kind: str, groups: Mapping[str, Figures]) -> Iterator[str]:
    if kind == "all":
        return grid_lines(["", ""], [*_summary(groups[""])], numbers=[False, False])
    columns = _COLUMNS[kind]
    rows = [
        [name, *(_said(column, figures[column]) for column in columns)]
        for name, figures in groups.items()
    ]
    return grid_lines([kind, *columns.values()], rows, numbers=[False, *[True] * len(columns)])


def _summary(total: Figures) -> Iterator[list[str]]:
    said = {column: _said(column, value) for column, value in total.items()}
    calls = "{model_calls}, {failures} failed, {retries} retried"
    tokens = "{input_tokens} in ({cached_tokens} cached), {output_tokens} out"
    yield ["turns", "{turns}, {failed_turns} failed".format_map(said)]
    yield ["model calls", calls.format_map(said)]
    yield ["tokens", (tokens + " ({reasoning_tokens} reasoning)").format_map(said)]
    yield ["cost", _cost(said)]
    yield ["tool calls", "{tool_calls}, {tool_errors} failed".format_map(said)]
    if total["p50"] is not None:
        yield ["tool times", "half within {p50} s, 95 % within {p95} s".format_map(said)]


def _cost(said: Mapping[str, str]) -> str:
    unpriced = f"{said['unpriced']} calls have no price" if said["unpriced"] != "0" else ""
    return ", ".join(filter(None, (said["cost"], unpriced))) or "none"


def _said(column: str, value: float | None) -> str:
    if value is None:
        return ""
    if column == "cost":
        return f"${value:,.4f}"
    return f"{value:.3f}" if column in ("p50", "p95") else f"{value:,}"
