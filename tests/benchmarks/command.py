"""The command on a large log: from its start to its end, as a process of its own."""

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from agent.eventstore.backends.sqlite import SQLiteLog
from tests.benchmarks.given import Figure, median
from tests.benchmarks.large_log import LONG, fill

EVENTS = 100_000
"""The figures in docs/performance.md are those of 1,000,000."""

ROUNDS = 9
HEAD = "| head"
BARE = ("-c", "pass")
LISTINGS = (
    *(("sessions",), ("sessions", "-n", "20")),
    *(("search", "weather"), ("search", "weather", "tea"), ("search", "needle3")),
)
"""Those that search find their tables built: a run that is not measured comes first."""

LOOKS = (
    ("tree",),
    ("tree", "REVISION"),
    ("log", "-n", "20"),
    ("log", "REVISION", "-n", "20"),
    ("log", "REVISION", "-n", "20", "--graph"),
    ("log", "REVISION", HEAD),
    ("show",),
    ("show", "REVISION"),
    ("show", "REVISION", "--raw"),
    ("show", "REVISION", "--state"),
    ("show", "REVISION", "--request"),
)
"""REVISION is another one each time, half of them of the long sessions."""

UNPROVEN = 1
"""How a request ends that is not proven to be what was sent: here none ever was."""


class Taken(NamedTuple):
    """Milliseconds: on the clock, and of CPU."""

    wall: float
    cpu: float


def figures(events: int = EVENTS) -> Iterator[Figure]:
    """Beyond the start of a bare interpreter. Beside other work only the CPU says something."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "log.db")
        log = SQLiteLog(path, durability="os")
        names = fill(log, events)
        revisions = list(_revisions(log, names))
        log.close()
        yield Figure("events", events, "")
        yield Figure("sessions", len(names), "")
        runner = _Runner(path, Path(folder, "compiled"))
        for commands, bar in ((LISTINGS, 100), (LOOKS, 200)):
            for command in commands:
                taken = runner.more(command, revisions)
                what = f"agent {' '.join(command)}"
                yield Figure(f"{what}: {taken.cpu:.3g} ms CPU, and in all", taken.wall, "ms", bar)


def _revisions(log: SQLiteLog, names: Sequence[str]) -> Iterator[str]:
    chance = random.Random(1)
    for number in range(ROUNDS):
        name = chance.choice(names[: len(LONG)] if number % 2 else names)
        head = log.head(name)
        assert head is not None
        yield f"{name}@{chance.randint(head.version // 10 + 5, head.version)}"


class _Runner:
    """Starts processes on a log; what they compile is kept, as an installation keeps it."""

    def __init__(self, path: Path, compiled: Path) -> None:
        self._environment = {
            **{key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"},
            "AGENT_DB": str(path),
            "PYTHONPYCACHEPREFIX": str(compiled),
        }

    def more(self, command: Sequence[str], revisions: Sequence[str]) -> Taken:
        """How much more a command takes than a bare interpreter, medians of both by turns."""
        bare: list[Taken] = []
        whole: list[Taken] = []
        self._run(_started(command, revisions[0]))
        for revision in revisions:
            bare.append(self._run(BARE))
            whole.append(self._run(_started(command, revision)))
        return Taken(
            median([one.wall for one in whole]) - median([one.wall for one in bare]),
            median([one.cpu for one in whole]) - median([one.cpu for one in bare]),
        )

    def _run(self, arguments: Sequence[str]) -> Taken:
        """What a process takes; of one that is piped into ``head`` ten lines are read."""
        piped = arguments[-1] == HEAD
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *arguments[: -1 if piped else None]],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self._environment,
        )
        assert process.stdout is not None
        size = sum(map(len, islice(process.stdout, 10 if piped else None)))
        process.stdout.close()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        ends = {0, 141} if piped else {UNPROVEN} if "--request" in arguments else {0}
        assert process.returncode in ends, arguments
        assert size or arguments == BARE, arguments
        return Taken(1000 * (time.perf_counter() - start), 1000 * (used.ru_utime + used.ru_stime))


def _started(command: Sequence[str], revision: str) -> list[str]:
    return [
        "-m",
        "agent.tools.cli",
        *(revision if word == "REVISION" else word for word in command),
    ]
