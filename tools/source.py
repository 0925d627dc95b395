"""Which log a command reads: ``--db``, else ``AGENT_DB``, else that of ``agent chat``."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from agent.tools.exits import NotFound

if TYPE_CHECKING:
    from agent.engine.session import Session
    from agent.engine.stores import SQLiteStore
    from agent.eventstore.backends.sqlite import SQLiteLog

db_option = click.option(
    "--db",
    "-d",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="AGENT_DB",
    show_envvar=True,
    help=f"File that keeps the sessions.  [default: {click.get_app_dir('agent')}/sessions.db]",
)


def path_of(db: Path | None) -> Path:
    """The file that a command works with."""
    return db or default_path()


def default_path() -> Path:
    """The log of whoever names none."""
    return Path(click.get_app_dir("agent")) / "sessions.db"


def made_default() -> Path:
    """The same, in a folder that is there."""
    path = default_path()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        words = f"cannot make the folder {path.parent} ({error.strerror}); name a file with --db"
        raise click.ClickException(words) from error
    return path


@contextmanager
def reading(db: Path | None) -> Generator[SQLiteStore]:
    """The store over a log that is there already. Nothing is ever made.

    Raises :class:`NotFound` for a missing file and for an empty one, which a store would fill.
    """
    path = _existing(db)
    from agent.engine.stores import SQLiteStore  # noqa: PLC0415 - slow to import

    with SQLiteStore(path) as store:
        yield store


@contextmanager
def reading_log(db: Path | None) -> Generator[SQLiteLog]:
    """The log alone, for what needs no store. Raises as :func:`reading`."""
    path = _existing(db)
    from agent.eventstore.backends.sqlite import SQLiteLog  # noqa: PLC0415 - slow to import

    with closing(SQLiteLog(path)) as log:
        yield log


def _existing(db: Path | None) -> Path:
    path = path_of(db)
    if not path.exists():
        hint = "" if db else "; name another file with --db or AGENT_DB"
        raise NotFound(f"there is no log {path}{hint}")
    if not path.stat().st_size:
        raise NotFound(f"{path} is an empty file, and no log yet")
    return path


def session_of(store: SQLiteStore, name: str) -> Session:
    """A session to look at or to change by hand. No model stands behind it."""
    from agent.engine.agent import Agent  # noqa: PLC0415 - slow to import
    from agent.engine.scripted import ScriptedModel  # noqa: PLC0415

    return Agent(ScriptedModel([]), store=store).session(name)
