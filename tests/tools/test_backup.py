"""`agent backup`."""

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.engine.stores import SQLiteStore
from tests.tools.given import Terminal, changed, recorded_trip, run


@pytest.fixture(autouse=True)
def trip(db: Path) -> None:
    """A log to back up."""
    recorded_trip(db)


def test_a_log_is_backed_up(db: Path, tmp_path: Path):
    """The copy is named, with what is in it, and holds the same."""
    copy = tmp_path / "copy.db"
    done = run("backup", str(copy), "--level", "full")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{copy}: sessions 2, events 14\n"
    with SQLiteStore(db) as one, SQLiteStore(copy) as other:
        assert list(one.log.read_all()) == list(other.log.read_all())


def test_a_file_that_is_there(tmp_path: Path):
    """It stays, and that is said."""
    (tmp_path / "copy.db").write_text("mine")
    done = run("backup", str(tmp_path / "copy.db"))

    assert (done.returncode, done.stdout) == (2, "")
    assert "copy.db exists already, and is not overwritten" in done.stderr
    assert (tmp_path / "copy.db").read_text() == "mine"


def test_a_damaged_log(db: Path, tmp_path: Path):
    """There is no copy of it, and the status says why."""
    changed(db, "UPDATE events SET version = 99 WHERE position = 3")
    done = run("backup", str(tmp_path / "copy.db"))

    assert (done.returncode, done.stdout) == (3, "")
    assert not (tmp_path / "copy.db").exists()


def test_a_log_that_is_not_there(tmp_path: Path):
    """No copy of nothing is made."""
    done = run("backup", str(tmp_path / "copy.db"), "--db", str(tmp_path / "none.db"))

    assert (done.returncode, done.stdout) == (4, "")
    assert not (tmp_path / "copy.db").exists()


def test_in_a_terminal(tmp_path: Path, open_terminal: Callable[..., Terminal]):
    """What is done at once needs no bar."""
    terminal = open_terminal("backup", str(tmp_path / "copy.db"), width=200)

    assert terminal.leave() == 0
    assert terminal.written == f"{tmp_path / 'copy.db'}: sessions 2, events 14\n"
