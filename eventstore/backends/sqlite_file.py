"""The file of a log as the operating system has it: what bears its name, what may be done to it."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from agent.eventstore.errors import StoreUnusable

MEMORY = ":memory:"
"""SQLite's name for no file at all."""

_RESOLUTION = 50_000_000
"""Nanoseconds: two changes of a folder that are further apart than this differ in its mtime."""


class LogFile:
    """The file of a log and those beside it, told from later ones of the same names.

    Nothing in a folder comes or goes without changing the folder's mtime, so that one ``stat``
    is enough as long as that stays the same.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._known: list[tuple[int, int] | None] | None = None

    def opened(self) -> None:
        """A connection is open now: remember to which files, if it is the first."""
        if self._known is not None or self.path == MEMORY:
            return
        file = _real(self.path)
        self._folder = os.path.dirname(file)  # noqa: PTH120 - Path would be built anew by each stat
        self._names = self.path, f"{file}-wal", f"{file}-shm"
        self._known = self._found()
        self._quiet = 0

    def forget(self) -> None:
        """No connection is open."""
        self._known = None

    def check(self) -> None:
        """Raise :class:`StoreUnusable` if what is written would be seen by nobody else."""
        if self._known is None:
            return
        try:
            changed = os.stat(self._folder).st_mtime_ns  # noqa: PTH116 - in every commit
        except OSError:
            changed = 0
        if changed and changed == self._quiet:
            return
        if self._found() != self._known:
            raise StoreUnusable(
                f"{self.path}, its -wal or -shm was moved, deleted or replaced while it was "
                "open, and nothing was written; put it back, or open the store again"
            )
        self._quiet = changed if time.time_ns() - changed > _RESOLUTION else 0

    def _found(self) -> list[tuple[int, int] | None]:
        return [_identity(name) for name in self._names]


def _identity(name: str) -> tuple[int, int] | None:
    try:
        found = os.stat(name)  # noqa: PTH116 - in every commit while the folder is changing
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _real(path: str) -> str:
    # SQLite follows links, and keeps the other files beside what they lead to.
    return os.path.realpath(path)


def is_archive(path: str) -> bool:
    """Whether a log can only be read as it lies there: it cannot be written, and is all one file.

    SQLite by itself wants to make files beside it even for reading.
    """
    file = Path(_real(path))
    return (
        file.is_file()
        and not (os.access(file, os.W_OK) and os.access(file.parent, os.W_OK))
        and not _has_wal(path)
    )


def _has_wal(path: str) -> bool:
    with suppress(OSError):
        return Path(_real(path) + "-wal").stat().st_size > 0
    return False


def archive_uri(path: str) -> str:
    """The name by which SQLite opens an archive."""
    return Path(path).as_uri() + "?mode=ro&immutable=1"


def obstacle(path: str) -> str:
    """Why a file may not have been opened, and what to do about it."""
    file = Path(path)
    if file.is_dir():
        return "it is a folder; name a file in it"
    if not file.parent.is_dir():
        return "its folder does not exist; make it first"
    if _has_wal(path) and not os.access(file.parent, os.W_OK):
        return "part of it lies in its -wal; copy both to a folder that can be written"
    return "check the permissions of the file and its folder, and the length of its name"
