"""Rivals: processes that take turns on one file, all at once. What each was told has to be true."""

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import NamedTuple

from agent.eventstore import core
from agent.eventstore.backends.sqlite import SQLiteLog
from agent.eventstore.backends.sqlite_connection import PAGE_SIZE
from agent.eventstore.events import (
    ModelResponded,
    SessionStarted,
    TurnAbandoned,
    TurnCompleted,
    TurnStarted,
)
from tests.benchmarks.persisting import TABLE
from tests.eventstore.backends.access import plain
from tests.eventstore.backends.processes import go
from tests.torture.recording import ROOT
from tests.torture.rival import DONE

PROCESSES, TURNS, ROUNDS = 8, 200, 3
THINKING = 5
SECONDS = 600
COMPLETE = ["turn.started", "model.requested", "model.responded", "turn.completed"]


class Race(NamedTuple):
    """How it went: what came of each attempt, by its input; times in seconds.

    ``longest`` is the longest that any turn took, with all its attempts.
    """

    outcomes: dict[str, str]
    seconds: float
    longest: float

    @property
    def speed(self) -> float:
        """Turns a second."""
        return Counter(self.outcomes.values())[DONE] / self.seconds

    def __str__(self) -> str:
        told = Counter(told for told in self.outcomes.values() if told != DONE)
        losers = "".join(f", {times:,} {name}" for name, times in told.items())
        return f"{self.speed:,.0f} turns a second, longest {self.longest:.2f} s{losers}"


def race(what: str, path: Path, keys: list[str], turns: int, *, thinking: float = 0) -> Race:
    """Let a process for each key take so many turns, all at once.

    ``thinking`` is how long an answer of the model takes at most, in milliseconds.
    """
    command = [sys.executable, "-m", "tests.torture.rival", what, str(path)]
    processes = [
        subprocess.Popen(
            [*command, key, str(turns), str(thinking)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for key in keys
    ]
    told = [json.loads(" ".join(words)) for words in go(*processes, timeout=SECONDS)]
    outcomes = {text: outcome for each in told for text, outcome in each["outcomes"].items()}
    seconds = max(each["ended"] for each in told) - min(each["began"] for each in told)
    return Race(outcomes, seconds, max(each["longest"] for each in told))


def check(path: Path, keys: list[str], outcomes: dict[str, str]) -> None:
    """The log has what each process was told, and every turn is whole and by itself."""
    with closing(SQLiteLog(path)) as log:
        ends = [end for key in sorted(set(keys)) for end in _turns(log, key).items()]
    completed = [text for text, end in ends if end == "turn.completed"]
    abandoned = {text for text, end in ends if end == "turn.abandoned"}
    assert len(ends) == len(dict(ends))
    assert sorted(completed) == sorted(t for t, told in outcomes.items() if told == DONE)
    assert abandoned <= {text for text, told in outcomes.items() if told != DONE}
    with plain(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def _turns(log: SQLiteLog, key: str) -> dict[str, str]:
    """How each turn of a session ended, by its input. Raises if one lies inside of another."""
    ends: dict[str, str] = {}
    kinds: list[str] = []
    text = ""
    for fact in core.verified(log.read(key), stream=key):
        kinds.append(fact.type)
        match fact.event:
            case SessionStarted():
                assert fact.version == 1
                kinds.clear()
            case TurnStarted(input=given):
                text = given.text
                assert text not in ends
            case ModelResponded(message=answer):
                assert answer.text == f"re: {text}"
            case TurnCompleted() | TurnAbandoned():
                assert kinds in (COMPLETE, [*COMPLETE[:2], "turn.abandoned"])
                ends[text] = fact.type
                kinds.clear()
            case _:
                pass
    assert not kinds
    return ends


def main(seed: int, count: int | None) -> bool:
    """``make torture ARGS=rivals``: print figures; raises if anybody was told what is not so."""
    turns = count or TURNS
    print(f"{PROCESSES} processes, {turns:,} turns each; SQLite {sqlite3.sqlite_version}")
    one, own = ["1"] * PROCESSES, [str(number) for number in range(PROCESSES)]
    for scene, keys in (("one session", one), ("a session each", own)):
        rounds = [(_ours(keys, turns), _bare(keys, turns)) for _ in range(ROUNDS)]
        print(f"  {scene}, {ROUNDS} rounds beside the same rows and commits by bare sqlite3:")
        for ours, bare in rounds:
            print(f"    {ours}; bare: {bare}", flush=True)
        print(
            f"    median of the speeds: {median(a.speed / b.speed for a, b in rounds):.2f} of bare"
        )
    thinking = _ours(one, turns, thinking=THINKING)
    print(f"  one session, and a model that thinks for up to {THINKING} ms:\n    {thinking}")
    return True


def _ours(keys: list[str], turns: int, *, thinking: float = 0) -> Race:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "log.db")
        run = race("session", path, keys, turns, thinking=thinking)
        check(path, keys, run.outcomes)
    return run


def _bare(keys: list[str], turns: int) -> Race:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "bare.db")
        with plain(path) as db:
            db.execute(f"PRAGMA page_size = {PAGE_SIZE}")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(TABLE)
        return race("rows", path, keys, turns)
