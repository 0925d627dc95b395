"""Rows under the names of their columns: a drawn table on a terminal, else aligned text."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from agent.tools.output import width
from agent.tools.terminal import console, one_line


def grid_lines(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[bool]
) -> Iterator[str]:
    """The lines of a grid of recorded text. ``numbers`` says which columns are set to the right.

    Drawn cells are folded to the width of the terminal; elsewhere each row is one line.
    """
    if sys.stdout.isatty():
        return _drawn(columns, rows, numbers)
    return _aligned(columns, rows, numbers)


def _drawn(
    columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[bool]
) -> Iterator[str]:
    from rich import box  # noqa: PLC0415 - slow to import
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=box.ROUNDED, header_style="cyan", show_header=any(columns))
    for name, number in zip(columns, numbers, strict=True):
        justify = "right" if number else "left"
        table.add_column(Text(one_line(name)), justify=justify, overflow="fold")
    for row in rows:
        table.add_row(*(Text(one_line(cell)) for cell in row))
    screen = console(sys.stdout)
    screen.width = width()
    with screen.capture() as captured:
        screen.print(table)
    yield from captured.get().splitlines()


def _aligned(
    columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[bool]
) -> Iterator[str]:
    from rich.cells import cell_len  # noqa: PLC0415 - slow to import

    head = [columns] if any(columns) else []
    lines = [[one_line(cell) for cell in row] for row in (*head, *rows)]
    widths = [max(map(cell_len, column), default=0) for column in zip(*lines, strict=True)]
    for line in lines:
        cells: list[str] = []
        for cell, wide, number in zip(line, widths, numbers, strict=True):
            space = " " * (wide - cell_len(cell))
            cells.append(space + cell if number else cell + space)
        yield "  ".join(cells).rstrip()
