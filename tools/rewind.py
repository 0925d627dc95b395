"""``agent rewind``: back to what a session showed."""

from __future__ import annotations

from pathlib import Path

import click

from agent.tools.completion import session_ids
from agent.tools.revisions import resolve
from agent.tools.source import db_option, reading, session_of
from agent.tools.terminal import visible


@click.command()
@click.argument("revision", shell_complete=session_ids)
@db_option
def rewind(*, revision: str, db: Path | None) -> None:
    """Let a session show again what it showed at a revision.

    Its history, system prompt and tools are then those of REVISION. The log keeps everything. The
    revision at which the session is now is written to stdout.

    \b
    Example:
      agent rewind trip~1
    """  # noqa: D301 - click's mark for lines that stay as they are
    with reading(db) as store:
        place = resolve(store.log, revision)
        session = session_of(store, place.session)
        session.rewind(place.version)
        click.echo(visible(f"{place.session}@{session.version}"))
