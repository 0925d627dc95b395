"""What a turn adds to a file, column by column: no more after a long history than after a short."""

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from agent import Agent, Session
from agent.engine.provider import ModelRequest
from agent.engine.scripted import Call, Scripted, ScriptedModel
from agent.stores import SQLiteStore
from tests.engine.given import add, fixed_sources

TURNS = (10, 100, 1000)
NUMBER = 8
"""Bytes of a number, at most."""

_VERSIONS = re.compile(rb'(?<=call_)\d+(?=_)|(?<="at":)\d+')
"""Where a payload names a version."""

Row = tuple[str | int | bytes | None, ...]
Act = Callable[[Session], object]


def answer(request: ModelRequest) -> Scripted:
    """Call a tool when told to; say the same each time."""
    return Call("add", {"a": 1, "b": 2}) if request.messages[-1].text == "Add" else "So."


def rows_of(path: Path) -> set[Row]:
    """All rows of all tables of the log, each with its table's name in front."""
    with closing(sqlite3.connect(path)) as db:
        tables = db.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        ).fetchall()
        return {
            (table, *row) for (table,) in tables for row in db.execute(f"SELECT * FROM {table}")
        }


def size_of(row: Row) -> int:
    """The bytes of all its columns, with one digit for each version that a payload names."""
    return sum(
        NUMBER if isinstance(value, int) else len(_VERSIONS.sub(b"0", _as_bytes(value)))
        for value in row[1:]
    )


def _as_bytes(value: str | bytes | None) -> bytes:
    return value.encode() if isinstance(value, str) else value or b""


class Grown:
    """A session of so many turns, every other one with a tool call."""

    def __init__(self, path: Path, agent: Agent, turns: int) -> None:
        self.path = path
        self.session = agent.session("s", system="Be brief.")
        for turn in range(turns):
            self.session.run("Add" if turn % 2 else "Hi")

    def added(self, act: Act) -> list[int]:
        """The size of each row that this adds to the file, in order."""
        before = rows_of(self.path)
        act(self.session)
        after = rows_of(self.path)
        assert before < after
        return [size_of(row) for row in sorted(after - before, key=lambda row: row[:2])]


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Grown]]:
    """A session in a file of its own for each number of turns."""
    folder = tmp_path_factory.mktemp("stored")
    with ExitStack() as stack:
        made: list[Grown] = []
        for turns in TURNS:
            path = folder / f"{turns}.db"
            store = stack.enter_context(SQLiteStore(path, durability="os"))
            model, sources = ScriptedModel(answer), fixed_sources()
            agent = Agent(model, "m", store=store, tools=[add], sources=sources)
            made.append(Grown(path, stack.enter_context(agent), turns))
        yield made


each_turn = pytest.mark.parametrize(
    ("take", "rows"),
    [
        (lambda session: session.run("Hi"), 4),
        (lambda session: session.stream("Hi").finish(), 4),
        (lambda session: session.run("Add"), 8),
    ],
    ids=["plain", "streamed", "tool"],
)


@each_turn
def test_a_turn(grown: list[Grown], take: Act, rows: int) -> None:
    """Each of its rows is as large after a thousand turns as after ten."""
    first, *others = [one.added(take) for one in grown]
    assert len(first) == rows
    assert others == [first, first]


@each_turn
def test_a_turn_in_a_fork(grown: list[Grown], take: Act, rows: int) -> None:
    """It is as large as in the session itself, at any length."""
    own = grown[0].added(take)
    assert len(own) == rows
    for one in grown:
        fork = one.session.fork()
        assert one.added(lambda _, fork=fork: take(fork)) == own


def test_a_fork(grown: list[Grown]) -> None:
    """An event and a row of the table of streams: less than 1 kB at any length."""
    first, *others = [one.added(lambda session: session.fork("branch")) for one in grown]
    assert len(first) == 2
    assert sum(first) < 1000
    assert others == [first, first]
