"""What all commands that read a log have in common, through the real process."""

import os
import sqlite3
import stat
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from agent.engine.stores import SQLiteStore
from tests.tools.given import COMMAND, changed, recorded_trip, run

READING = [
    ("sessions",),
    ("log", "trip"),
    ("show", "trip"),
    ("diff", "trip", "trip"),
    ("tree",),
    ("search", "kyoto"),
    ("stats",),
    ("sql",),
]


@pytest.fixture(autouse=True)
def trip(db: Path) -> None:
    """A log to read."""
    recorded_trip(db)


@pytest.mark.parametrize("arguments", READING)
def test_a_missing_file_is_not_made(arguments: tuple[str, ...], tmp_path: Path):
    """What is not there is said, with status 4."""
    path = tmp_path / "none.db"
    done = run(*arguments, "--db", str(path))

    assert (done.returncode, done.stdout, path.exists()) == (4, "", False)
    assert done.stderr == f"Error: there is no log {path}\n"


def test_without_a_log_of_ones_own(monkeypatch: pytest.MonkeyPatch):
    """Who names no log and has none is told how to name one."""
    monkeypatch.delenv("AGENT_DB")
    done = run("sessions")

    path = Path.home() / ".config/agent/sessions.db"
    words = f"Error: there is no log {path}; name another file with --db or AGENT_DB\n"
    assert (done.returncode, done.stderr) == (4, words)
    assert not path.parent.exists()


@pytest.mark.parametrize("arguments", READING)
def test_an_empty_file_stays_empty(arguments: tuple[str, ...], tmp_path: Path):
    """A file without a byte is not made a log."""
    path = tmp_path / "empty.db"
    path.touch()
    done = run(*arguments, "--db", str(path))

    assert (done.returncode, done.stdout, path.stat().st_size) == (4, "", 0)
    assert done.stderr == f"Error: {path} is an empty file, and no log yet\n"


@pytest.mark.parametrize("arguments", READING)
def test_a_file_that_is_no_log(arguments: tuple[str, ...], tmp_path: Path):
    """Text, and databases of others, are refused in one line and left as they are."""
    text, other = tmp_path / "text.db", tmp_path / "other.db"
    text.write_text("no log " * 1000)
    with closing(sqlite3.connect(other)) as db:
        db.execute("CREATE TABLE mine (a)")
    for path in (text, other):
        before = path.read_bytes()
        done = run(*arguments, "--db", str(path))
        assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
        assert path.read_bytes() == before


def test_a_log_without_sessions(tmp_path: Path):
    """An empty log lists nothing, which is no error; to name a session there is one."""
    path = tmp_path / "new.db"
    with SQLiteStore(path) as store:
        store.list_sessions()
    lists = [run(name, "--db", str(path)) for name in ("sessions", "tree")]
    named = run("log", "--db", str(path))

    assert [(done.returncode, done.stdout, done.stderr) for done in lists] == [(0, "", "")] * 2
    assert (named.returncode, named.stderr) == (4, "Error: the log has no sessions\n")


@pytest.mark.parametrize("arguments", READING)
def test_a_file_that_cannot_be_written(arguments: tuple[str, ...], db: Path):
    """A log is read where nothing can be written."""
    db.chmod(stat.S_IRUSR)
    done = run(*arguments)

    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("arguments", [("log", "trip", "-p"), ("sessions", "--nl")])
def test_a_reader_that_leaves(arguments: tuple[str, ...]):
    """Piped into `head`, a command ends without a word."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([*COMMAND, *arguments], stdout=writing, stderr=-1, check=False)
    os.close(writing)

    assert (done.returncode, done.stderr) == (141, b"")


def test_reading_writes_nothing(db: Path):
    """After every command the log is to the byte what it was."""
    before = db.read_bytes()
    for arguments in READING:
        run(*arguments)

    assert db.read_bytes() == before


def test_a_damaged_event_is_named_and_the_rest_is_shown(db: Path):
    """What can be read is on stdout, what cannot on stderr, and the status is 3."""
    changed(db, "UPDATE events SET payload = '{\"type\":' WHERE type = 'turn.started'")
    done = run("log", "trip", "--oneline")

    lines = done.stdout.splitlines()
    assert (done.returncode, len(lines)) == (3, 9)
    assert lines[0].split() == [
        "1",
        "session.started",
        "system",
        "prompt:",
        "You",
        "are",
        "a",
        "guide.",
    ]
    assert lines[1].split()[:3] == ["2", "turn.started", "DAMAGED:"]
    (error,) = done.stderr.splitlines()
    assert error.startswith("Error: stream 'trip', version 2: turn.started does not decode")


@pytest.mark.parametrize("arguments", [("show", "trip", "--state"), ("diff", "trip", "trip~1")])
def test_a_state_of_damaged_events_is_none(arguments: tuple[str, ...], db: Path):
    """A state cannot be told from events that cannot be read."""
    changed(db, "UPDATE events SET payload = '{\"type\":' WHERE type = 'model.responded'")
    done = run(*arguments)

    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("Error: stream 'trip', version 4: ")


@pytest.mark.parametrize("name", ["sessions", "tree"])
def test_a_damaged_session_is_listed(name: str, db: Path):
    """A listing shows the damaged ones too, with what is wrong."""
    changed(db, "UPDATE events SET payload = '{' WHERE type = 'session.forked'")
    done = run(name)

    (line,) = [line for line in done.stdout.splitlines() if "trip-osaka" in line]
    assert (done.returncode, "DAMAGED: stream 'trip-osaka'" in line) == (0, True)


def test_recorded_names_command_no_terminal(db: Path):
    """An id may hold anything; what is said of it is harmless, as in lists and errors."""
    changed(db, "UPDATE streams SET name = 'trip' || char(27) || '[2J' WHERE name = 'trip'")

    for arguments in (("sessions",), ("tree",), ("log", "tri"), ("show", "trip\x1b"), ("log", "z")):
        done = run(*arguments)
        assert "\x1b" not in done.stdout + done.stderr, arguments


def test_recorded_text_commands_no_terminal(db: Path):
    """Escapes, and what turns text around, are shown and do nothing."""
    evil = "\\u001b]52;c;evil\\u0007\\u202e\\u009b2J"
    changed(
        db, f"UPDATE events SET payload = replace(payload, 'Sunny.', '{evil}') WHERE version = 4"
    )
    for arguments in (
        ("log", "trip", "-p"),
        ("log", "trip", "-p", "--json"),
        ("show", "trip@4"),
        ("show", "trip", "--state"),
        ("diff", "trip@1", "trip"),
    ):
        done = run(*arguments)
        assert "evil" in done.stdout
        assert not set("\x1b\x07\u202e\x9b") & set(done.stdout), arguments
