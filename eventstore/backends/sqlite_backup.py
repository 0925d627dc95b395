"""A copy of a log file that others write to meanwhile, by SQLite's own means."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from agent.eventstore.backends.sqlite import SQLiteLog
from agent.eventstore.backends.sqlite_connection import translated
from agent.eventstore.errors import CorruptLog
from agent.eventstore.files import new_file
from agent.eventstore.verify import verify_log

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.eventstore.verify import Level, Verification

_STEP = 512
"""Pages that are copied at once."""


def backup_log(
    log: SQLiteLog,
    path: str | os.PathLike[str],
    *,
    level: Level = "heads",
    progress: Callable[[int, int], object] | None = None,
) -> Verification:
    """Copy a log, as it is now, to a new file; answers how the copy was verified.

    Others go on writing meanwhile. The copy gets its name once it is whole, verified and flushed.
    ``progress`` is told bytes. Raises :class:`CorruptLog` for a log that is damaged,
    :class:`StoreUnusable` for a ``path`` that is taken or cannot be made, :class:`StoreFull`.
    """
    with new_file(path) as made:
        with log.snapshot() as source, translated(os.fsdecode(path)):
            _copy(source, made, progress)
        with closing(SQLiteLog(made)) as copy:
            found = verify_log(copy, level=level)
        for finding in found.findings:
            raise CorruptLog(finding.reason, stream=finding.stream, version=finding.version)
    return found


def _copy(
    source: sqlite3.Connection, made: Path, progress: Callable[[int, int], object] | None
) -> None:
    (size,) = source.execute("PRAGMA page_size").fetchone()
    (_, _, file) = source.execute("PRAGMA database_list").fetchone()

    def told(_status: int, remaining: int, total: int) -> None:
        if progress:
            progress((total - remaining) * size, total * size)

    with closing(sqlite3.connect(made)) as target:
        source.backup(target, pages=_STEP, progress=told)
    if file:
        shutil.copymode(os.fsdecode(file), made)
