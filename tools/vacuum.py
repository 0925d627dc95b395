"""``agent vacuum``: no byte is left of what was deleted or erased."""

from __future__ import annotations

from pathlib import Path

import click

from agent.tools.source import db_option, default_path, reading


@click.command()
@db_option
def vacuum(*, db: Path | None) -> None:
    """Write the file anew, without what was deleted or erased.

    Deleting and erasing leave old bytes in the pages of the file until then. Others may go on
    reading and writing. Needs room for a copy; how many bytes the file has then is written.

    \b
    Example:
      agent vacuum --db sessions.db
    """  # noqa: D301 - click's mark for lines that stay as they are
    with reading(db) as store:
        store.vacuum()
        size = (db or default_path()).stat().st_size
        click.echo(f"{size} bytes")
