"""What a model call costs in the log: it must not depend on how long the history is."""

import re
import sqlite3
from pathlib import Path

import pytest

from agent import Agent, Session
from agent.engine.provider import ModelRequest
from agent.engine.scripted import Scripted
from agent.stores import SQLiteStore
from agent.testing import Call, ScriptedModel
from tests.engine.given import add, fixed_sources

LENGTHS = (3, 30, 300)


def reply(request: ModelRequest) -> Scripted:
    """An answer, or first a call where one is asked for."""
    called = request.messages[-1].role == "tool" or "add" not in request.messages[-1].text
    return "It is as it is." if called else Call("add", {"a": 1, "b": 2})


def rows(path: Path) -> list[int]:
    """The bytes of each stored event: of all its columns, digits of versions and times apart."""
    with sqlite3.connect(path) as db:
        found = db.execute("SELECT * FROM events ORDER BY position").fetchall()
    db.close()
    return [len(re.sub(rb"call_\d+_", b"call_N_", _joined(row))) for row in found]


def _joined(row: tuple[object, ...]) -> bytes:
    texts = (value.encode() if isinstance(value, str) else value for value in row)
    return b"|".join(value for value in texts if isinstance(value, bytes))


def cost_after(turns: int, prompt: str, folder: Path, *, fork: bool = False) -> list[int]:
    """The bytes of the events of one more turn, after so many."""
    path = folder / "log.db"
    with SQLiteStore(path, durability="os") as store:
        agent = Agent(ScriptedModel(reply), "m", tools=[add], store=store, sources=fixed_sources())
        session: Session = agent.session("s")
        for _ in range(turns):
            session.run("What is it?")
        if fork:
            session = session.fork()
        before = len(rows(path))
        session.run(prompt)
        return rows(path)[before:]


@pytest.mark.parametrize("fork", [False, True], ids=["alone", "in a fork"])
@pytest.mark.parametrize("prompt", ["What is it?", "add"], ids=["plain", "with a tool"])
def test_a_turn_costs_the_same_after_any_number(prompt: str, fork: bool, tmp_path: Path):
    """A request is a digest of 64 characters, however much it said."""
    costs: list[list[int]] = []
    for turns in LENGTHS:
        folder = tmp_path / str(turns)
        folder.mkdir()
        costs.append(cost_after(turns, prompt, folder, fork=fork))
    assert costs[0] == costs[1] == costs[2]
    assert sum(costs[0]) < (1500 if prompt == "What is it?" else 3000)


def test_a_fork_costs_one_event(tmp_path: Path):
    """At any length."""
    path = tmp_path / "log.db"
    with SQLiteStore(path, durability="os") as store:
        session = Agent(ScriptedModel(reply), "m", store=store).session("s")
        for _ in range(100):
            session.run("What is it?")
        before = len(rows(path))
        session.fork()
        added = rows(path)[before:]
    assert len(added) == 1
    assert added[0] < 500
