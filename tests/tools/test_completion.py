import os
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import click
import pytest

from agent.engine.agent import Agent
from agent.engine.scripted import ScriptedModel
from agent.engine.stores import SQLiteStore
from agent.tools.cli import COMMANDS, main
from agent.tools.completion import session_ids
from tests.tools.given import COMMAND, PATIENCE, recorded_trip

NAMING = {"revision", "revisions", "session", "before", "after", "names"}


def _completed(*words: str) -> list[str]:
    """What bash would offer for the last of these words of a command line."""
    line = {"COMP_WORDS": " ".join(("agent", *words)), "COMP_CWORD": str(len(words))}
    done = subprocess.run(
        COMMAND,
        env={**os.environ, **line, "_AGENT_COMPLETE": "bash_complete"},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert done.stderr == ""
    return [offer.removeprefix("plain,") for offer in done.stdout.split()]


@pytest.fixture
def trip(db: Path) -> Path:
    """A log with two sessions, and two whose ids no shell gives back."""
    recorded_trip(db)
    with SQLiteStore(db) as store:
        for name in ("trip to Kyoto", "trip\x1b[2J"):
            Agent(ScriptedModel(["Yes."]), store=store).session(name).run("Well?")
    return db


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_that_names_a_session_completes_it(name: str):
    """Wherever a session or a revision is named, its ids are offered."""
    command = main.get_command(click.Context(main), name)

    assert command is not None
    named = [one for one in command.params if isinstance(one, click.Argument)]
    assert [one.name for one in named if one.name in NAMING] == [
        one.name for one in named if one._custom_shell_complete is session_ids
    ]


@pytest.mark.usefixtures("trip")
def test_ids_that_begin_so():
    """Those of the log of AGENT_DB, and only those that a shell gives back as they are."""
    assert _completed("log", "tr") == ["trip", "trip-osaka"]
    assert _completed("diff", "trip", "trip-") == ["trip-osaka"]
    assert _completed("resume", "x") == []


def test_the_log_that_is_named(trip: Path, monkeypatch: pytest.MonkeyPatch):
    """`--db` before the id says which."""
    monkeypatch.setenv("AGENT_DB", "nowhere.db")

    assert _completed("log", "--db", str(trip), "trip-") == ["trip-osaka"]
    assert _completed("log", "trip-") == []


def _missing(path: Path) -> None:
    del path


def _empty(path: Path) -> None:
    path.touch()


def _text(path: Path) -> None:
    path.write_text("nothing\n" * 1000)


def _foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE a (b)")


def _folder(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("make", [_missing, _empty, _text, _foreign, _folder])
def test_what_is_no_log_is_left_alone(make: Callable[[Path], None], db: Path):
    """Nothing is offered, nothing fails, nothing is written."""
    make(db)
    before = {path: path.is_file() and path.read_bytes() for path in db.parent.rglob("*")}

    assert _completed("log", "tr") == []
    assert {p: p.is_file() and p.read_bytes() for p in db.parent.rglob("*")} == before


def test_looking_leaves_no_file(trip: Path):
    """The log is as it was, and nothing lies beside it."""
    before = {path: path.is_file() and path.read_bytes() for path in trip.parent.rglob("*")}
    _completed("log", "tr")

    assert {p: p.is_file() and p.read_bytes() for p in trip.parent.rglob("*")} == before
