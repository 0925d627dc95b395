import json
from pathlib import Path

import pytest

from tests.tools.given import changed, event_types, recorded_trip, run

AGENT = """\
from agent import Agent
from agent.testing import ScriptedModel

agent = Agent(ScriptedModel([]){more})
other = 7
"""


@pytest.fixture(autouse=True)
def trip(db: Path) -> None:
    """A log to replay."""
    recorded_trip(db)


def _write(folder: Path, monkeypatch: pytest.MonkeyPatch, more: str) -> None:
    (folder / "shop.py").write_text(AGENT.format(more=more))
    monkeypatch.chdir(folder)


def test_all_sessions_are_the_same():
    """The library does what it did."""
    done = run("replay")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "trip: no difference in 9 events, 2 requests",
        "trip-osaka: no difference in 10 events, 2 requests",
    ]


def test_an_agent_that_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`--app` finds an agent in the working directory."""
    _write(tmp_path, monkeypatch, "")
    done = run("replay", "trip", "--app", "shop:agent")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "trip: no difference in 9 events, 2 requests\n"


def test_an_agent_that_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, db: Path):
    """The first difference is told, the status is 1, and nothing is written."""
    before = event_types(db, "trip")
    _write(tmp_path, monkeypatch, ", temperature=0.5")
    done = run("replay", "trip", "--app", "shop", "--json")
    (result,) = json.loads(done.stdout)["replays"]

    assert (done.returncode, done.stderr) == (1, "")
    assert (result["session"], result["same"], result["events"]) == ("trip", False, 1)
    assert event_types(db, "trip") == before


def test_a_session_that_cannot_be_read(db: Path):
    """The others are replayed all the same, and the status tells."""
    changed(db, "UPDATE events SET payload = '{' WHERE version = 8 AND stream = 1")
    done = run("replay", "--nl")

    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [result["error"] is None for result in results] == [False, True]
    assert (done.returncode, len(done.stderr.splitlines())) == (3, 1)


@pytest.mark.parametrize("app", ["nowhere:agent", "shop:nobody", "shop:other", ":", ""])
def test_an_app_that_is_none(app: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What is not found, or is no agent, is wrong usage."""
    _write(tmp_path, monkeypatch, "")
    done = run("replay", "--app", app)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith(f"Error: --app {app}")
