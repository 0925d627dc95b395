import json
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.engine.stores import SQLiteStore
from tests.tools.given import Terminal, event_types, history, recorded_trip, run

REASON = ("--reason", "asked by the person")


@pytest.fixture(autouse=True)
def trip(db: Path) -> None:
    """A log with a session and a fork of it."""
    recorded_trip(db)


def types(db: Path) -> list[list[str]]:
    """The types of all events."""
    return [event_types(db, name) for name in ("trip", "trip-osaka")]


def test_one_text_is_gone(db: Path):
    """The new revision is written; what was erased stands on stderr, before it is."""
    done = run("erase", "trip@6", *REASON, "--yes")

    version = len(event_types(db, "trip"))
    assert (done.returncode, done.stdout) == (0, f"trip@{version}\n")
    assert done.stderr.split() == [
        "6",
        "turn.started",
        *["the", "user:", "Where", "do", "we", "begin?"],
    ]
    shown = run("log", f"trip@{version - 1}..", "--oneline").stdout
    assert shown.split(maxsplit=2)[1:] == ["payload.erased", "versions 6: asked by the person\n"]
    assert ("user", "[erased]") in history(db, "trip")


def test_nobody_is_asked_without_a_terminal(db: Path):
    """Nothing is erased until the arguments say that it is meant, for forks too."""
    before = types(db)
    for arguments, missing in (
        (("trip@6",), "--yes"),
        (("trip@2",), "--yes --forks"),
        (("trip@2", "--yes"), "--yes --forks"),
        (("trip@2", "--forks"), "--yes --forks"),
    ):
        done = run("erase", *arguments, *REASON)
        assert (done.returncode, done.stdout) == (5, "")
        words = f"Error: nothing was erased: say that it is meant with {missing}"
        assert done.stderr.splitlines()[-1] == words
    assert types(db) == before


def test_forks_are_named_first(db: Path):
    """Each with how much of it they share; then they lose it too."""
    done = run("erase", "trip@2..9", *REASON, "--dry-run")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines()[-1].startswith("shared: trip-osaka has ")

    done = run("erase", "trip@2", *REASON, "--yes", "--forks", "--json")
    assert json.loads(done.stdout) == {
        "schema": "agent.erase/1",
        "session": "trip",
        "versions": [2],
        "forks": ["trip-osaka"],
        "vacuumed": True,
    }
    for name in ("trip", "trip-osaka"):
        assert history(db, name)[0] == ("user", "[erased]")


def test_a_whole_session(db: Path):
    """Every text of it; the events stay, and verify."""
    before = event_types(db, "trip")
    done = run("erase", "trip", "--all", *REASON, "--yes", "--forks")

    assert done.returncode == 0
    assert event_types(db, "trip") == [*before, "payload.erased"]
    assert {text for _, text in history(db, "trip")} == {"[erased]"}
    with SQLiteStore(db) as store:
        assert store.verify(level="full").findings == []


def test_no_byte_is_left(db: Path):
    """Neither in the log nor beside it."""
    assert b"Kyoto" in db.read_bytes()
    run("erase", "trip", "--all", *REASON, "--yes", "--forks")
    files = [path for path in db.parent.iterdir() if path.is_file()]
    assert [path.name for path in files if b"Kyoto" in path.read_bytes()] == []


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("trip",), 2),
        (("trip~1",), 2),
        (("trip@2", "trip-osaka@2"), 2),
        (("trip", "trip-osaka", "--all"), 2),
        (("trip@3",), 4),
        (("trip@99",), 4),
        (("nobody@1",), 4),
        (("trip@3..3",), 4),
    ],
)
def test_what_cannot_be_erased(arguments: tuple[str, ...], status: int, db: Path):
    """The last line is the reason, the status tells its kind, and nothing was written."""
    before = types(db)
    done = run("erase", *arguments, *REASON, "--yes", "--forks")
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    assert types(db) == before


def test_a_reason_is_asked_for(db: Path):
    """An erasure without one would be a riddle to whoever reads the log."""
    before = types(db)
    assert run("erase", "trip@6", "--yes").returncode == 2
    assert types(db) == before


@pytest.mark.parametrize(("answer", "status"), [("n", 5), ("y", 0)])
def test_a_terminal_is_asked(
    answer: str, status: int, open_terminal: Callable[..., Terminal], db: Path
):
    """The question says how much, and of how many forks."""
    terminal = open_terminal("erase", "trip@2", *REASON)
    terminal.expect("Erase 1 event of trip, and of 1 fork, for good? [y/N]: ")
    terminal.enter(answer)
    assert terminal.leave() == status
    assert (history(db, "trip")[0] == ("user", "[erased]")) is (answer == "y")


def test_the_bytes_may_go_later(db: Path):
    """`agent vacuum` takes them out of the file, and writes its size."""
    done = run("erase", "trip", "--all", *REASON, "--yes", "--forks", "--no-vacuum", "--json")
    assert json.loads(done.stdout)["vacuumed"] is False

    done = run("vacuum")

    assert (done.returncode, done.stdout, done.stderr) == (0, f"{db.stat().st_size} bytes\n", "")
    assert b"Kyoto" not in db.read_bytes()
