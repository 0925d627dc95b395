"""What a command writes: lines for people, through a pager on a terminal, or JSON for programs."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from itertools import chain
from typing import Any, Literal, TypeVar

import click

from agent.tools.terminal import is_coloured, one_line, visible

Form = Literal["text", "json", "nl"]
F = TypeVar("F", bound=Callable[..., Any])

_PIPED_WIDTH = 120


def output_options(command: F) -> F:
    """Let a command take ``--json``, ``--nl`` and ``--no-pager``: ``form`` and ``pager``."""
    for option in (
        click.option("--no-pager", "pager", flag_value=False, default=True, help="Never page."),
        click.option("--nl", "form", flag_value="nl", help="One JSON object a line."),
        click.option("--json", "form", flag_value="json", default="text", help="One document."),
    ):
        command = option(command)
    return command


def write_json(schema: str, name: str, items: Iterable[Mapping[str, Any]], form: Form) -> None:
    """Write items as JSON: one document with a list, or each on a line of its own.

    ``schema`` names the shape of both and its version, such as ``agent.log/1``.
    """
    if form == "nl":
        for item in items:
            click.echo(_json({"schema": schema, **item}))
        return
    click.echo(f'{{"schema": {_json(schema)}, {_json(name)}: [', nl=False)
    between = "\n"
    for item in items:
        click.echo(f"{between}{_json(item)}", nl=False)
        between = ",\n"
    click.echo("\n]}")


def write_document(schema: str, document: Mapping[str, Any]) -> None:
    """Write one thing as JSON."""
    click.echo(_json({"schema": schema, **document}))


def _json(value: object) -> str:
    # Escapes beyond ASCII too: nothing that a terminal obeys is ever in it.
    return json.dumps(value)


def write_lines(lines: Iterable[str], *, pager: bool = True) -> None:
    """Write lines, through a pager if stdout is a terminal; colours only where they are wanted."""
    coloured = is_coloured(sys.stdout)
    if pager and sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        _page(iter(lines), coloured=coloured)
        return
    for line in lines:
        click.echo(line, color=coloured)
        if sys.stdout.isatty():
            sys.stdout.flush()


def _page(lines: Iterator[str], *, coloured: bool) -> None:
    """Give lines to the pager as they come; none is started for nothing."""
    first = next(lines, None)
    if first is not None:
        os.environ.setdefault("LESS", "FRX")
        # The end of the last line is click's.
        click.echo_via_pager(chain((first,), (f"\n{line}" for line in lines)), color=coloured)


def width() -> int:
    """The columns of a line: COLUMNS, or those of the terminal; 120 where there is none."""
    return shutil.get_terminal_size((_PIPED_WIDTH, 24)).columns


def fitted(text: str, columns: int) -> str:
    """Recorded text in one line that takes no more than so many columns, and harms no terminal."""
    if len(text) <= columns and text.isascii() and text.isprintable():
        return " ".join(text.split())
    from rich.cells import cell_len, set_cell_size  # noqa: PLC0415 - slow to import

    line = one_line(text[: columns * 4 + 200])
    if cell_len(line) <= columns and len(text) <= columns * 4 + 200:
        return line
    return set_cell_size(line, max(columns - 1, 0)).rstrip() + "…"


def indented(text: str, by: str = "    ") -> Iterator[str]:
    """Recorded text, line by line, harmless and moved to the right."""
    for line in visible(text).split("\n"):
        yield f"{by}{line}".rstrip()


def counted(number: int, noun: str) -> str:
    """So many of something, in words."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def local_time(time: datetime) -> str:
    """A time as people read it, in their own time zone."""
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S")
