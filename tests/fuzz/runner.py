"""Cases of one target, one after the other: counted, bounded, what is found shrunk and saved."""

import contextlib
import signal
import time
import traceback
import tracemalloc
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Generator, Iterable
from pathlib import Path
from random import Random
from typing import NamedTuple

CPU_SECONDS = 5.0
WALL_SECONDS = 60.0
"""What one case may take; waiting is bounded too, generously, for machines that are busy."""

SAMPLE = 101
"""One case in so many has its memory measured: that makes it slow."""

BASE_BYTES, BYTES_PER_BYTE = 4_000_000, 200
"""What a case may allocate: so much, and so much for each byte of its input."""

_SHRINK_TRIES = 600
_SHRINK_SECONDS = 20.0


class TooSlow(BaseException):
    """A case has used up its time. Nothing on the way may take it for an error of its own."""


class TooMuchMemory(Exception):
    """A case has allocated more than its input can justify."""


class Target(ABC):
    """Something that takes bytes from outside. ``name`` is what ``--target`` calls it."""

    name: str

    @abstractmethod
    def make(self, rng: Random) -> bytes:
        """A case."""

    @abstractmethod
    def check(self, body: bytes) -> str:
        """Try a case; returns the class of the outcome. Whatever is raised is a finding."""

    def close(self) -> None:  # noqa: B027 - most need none
        """Let go of what the cases needed."""


class Finding(NamedTuple):
    """A case that went wrong: ``kind`` tells findings apart, ``body`` is shrunk."""

    kind: str
    number: int
    body: bytes
    trace: str


class Tally:
    """What has come of the cases of a target; ``cpu`` and ``slowest`` in seconds of CPU.

    ``peak`` is the most that a measured case has allocated, in bytes.
    """

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.findings: dict[str, Finding] = {}
        self.cpu = 0.0
        self.slowest = 0.0
        self.peak = 0

    def add(self, other: "Tally") -> None:
        """Take in those of other cases; of equal findings the smallest is kept."""
        self.outcomes += other.outcomes
        self.cpu += other.cpu
        self.slowest = max(self.slowest, other.slowest)
        self.peak = max(self.peak, other.peak)
        for finding in other.findings.values():
            known = self.findings.get(finding.kind)
            if known is None or len(finding.body) < len(known.body):
                self.findings[finding.kind] = finding


def case(target: Target, seed: int, number: int) -> bytes:
    """The input of a case."""
    return target.make(Random(f"{seed} {target.name} {number}"))


def run(target: Target, seed: int, numbers: Iterable[int]) -> Tally:
    """Try these cases."""
    tally = Tally()
    for number in numbers:
        body = case(target, seed, number)
        began = time.process_time()
        measured = number % SAMPLE == 0
        try:
            with bounded():
                outcome = _measured(target, body, tally) if measured else target.check(body)
        except (Exception, TooSlow) as error:  # noqa: BLE001 - whatever it is, it is a finding
            kind = kind_of(error)
            tally.outcomes[f"FOUND {kind}"] += 1
            if kind not in tally.findings:
                smallest = shrink(target, body, kind)
                trace = "".join(traceback.format_exception(error, limit=-12))
                tally.findings[kind] = Finding(kind, number, smallest, trace)
        else:
            tally.outcomes[outcome] += 1
        spent = time.process_time() - began
        tally.cpu += spent
        tally.slowest = max(tally.slowest, spent)
    return tally


def _measured(target: Target, body: bytes, tally: Tally) -> str:
    target.check(body)  # What is imported or made once does not count.
    tracemalloc.start()
    try:
        outcome = target.check(body)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    tally.peak = max(tally.peak, peak)
    if peak > BASE_BYTES + BYTES_PER_BYTE * len(body):
        raise TooMuchMemory(f"{peak:,} bytes for an input of {len(body):,}")
    return outcome


@contextlib.contextmanager
def bounded() -> Generator[None]:
    """Raise :class:`TooSlow` in this, the main thread when the time of a case is over."""

    def over(number: int, frame: object) -> None:
        raise TooSlow(f"{CPU_SECONDS} s of CPU or {WALL_SECONDS} s in all were not enough")

    before = [signal.signal(number, over) for number in (signal.SIGPROF, signal.SIGALRM)]
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    signal.setitimer(signal.ITIMER_REAL, WALL_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGPROF, before[0])
        signal.signal(signal.SIGALRM, before[1])


def kind_of(error: BaseException) -> str:
    """Class and place of an error; time runs out anywhere, so there the place says nothing."""
    if isinstance(error, TooSlow | TooMuchMemory | RecursionError):
        ours = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_ours(frame)]
        return f"{type(error).__name__} below {ours[0].name if ours else '?'}"
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(frame.filename).name}:{frame.lineno}"


def _is_ours(frame: traceback.FrameSummary) -> bool:
    return "/tests/fuzz/" not in frame.filename and "/.venv/" not in frame.filename


def shrink(target: Target, body: bytes, kind: str) -> bytes:
    """A smaller input of the same finding: spans are left out, large ones first."""
    deadline = time.monotonic() + _SHRINK_SECONDS
    tries, size = 0, len(body) // 2
    while size and tries < _SHRINK_TRIES and time.monotonic() < deadline:
        start = 0
        while start < len(body) and tries < _SHRINK_TRIES and time.monotonic() < deadline:
            smaller = body[:start] + body[start + size :]
            tries += 1
            if _found(target, smaller) == kind:
                body = smaller
            else:
                start += size
        size //= 2
    return body


def _found(target: Target, body: bytes) -> str | None:
    try:
        with bounded():
            target.check(body)
    except (Exception, TooSlow) as error:  # noqa: BLE001 - as in run
        return kind_of(error)
    return None


def save(finding: Finding, target: str, folder: Path) -> Path:
    """Keep a finding as a file whose name begins with its target."""
    folder.mkdir(parents=True, exist_ok=True)
    words = "".join(c if c.isalnum() else "-" for c in finding.kind)
    path = folder / f"{target}.{words}"
    path.write_bytes(finding.body)
    path.with_name(path.name + ".trace").write_text(finding.trace, errors="replace")
    return path
