"""What a program has the kernel do to the files of a folder, in order, by a preloaded library."""

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

SOURCE = Path(__file__).with_name("recorder.c")
ROOT = Path(__file__).resolve().parents[2]
NOTES = "notes"
"""The file in the folder into which the program writes what it has to say, a line each."""

_HEADER = struct.Struct("=ccHIQ")

Kind = Literal["opened", "closed", "wrote", "truncated", "synced", "removed", "noted"]
_KINDS: dict[bytes, Kind] = {
    b"o": "opened",
    b"c": "closed",
    b"w": "wrote",
    b"t": "truncated",
    b"s": "synced",
    b"u": "removed",
}


class Step(NamedTuple):
    """One thing that the kernel did; ``name`` is empty where it was the folder itself.

    ``offset`` is where was written, or to how many bytes a file was truncated.
    """

    kind: Kind
    name: str
    fd: int
    created: bool
    offset: int
    data: bytes


def obstacle() -> str:
    """Why nothing can be recorded here; empty if it can."""
    if sys.platform != "linux":
        return "recording needs Linux"
    return (
        ""
        if shutil.which("gcc")
        else "recording needs gcc: install it with the C library's headers"
    )


def record(folder: Path, module: str, *arguments: str) -> list[Step]:
    """Run a module as a program; what it did in a folder, which is made, and must be its own.

    What SQLite keeps in its -shm is left out: it is made anew from the -wal by who opens first.
    """
    folder.mkdir()
    folder = folder.resolve()
    library, trace = folder.with_suffix(".so"), folder.with_suffix(".trace")
    build = ["gcc", "-O1", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl", "-lpthread"]
    subprocess.run(build, check=True)
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "LD_PRELOAD": f"./{library.name}",  # the whole path may hold spaces, which end a name here
        "RECORDER_FOLDER": str(folder),
        "RECORDER_TRACE": str(trace),
    }
    program = [sys.executable, "-m", module, str(folder), *arguments]
    done = subprocess.run(
        program, cwd=folder.parent, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode or done.stderr:
        raise RuntimeError(f"{module} ended with {done.returncode}: {done.stderr}")
    return [step for step in _steps(trace.read_bytes(), folder) if not step.name.endswith("-shm")]


def _steps(trace: bytes, folder: Path) -> Iterator[Step]:
    names: dict[int, str] = {}
    at = 0
    while at < len(trace):
        code, created, fd, length, offset = _HEADER.unpack_from(trace, at)
        at += _HEADER.size
        data = trace[at : at + length]
        at += length
        kind = _KINDS[code]
        if kind in ("opened", "removed"):
            name = os.path.relpath(os.fsdecode(data), folder)
            names[fd] = "" if name == "." else name
        name = names[fd]
        if name != NOTES:
            yield Step(kind, name, fd, created != b"\0", offset, data)
        elif kind == "wrote":
            yield Step("noted", name, fd, False, offset, data)
