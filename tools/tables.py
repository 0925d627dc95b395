"""The tables of a log for a command that asks them, brought up to date first."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from agent.eventstore.errors import StoreBusy, StoreFull, StoreUnusable
from agent.tools.bar import walk
from agent.tools.terminal import one_line

if TYPE_CHECKING:
    from agent.engine.stores import SQLiteStore
    from agent.projections.tables.tables import Tables


@contextmanager
def current_tables(store: SQLiteStore) -> Generator[Tables]:
    """The tables beside a log; where they cannot be written, others that end with the command."""
    store.log.head("-")  # which tells what is wrong with the log itself
    tables = store.tables()
    try:
        _catch_up(store, tables)
    except (StoreUnusable, StoreFull, StoreBusy) as error:
        words = f"{error}; the tables are made for this command alone"
        click.echo(one_line(words), err=True)
    else:
        yield tables
        return
    with TemporaryDirectory(prefix="agent-tables-") as folder:
        tables = store.tables(Path(folder, "tables.db"))
        _catch_up(store, tables)
        yield tables


def _catch_up(store: SQLiteStore, tables: Tables) -> None:
    with walk(store.log, "reading") as progress:
        tables.catch_up(progress=progress)
