"""Checking a file of lines on its own, without a log."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from agent.eventstore.jsonl.lines import Progress
from agent.eventstore.jsonl.reading import Reader
from agent.eventstore.verify import Level, Verification, Walk

_OFTEN = 2**20
"""Bytes from one call of ``progress`` to the next."""


def verify_jsonl(
    file: str | os.PathLike[str] | BinaryIO,
    *,
    level: Level = "full",
    progress: Progress | None = None,
) -> Verification:
    """Check a file that ``store.export()`` has written: each finding names its line.

    ``progress`` is told bytes; the whole is 0 where it is not known. Raises ``OSError`` for a file
    that cannot be read.
    """
    walk = Walk("chain" if level == "full" else level, None)
    with opened(file) as lines:
        advanced = reporting(progress, size_of(lines) if progress else 0)
        reader = Reader(lines, walk, payloads=level == "full", advanced=advanced)
        for _ in reader.events():
            pass
    heads = [section.head for section in reader.sections.values()]
    found = walk.result(len(heads), heads[0] if len(heads) == 1 else None)
    return msgspec.structs.replace(found, level=level)


@contextmanager
def opened(file: str | os.PathLike[str] | BinaryIO, *, twice: bool = False) -> Generator[BinaryIO]:
    """The lines of a file; what is to be read ``twice`` and cannot is copied first."""
    if isinstance(file, str | os.PathLike):
        with Path(file).open("rb") as lines, opened(lines, twice=twice) as seekable:
            yield seekable
    elif twice and not file.seekable():
        with tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(file, copy)
            copy.seek(0)
            yield copy
    else:
        yield file


def size_of(file: BinaryIO) -> int:
    """The bytes of a file from here to its end, 0 if it does not tell."""
    if not file.seekable():
        return 0
    start = file.tell()
    end = file.seek(0, os.SEEK_END)
    file.seek(start)
    return end - start


def reporting(progress: Progress | None, total: int) -> Callable[[int], object] | None:
    """Add up lengths for ``progress``."""
    if progress is None:
        return None
    done = told = 0

    def advanced(length: int) -> None:
        nonlocal done, told
        done += length
        if done - told >= _OFTEN or done == total:
            told = done
            progress(done, total)

    return advanced
