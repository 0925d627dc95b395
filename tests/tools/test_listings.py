"""`agent sessions` and `agent tree`."""

import json
from pathlib import Path

import pytest

from agent.engine.agent import Agent
from agent.engine.scripted import ScriptedModel
from agent.engine.stores import SQLiteStore
from tests.tools.given import recorded_trip, run


@pytest.fixture(autouse=True)
def trip(db: Path) -> None:
    """A log to list."""
    recorded_trip(db)


def test_sessions_are_listed_the_last_changed_first():
    """A line has id, version, time, and title and origin where there are any."""
    done = run("sessions")

    rows = [line.split() for line in done.stdout.splitlines()]
    assert [row[:2] + row[4:] for row in rows] == [
        ["trip-osaka", "10", "A", "trip", "from", "trip@5"],
        ["trip", "9", "A", "trip"],
    ]


def test_so_many_sessions():
    """`-n` takes the first of the list."""
    assert len(run("sessions", "-n", "1").stdout.splitlines()) == 1


def test_sessions_as_json():
    """A document, and lines, have the same sessions and name their schema."""
    document = json.loads(run("sessions", "--json").stdout)
    lines = [json.loads(line) for line in run("sessions", "--nl").stdout.splitlines()]

    assert document["schema"] == "agent.sessions/1"
    schema = {"schema": "agent.sessions/1"}
    assert lines == [{**schema, **one} for one in document["sessions"]]
    (osaka, root) = document["sessions"]
    assert (osaka["session"], osaka["parent"], osaka["forked_at"]) == ("trip-osaka", "trip", 5)
    assert (root["session"], root["version"], root["title"]) == ("trip", 9, "A trip")


def test_a_tree(db: Path):
    """Forks stand below what they come from, in the order of their beginnings."""
    with SQLiteStore(db) as store:
        agent = Agent(ScriptedModel([]), store=store)
        agent.session("trip-osaka").fork("deep", at=7)
        agent.session("trip").fork("early", at=1)
        agent.session("other", system="Another.").clear()
    whole, part = run("tree"), run("tree", "trip-osaka")

    assert whole.stdout.splitlines() == [
        "other@2",
        "trip@9",
        "├─ early@2  from trip@1",
        "└─ trip-osaka@10  from trip@5",
        "   └─ deep@8  from trip-osaka@7",
    ]
    assert part.stdout.splitlines() == [
        "trip-osaka@10  from trip@5",
        "└─ deep@8  from trip-osaka@7",
    ]


def test_a_fork_outlives_its_parent(db: Path):
    """Whose parent was deleted stands on its own, and still says where it comes from."""
    with SQLiteStore(db) as store:
        store.delete("trip")

    assert run("tree").stdout == "trip-osaka@10  from trip@5\n"


@pytest.mark.parametrize("columns", [20, 40, 72, 200])
@pytest.mark.parametrize("name", ["sessions", "tree", "log"])
def test_lines_fit_the_window(name: str, columns: int, monkeypatch: pytest.MonkeyPatch):
    """No line is longer than the window, if there is room for an id at all."""
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = run(name).stdout.splitlines()

    assert max(map(len, lines)) <= max(columns, 45)
