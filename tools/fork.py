"""``agent fork``: another way to go on."""

from __future__ import annotations

from pathlib import Path

import click

from agent.tools.completion import session_ids
from agent.tools.revisions import resolve
from agent.tools.source import db_option, reading, session_of
from agent.tools.terminal import visible


@click.command()
@click.argument("revision", shell_complete=session_ids)
@click.argument("session_id", required=False)
@db_option
def fork(*, revision: str, session_id: str | None, db: Path | None) -> None:
    """Branch off a new session at a revision.

    It shares the events up to REVISION. Its id is SESSION_ID, or a new one, and is written to
    stdout.

    \b
    Example:
      agent fork trip~1 trip-osaka
    """  # noqa: D301 - click's mark for lines that stay as they are
    with reading(db) as store:
        place = resolve(store.log, revision)
        child = session_of(store, place.session).fork(session_id, at=place.version)
        click.echo(visible(child.session_id))
