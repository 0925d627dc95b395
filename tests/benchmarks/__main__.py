"""Print every benchmark's table: ``make bench``."""

import sqlite3
import sys

from tests.benchmarks import forking, import_cost, reopening, turns

print(f"Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}\n")
for benchmark in (turns, forking, reopening, import_cost):
    print((benchmark.__doc__ or "").splitlines()[0])
    for line in benchmark.lines():
        print(f"  {line}")
    print()
