"""Power cuts: a recorded program, its disk after a cut at a random point, and what has to be there.

With ``fsync`` a disk has to hold every event that was acknowledged before the cut; with ``os`` what
it holds is the log as it was at some time before. Either way whole commits, a sound file, chains
and attachments that verify, and a log that goes on.
"""

import shutil
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from random import Random
from typing import NamedTuple

from agent.errors import AgentError
from agent.eventstore import core
from agent.eventstore.backends.sqlite import SQLiteLog
from agent.eventstore.conformance.facts import started
from tests.eventstore.backends.access import plain
from tests.torture.disk import Disk, Fate
from tests.torture.history import PLACES, History, recorded
from tests.torture.recording import Step, obstacle
from tests.torture.workload import FILE

IMAGES, FEWER, EACH = 1000, 200, 100
"""Images of each kind, of each control, and of each run of the workload."""

SAVED = Path(__file__).resolve().parents[2] / ".torture"


class Lost(AssertionError):
    """A disk image does not hold what it has to, or is broken."""


class Kind(NamedTuple):
    """What is tried: ``level`` is what SQLite is told, ``promised`` what has to hold.

    ``lies`` tells of the fsyncs that the disk acknowledges and does not do.
    """

    name: str
    level: str
    promised: str
    lies: Callable[[Step], bool] = lambda step: False


FSYNC = Kind("durability='fsync'", "fsync", "fsync")
OS = Kind("durability='os'", "os", "os")
CONTROLS = (
    Kind("synchronous=NORMAL taken for fsync", "os", "fsync"),
    Kind("synchronous=OFF taken for os", "off", "os"),
    Kind("fsync on a disk that lies", "fsync", "fsync", lambda step: True),
    Kind("fsync on a disk that forgets names", "fsync", "fsync", lambda step: not step.name),
)
"""Promises that nobody gives. Images that break them prove that the others could have."""


class Cut(NamedTuple):
    """A power cut: during the step of this number, at one of the places."""

    at: int
    place: str
    files: dict[str, bytes]


def drawn(history: History, kind: Kind, rng: Random) -> Cut:
    """A cut at a random place, and a disk that may be found after it."""
    place = rng.choice([place for place in PLACES if history.cuts[place]])
    at = rng.choice(history.cuts[place])
    # A write that has begun may have arrived in part; an fsync that has not ended promises nothing.
    begun = history.steps[at].kind != "synced"
    done = history.steps[: at + begun]
    disk = Disk.at(step for step in done if step.kind != "synced" or not kind.lies(step))
    return Cut(at, place, disk.after(Fate.drawn(rng)))


def check(history: History, cut: Cut, folder: Path, *, promised: str) -> None:
    """Start the machine again: raise :class:`Lost` unless the disk holds what was promised."""
    for name, content in cut.files.items():
        (folder / name).write_bytes(content)
    # Of what is shared in memory anything may have arrived.
    (folder / f"{FILE}-shm").write_bytes(Random(cut.at).randbytes(40_000))
    try:
        with closing(SQLiteLog(folder / FILE, durability="os")) as log:
            count = _check_streams(history, log)
            least = history.acknowledged_before(cut.at) if promised == "fsync" else 0
            if count < least:
                raise Lost(f"{least - count} acknowledged commits are gone")
            if promised == "fsync":
                for at, digest in history.blobs:
                    if at < cut.at:
                        log.get_blob(digest)
            head = log.append("after", [started("after")], expected=None)
            if log.head("after") != head:
                raise Lost("the log does not go on")
        with plain(folder / FILE) as db:
            if (found := db.execute("PRAGMA integrity_check").fetchall()) != [("ok",)]:
                raise Lost(f"integrity_check says {found}")
            if db.execute("PRAGMA foreign_key_check").fetchall():
                raise Lost("foreign_key_check finds orphans")
    except (AgentError, sqlite3.Error) as error:
        raise Lost(f"{type(error).__name__}: {error}") from error


def _check_streams(history: History, log: SQLiteLog) -> int:
    """Check that the log is as it was after some commit; returns the number of that commit."""
    feed = list(log.read_all())
    count = history.number_of(feed[-1].position or 0) if feed else 0
    if feed and not count:
        raise Lost("half a commit is there")
    if {info.stream: info.head for info in log.streams()} != history.heads_after(count):
        raise Lost(f"the streams are not those after commit {count}")
    for info in log.streams():
        for fact in core.verified(log.read(info.stream), stream=info.stream):
            for _, blob in core.attachments([fact]):
                log.get_blob(blob.digest)
    return count


class Tally(NamedTuple):
    """How many images were tried of cuts at each place, and what was wrong with how many."""

    tried: Counter[str]
    lost: Counter[str]
    reasons: list[str]


def tried(kind: Kind, seed: int, count: int, folder: Path) -> Tally:
    """Draw and check so many images, of as many runs as it takes; the first found one is kept."""
    tally = Tally(Counter(), Counter(), [])
    for first in range(0, count, EACH):
        name = f"{seed} {kind.name} {first}"
        history = recorded(folder / f"run-{first}", name, kind.level)
        rng = Random(name)
        for number in range(first, min(count, first + EACH)):
            cut = drawn(history, kind, rng)
            image = folder / f"{number}"
            image.mkdir()
            tally.tried[cut.place] += 1
            try:
                check(history, cut, image, promised=kind.promised)
            except Lost as error:
                tally.lost[cut.place] += 1
                tally.reasons.append(f"image {number}, cut {cut.place}: {error}")
                if kind not in CONTROLS and len(tally.reasons) == 1:
                    _save(cut, SAVED / f"{seed}-{kind.level}-{number}")
            shutil.rmtree(image)
    return tally


def _save(cut: Cut, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in cut.files.items():
        (folder / name).write_bytes(content)


def main(seed: int, count: int | None) -> bool:
    """``make torture ARGS=power``: print what came of it; True if all is as it has to be."""
    if missing := obstacle():
        print(missing)
        return False
    good = True
    for kind in (FSYNC, OS, *CONTROLS):
        images = min(count or IMAGES, FEWER if kind in CONTROLS else sys.maxsize)
        with tempfile.TemporaryDirectory() as folder:
            tally = tried(kind, seed, images, Path(folder))
        _report(kind, tally)
        good &= bool(tally.reasons) is (kind in CONTROLS)
    return good


def _report(kind: Kind, tally: Tally) -> None:
    lost = tally.lost.total()
    print(f"{kind.name}: {tally.tried.total():,} images, {lost:,} of them broken")
    for place in PLACES:
        broken = f", {tally.lost[place]:,} broken" if tally.lost[place] else ""
        print(f"  {tally.tried[place]:>6,}  cut {place}{broken}")
    if kind in CONTROLS and not lost:
        print("  NOTHING FOUND, where something has to be")
    if kind not in CONTROLS and lost:
        print(*(f"  FOUND {reason}" for reason in tally.reasons), sep="\n")
        print(f"  the first of them is kept below {SAVED}")
    sys.stdout.flush()
