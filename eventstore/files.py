"""New files that appear under their name once they are whole, or not at all."""

from __future__ import annotations

import errno
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from agent.eventstore.errors import StoreFull, StoreUnusable

if TYPE_CHECKING:
    from collections.abc import Generator

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def new_file(path: str | os.PathLike[str]) -> Generator[Path]:
    """Name a file to write, in a folder of its own beside ``path``; then it is flushed and moved.

    If writing it fails nothing is left of it. Raises :class:`StoreUnusable` for a ``path`` that is
    taken or cannot be made, :class:`StoreFull` for a full disk.
    """
    target = Path(os.fsdecode(path)).absolute()
    _refuse_taken(target)
    with (
        _translated(target),
        tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name[:64]}.") as folder,
    ):
        made = Path(folder, "new")
        yield made
        _flush(made)
        _move(made, target)
        if os.name == "posix":
            _flush(target.parent)


def _refuse_taken(target: Path) -> None:
    if os.path.lexists(target):
        raise StoreUnusable(f"{target} exists already, and is not overwritten; name another file")


@contextmanager
def _translated(target: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StoreFull(f"no room to write {target}; free some space and try again") from error
        raise StoreUnusable(f"cannot write {target}: {error.strerror or error}") from error


def _flush(path: Path) -> None:
    opened = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _move(made: Path, target: Path) -> None:
    """Give it its name, unless somebody else has taken that meanwhile."""
    try:
        os.link(made, target)  # unlike a rename it never replaces a file
    except FileExistsError:
        _refuse_taken(target)
        raise
    except OSError:  # a file system without hard links
        _refuse_taken(target)
        made.rename(target)
