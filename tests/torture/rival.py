"""One of several processes on one file: the turns of a session, or bare rows in as many commits.

Says ``ready``, waits for a line, and prints how it went as JSON.
"""

import json
import os
import random
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from agent import Agent
from agent.engine.provider import ModelRequest
from agent.errors import AgentError
from agent.stores import SQLiteStore
from agent.testing import ScriptedModel
from tests.benchmarks.persisting import INSERT, row

DONE = "done"
PATIENCE = 30.0

Turn = Callable[[str], str]
"""Takes one turn with this input; returns ``DONE``, or which error it ended in."""


def echo(request: ModelRequest) -> str:
    """The answer to what was asked."""
    return f"re: {request.messages[-1].text}"


@contextmanager
def session(path: str, key: str, thinking: float) -> Iterator[Turn]:
    """Turns of a session. The model thinks for so many milliseconds at most, at random."""

    def think(request: ModelRequest) -> str:
        time.sleep(random.uniform(0, thinking) / 1000)
        return echo(request)

    with SQLiteStore(path, busy_timeout=PATIENCE) as store:
        handle = Agent(ScriptedModel(think), store=store).session(key)

        def turn(text: str) -> str:
            try:
                response = handle.run(text)
            except AgentError as error:
                return type(error).__name__
            assert response.text == f"re: {text}"
            return DONE

        yield turn


@contextmanager
def rows(path: str, key: str, _: float) -> Iterator[Turn]:
    """The rows of a turn in a bare table, without all that a log does besides."""
    alike = Agent(ScriptedModel(echo)).session()
    alike.run("hello")
    facts = list(alike.events())[-4:]
    with closing(sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = FULL")

        def turn(text: str) -> str:
            for first, second in (facts[:2], facts[2:]):
                db.execute("BEGIN IMMEDIATE")
                query = "SELECT coalesce(max(version), 0) FROM events WHERE stream = ?"
                (version,) = db.execute(query, (int(key),)).fetchone()
                db.execute(INSERT, row(first, version + 1, int(key)))
                db.execute(INSERT, row(second, version + 2, int(key)))
                db.execute("COMMIT")
            return DONE

        yield turn


def main(what: str, path: str, key: str, turns: str, thinking: str) -> None:
    """Take so many turns, each as often as it takes."""
    outcomes: dict[str, str] = {}
    longest = 0.0
    with {"session": session, "rows": rows}[what](path, key, float(thinking)) as turn:
        print("ready", flush=True)
        sys.stdin.readline()
        began = time.monotonic()
        for number in range(int(turns)):
            since, attempt, outcome = time.monotonic(), 0, ""
            while outcome != DONE:
                text = f"{os.getpid()}/{number}/{attempt}"
                outcome = outcomes[text] = turn(text)
                attempt += 1
            longest = max(longest, time.monotonic() - since)
        ended = time.monotonic()
    print(json.dumps({"outcomes": outcomes, "began": began, "ended": ended, "longest": longest}))


if __name__ == "__main__":
    main(*sys.argv[1:])
