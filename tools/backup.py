"""``agent backup``: a copy of a log that others write to meanwhile."""

from __future__ import annotations

from pathlib import Path

import click

from agent.tools.bar import bar
from agent.tools.source import db_option, reading
from agent.tools.terminal import one_line


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@db_option
@click.option(
    "--level",
    type=click.Choice(["heads", "chain", "full"]),
    default="heads",
    show_default=True,
    help="How much of the copy is verified: places, hashes, or contents too.",
)
def backup(*, file: Path, db: Path | None, level: str) -> None:
    """Copy a log to a new file while others write to it.

    The copy is as the log was when it began. It is verified and flushed to the disk before it
    gets its name. A file that is there already is never overwritten.

    \b
    Example:
      agent backup monday.db
    """  # noqa: D301 - click's mark for lines that stay as they are
    with reading(db) as store, bar("copying") as progress:
        made = store.backup(file, level=level, progress=progress)  # pyright: ignore[reportArgumentType] - one of the choices
    click.echo(f"{one_line(str(file))}: {made.streams} sessions, {made.events} events")
