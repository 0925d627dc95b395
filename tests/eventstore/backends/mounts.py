"""Programs that see a folder as a file system of its own: a small one, or one to read only."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

TINY = 'mount -t tmpfs -o size=1m none "$0"'
READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0"'

PRELUDE = """
import json, os, sys
from pathlib import Path
from agent.errors import StoreFull, StoreUnusable
from agent.stores import SQLiteStore
from tests.engine.given import agent_of, kinds, shown

folder = Path(sys.argv[1])
path = folder / "log.db"
ballast = folder / "ballast"

def fill(leave=0):
    with ballast.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            file.truncate(file.tell() - leave)

def refused(error, call):
    try:
        call()
    except error as caught:
        return caught
    raise AssertionError(f"{error.__name__} was not raised")
"""


@cache
def _namespace() -> list[str] | None:
    """How a process gets mounts of its own here, with root's rights or without."""
    for command in (["unshare", "--mount"], ["unshare", "--map-root-user", "--mount"]):
        try:
            tried = [*command, "mount", "-t", "tmpfs", "none", "/mnt"]
            if subprocess.run(tried, capture_output=True, check=False).returncode == 0:
                return command
        except FileNotFoundError:
            return None
    return None


def run_mounted(mount: str, folder: Path, program: str) -> None:
    """Run a program that asserts for itself, in a process that alone sees the mount."""
    namespace = _namespace()
    if namespace is None:
        pytest.skip("mounting is not permitted here")
    python = [sys.executable, "-c", PRELUDE + program, str(folder)]
    done = subprocess.run(
        [*namespace, "sh", "-c", f'{mount} && exec "$@"', str(folder), *python],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
