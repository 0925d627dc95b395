"""Exporting a log as lines, checking, importing, backing up: what each takes, also of memory."""

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from agent.eventstore.backends.sqlite import SQLiteLog
from agent.eventstore.jsonl.checking import verify_jsonl
from agent.stores import SQLiteStore
from tests.benchmarks.given import Figure
from tests.benchmarks.large_log import fill

FEW, MANY = 10_000, 100_000
"""Events. The figures in docs/performance.md are those of 10,000 and 1,000,000."""

WORK = ("export", "verify", "import", "backup")


def figures(many: int = MANY) -> Iterator[Figure]:
    """Each in a process of its own, over few events and over many."""
    with tempfile.TemporaryDirectory() as folder:
        few = {work: _measured(Path(folder, "few"), FEW, work) for work in WORK}
        for work in WORK:
            seconds, memory, size = _measured(Path(folder, "many"), many, work)
            yield Figure(f"{work}: {many:,} events", many / seconds, "events a second")
            if work in ("export", "backup"):
                yield Figure(f"{work}: its file", size / many, "bytes an event")
            yield Figure(f"{work}: peak memory with {FEW:,} events", few[work][1], "MB")
            ratio = memory / few[work][1]
            yield Figure(f"{work}: that with {many:,} to that", ratio, "", 1.5)


def _measured(folder: Path, events: int, work: str) -> tuple[float, float, int]:
    """Seconds, megabytes of memory, and bytes of the file, of one kind of work."""
    if not folder.exists():
        folder.mkdir()
        log = SQLiteLog(folder / "log.db", durability="os")
        fill(log, events)
        log.close()
    command = [sys.executable, "-m", "tests.benchmarks.exporting", work, str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    seconds, memory, size = json.loads(done.stdout)
    return seconds, memory, size


def _work(work: str, folder: Path) -> tuple[float, float, int]:
    """Do it here."""
    lines, copy = folder / "log.jsonl", folder / "copy.db"
    start = time.perf_counter()
    if work == "verify":
        assert verify_jsonl(lines).ok
    else:
        with SQLiteStore(folder / ("other.db" if work == "import" else "log.db")) as store:
            if work == "import":
                store.import_(lines)
            elif work == "export":
                store.export(lines)
            else:
                store.backup(copy)
    seconds = time.perf_counter() - start
    return seconds, _peak(), (copy if work == "backup" else lines).stat().st_size


def _peak() -> float:
    """The most memory that this process has had at once, in MB."""
    try:  # what getrusage() says would include the process that started this one
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    if sys.argv[1] in WORK:
        print(json.dumps(_work(sys.argv[1], Path(sys.argv[2]))))
    else:
        for figure in figures(int(sys.argv[1])):
            print(figure, flush=True)
