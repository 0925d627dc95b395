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

    from agent.eventstore.findings import Level, Verification

_STEP = 512
"""Pages that are copied at once."""

_OFTEN = 256
"""Events from one call of ``progress`` to the next."""


def backup_log(
    log: SQLiteLog,
    path: str | os.PathLike[str],
    *,
    level: Level = "heads",
    progress: Callable[[int, int], object] | None = None,
) -> Verification:
    """Copy a log, as it is now, to a new file; answers how the copy was verified.

    Others go on writing meanwhile. The copy gets its name once it is whole, verified and flushed.
    ``progress`` is told bytes, of twice those of the copy, which is read once more. Raises
    :class:`CorruptLog` for a log that is damaged, :class:`StoreUnusable` for a ``path`` that is
    taken or cannot be made, :class:`StoreFull`.
    """
    with new_file(path) as made:
        with log.snapshot() as source, translated(os.fsdecode(path)):
            last = _copy(source, made, progress)
        size = made.stat().st_size

        def reached(position: int) -> None:
            if progress and (position % _OFTEN == 0 or position == last):
                progress(size + size * position // last, 2 * size)

        with closing(SQLiteLog(made)) as copy:
            found = verify_log(copy, level=level, progress=reached)
        for finding in found.findings:
            raise CorruptLog(finding.reason, stream=finding.stream, version=finding.version)
    return found


def _copy(
    source: sqlite3.Connection, made: Path, progress: Callable[[int, int], object] | None
) -> int:
    """Copy a snapshot; answers the position of its last event."""
    (size,) = source.execute("PRAGMA page_size").fetchone()
    (_, _, file) = source.execute("PRAGMA database_list").fetchone()

    def told(_status: int, remaining: int, total: int) -> None:
        if progress:
            progress((total - remaining) * size, 2 * total * size)

    with closing(sqlite3.connect(made)) as target:
        source.backup(target, pages=_STEP, progress=told)
    if file:
        shutil.copymode(os.fsdecode(file), made)
    return source.execute("SELECT coalesce(max(position), 0) FROM events").fetchone()[0]
