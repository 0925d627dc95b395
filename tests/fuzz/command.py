"""``make fuzz``: try cases, print what came of them, save and name what went wrong."""

import argparse
import faulthandler
import multiprocessing
import os
import resource
import secrets
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from tests.fuzz.runner import Tally, run, save
from tests.fuzz.targets import NAMES, SLOW, target

CASES = 100_000
BATCH = 500
BATCH_SECONDS = 600
"""A batch that takes longer is stuck where no signal reaches it; its process is ended."""

ADDRESS_SPACE = 4 << 30
FOLDER = Path(__file__).resolve().parents[2] / ".fuzz"


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the arguments say; 1 if something was found."""
    options = _parser().parse_args(arguments)
    if options.again:
        return _again(options.again, options.recordings)
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    results = [_fuzz(name, seed, options) for name in options.target or NAMES]
    return 1 if any(results) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("make fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, help="repeats a run; by default a fresh one")
    parser.add_argument("--target", action="append", choices=NAMES, help="by default all of them")
    parser.add_argument("--cases", type=int, help=f"by default {CASES:,}, fewer of slow targets")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes at once")
    parser.add_argument("--recordings", type=Path, help="a folder with a records.jsonl.gz")
    parser.add_argument("--again", type=Path, help="a saved input, tried once more")
    return parser


def _fuzz(name: str, seed: int, options: argparse.Namespace) -> bool:
    """Try the cases of a target in several processes; True if something was found."""
    count = options.cases or CASES // SLOW.get(name, 1)
    batches = [range(start, min(start + BATCH, count)) for start in range(0, count, BATCH)]
    tally, memory, done = Tally(), 0, 0
    since = time.perf_counter()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.jobs, context, _begin) as pool:
        jobs = [pool.submit(_batch, name, seed, batch, options.recordings) for batch in batches]
        try:
            for job in jobs:
                found, used = job.result()
                tally.add(found)
                memory = max(memory, used)
                done += 1
        except BrokenProcessPool:
            print(f"{name}: a process died at one of the cases from {done * BATCH} on")
            return True
    _report(name, tally, count, time.perf_counter() - since, memory)
    for finding in tally.findings.values():
        path = save(finding, name, FOLDER)
        print(f"  FOUND {finding.kind}, first in case {finding.number}; once more:")
        print(f'    make fuzz ARGS="--again {path}"')
    return bool(tally.findings)


def _begin() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))


def _batch(name: str, seed: int, numbers: range, recorded: Path | None) -> tuple[Tally, int]:
    faulthandler.dump_traceback_later(BATCH_SECONDS, exit=True)
    tally = run(target(name, recorded), seed, numbers)
    faulthandler.cancel_dump_traceback_later()
    return tally, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _report(name: str, tally: Tally, count: int, seconds: float, memory: int) -> None:
    print(
        f"{name}: {count:,} cases in {seconds:.0f} s ({tally.cpu:.0f} s CPU), "
        f"{count / seconds:,.0f} a second; at most {tally.slowest * 1000:.0f} ms CPU "
        f"and {tally.peak / 1e6:.1f} MB a case, {memory / 1024:.0f} MB a process"
    )
    for outcome, times in tally.outcomes.most_common():
        print(f"  {times:>7,}  {outcome}")
    sys.stdout.flush()


def _again(path: Path, recorded: Path | None) -> int:
    """One input; what it raises is shown as it is."""
    name = path.name.partition(".")[0]
    print(f"{name}: {target(name, recorded).check(path.read_bytes())}")
    return 0
