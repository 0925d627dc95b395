"""What a recorded run of the workload asked of its log, and when the log acknowledged it."""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from agent.eventstore.record import Head
from tests.torture.disk import KEPT, Disk
from tests.torture.recording import NOTES, Step, record
from tests.torture.workload import FILE

PLACES = (
    "while the file is made, before the first acknowledgement",
    "inside a write to the -wal",
    "between the writes to the -wal and the end of their fsync",
    "inside a checkpoint",
    "while files come, go or are closed",
    "between two commits",
)


class Commit(NamedTuple):
    """A write to the log: ``acknowledged`` is the step of the recording at which it was.

    ``position`` is that of its last event; ``head`` what it made of its stream, None if it was
    deleted.
    """

    acknowledged: int
    position: int
    stream: str
    head: Head | None


class History:
    """A run of the workload: the steps, and what its notes say of the commits, in their order.

    ``blobs`` are the attachments that were stored by themselves, each with the step at which that
    was acknowledged; ``cuts`` the steps at each of the places.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = steps
        self.commits = _commits(steps)
        self.blobs = [(at, note["blob"]) for at, note in _notes(steps) if "blob" in note]
        self._numbers = {commit.position: n for n, commit in enumerate(self.commits, start=1)}
        self.cuts: dict[str, list[int]] = defaultdict(list)
        first = min(commit.acknowledged for commit in self.commits)
        for at, step in enumerate(steps):
            self.cuts[PLACES[0] if at <= first else _place(step)].append(at)

    def number_of(self, position: int) -> int:
        """How many commits there are up to the one that ended here; 0 if none did."""
        return self._numbers.get(position, 0)

    def acknowledged_before(self, cut: int) -> int:
        """How many commits there have to be after a cut: those up to the last acknowledged one."""
        return max(
            (n for n, commit in enumerate(self.commits, start=1) if commit.acknowledged < cut),
            default=0,
        )

    def heads_after(self, count: int) -> dict[str, Head]:
        """Every stream after so many commits."""
        heads: dict[str, Head] = {}
        for commit in self.commits[:count]:
            if commit.head is None:
                del heads[commit.stream]
            else:
                heads[commit.stream] = commit.head
        return heads


def _notes(steps: Sequence[Step]) -> list[tuple[int, dict[str, Any]]]:
    return [(at, json.loads(step.data)) for at, step in enumerate(steps) if step.kind == "noted"]


def _commits(steps: Sequence[Step]) -> list[Commit]:
    acknowledged: dict[int, tuple[int, str, int | None]] = {}
    commits: list[Commit] = []
    for at, note in _notes(steps):
        if "stream" in note:
            acknowledged[note["number"]] = at, note["stream"], note["version"]
        elif "hash" in note:
            when, stream, version = acknowledged[note["number"]]
            head = None if version is None else Head(version, bytes.fromhex(note["hash"]))
            commits.append(Commit(when, note["position"], stream, head))
    return sorted(commits, key=lambda commit: commit.position)


def _place(step: Step) -> str:
    match step.kind, step.name:
        case "wrote", name if name.endswith("-wal"):
            return PLACES[1]
        case "synced", name if name.endswith("-wal"):
            return PLACES[2]
        case "wrote" | "truncated" | "synced", name if name == FILE:
            return PLACES[3]
        case "noted", _:
            return PLACES[5]
        case _:
            return PLACES[4]


def recorded(folder: Path, seed: str, level: str) -> History:
    """Run the workload in a folder, which is made, and record it."""
    steps = record(folder, "tests.torture.workload", seed, level)
    found = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != NOTES}
    if Disk.at(steps).after(KEPT) != found:
        raise RuntimeError("the recording is not all that was done to the files")
    return History(steps)
