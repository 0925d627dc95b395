"""Programs that use a log from a process of their own."""

import os
import subprocess
import sys
from pathlib import Path

PRELUDE = """
import os, sys
from agent.eventstore.backends.sqlite import SQLiteLog
from agent.eventstore.conformance.facts import said, started
from agent.eventstore.errors import ConflictError

log = SQLiteLog(sys.argv[1])
name = sys.argv[2]

def wait():
    print("ready", flush=True)
    sys.stdin.readline()
"""


def start(program: str, path: Path, name: str = "") -> subprocess.Popen[str]:
    """Start a program; it finds a `log` on `path`, its `name`, and `wait` for `go`."""
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + program, str(path), name],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output(process: subprocess.Popen[str], *, timeout: float = 60) -> list[str]:
    """What a program printed until it ended, without an error."""
    out, errors = process.communicate(timeout=timeout)
    assert errors == ""
    assert process.returncode == 0
    return out.split()


def ready(process: subprocess.Popen[str]) -> None:
    """Wait until a program waits."""
    assert process.stdout
    assert process.stdout.readline() == "ready\n"


def go(*processes: subprocess.Popen[str], timeout: float = 60) -> list[list[str]]:
    """Let waiting programs go on, all at once; what each of them printed."""
    for process in processes:
        ready(process)
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    return [output(process, timeout=timeout) for process in processes]
