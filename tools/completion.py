"""What the shell may complete: the ids of sessions."""

from __future__ import annotations

import os
from pathlib import Path

import click

from agent.tools.source import default_path, reading
from agent.tools.terminal import visible


def session_ids(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """The ids that begin so, of the log that the command would read. Never fails, never writes.

    Ids that would not come back from a shell as they are are left out.
    """
    named = ctx.params.get("db") or os.environ.get("AGENT_DB")
    try:
        with reading(Path(named) if named else default_path()) as store:
            ids = [info.stream for info in store.log.streams()]
    except Exception:  # noqa: BLE001 - a shell that waits for words is told of no error
        return []
    return [name for name in ids if name.startswith(incomplete) and _is_plain(name)]


def _is_plain(name: str) -> bool:
    return name == visible(name) and not any(letter.isspace() for letter in name)
