"""Print every benchmark's figures: ``make bench``, or ``make bench ARGS="turns sizes"``."""

import sqlite3
import sys
from types import ModuleType

from tests.benchmarks import (
    clients,
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
    exporting,
)


def main(names: list[str]) -> None:
    """Run the benchmarks of these names, all without any."""
    print(f"Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}")
    for benchmark in ALL:
        if not names or _name(benchmark) in names:
            print(f"\n{(benchmark.__doc__ or '').splitlines()[0]}")
            for figure in benchmark.figures():
                print(f"  {figure}", flush=True)


def _name(benchmark: ModuleType) -> str:
    return benchmark.__name__.rpartition(".")[2]


main(sys.argv[1:])
