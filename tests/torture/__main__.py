"""``make torture``: all parts, or ``make torture ARGS="power --seed 7 --count 1000"``."""

import argparse
import secrets
import sys
from collections.abc import Callable

from tests.torture import kill, power, rivals, verify

PARTS: dict[str, Callable[[int, int | None], bool]] = {
    "power": power.main,
    "kill": kill.main,
    "rivals": rivals.main,
    "verify": verify.main,
}
"""What each part is called, and what runs it: takes seed and count, returns whether all is well."""


def main() -> int:
    """Do what the arguments say; 1 if something was found."""
    parser = argparse.ArgumentParser("make torture", description=__doc__)
    parser.add_argument("part", nargs="?", choices=PARTS, help="by default all of them")
    parser.add_argument("--seed", type=int, help="repeats what is drawn; by default a fresh one")
    parser.add_argument("--count", type=int, help="images, kills, or turns of each process")
    options = parser.parse_args()
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    parts = [options.part] if options.part else list(PARTS)
    results = [PARTS[part](seed, options.count) for part in parts]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
