"""Print every benchmark's figures: ``make bench``, or ``make bench ARGS="turns sizes"``.

``--events`` gives the large log of some of them another size: ``ARGS="command --events 1000000"``.
"""

import argparse
import sqlite3
import sys
from types import ModuleType

from tests.benchmarks import (
    clients,
    command,
    deltas,
    exporting,
    forking,
    import_cost,
    persisting,
    reopening,
    sizes,
    tables,
    threads,
    travel,
    turns,
    verifying,
)

ALL = (
    persisting,
    turns,
    reopening,
    forking,
    sizes,
    threads,
    import_cost,
    deltas,
    clients,
    travel,
    verifying,
    tables,
    command,
    exporting,
)
ON_LARGE_LOGS = (verifying, tables, exporting, command)


def main(names: list[str], events: int | None) -> None:
    """Run the benchmarks of these names, all without any."""
    print(f"Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}")
    for benchmark in ALL:
        if not names or _name(benchmark) in names:
            print(f"\n{(benchmark.__doc__ or '').splitlines()[0]}")
            sized = benchmark in ON_LARGE_LOGS and events is not None
            for figure in benchmark.figures(events) if sized else benchmark.figures():
                print(f"  {figure}", flush=True)


def _name(benchmark: ModuleType) -> str:
    return benchmark.__name__.rpartition(".")[2]


parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
parser.add_argument("names", nargs="*", choices=list(map(_name, ALL)), metavar="NAME")
parser.add_argument("--events", type=int)
arguments = parser.parse_args()
main(arguments.names, arguments.events)
