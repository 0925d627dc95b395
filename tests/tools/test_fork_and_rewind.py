from pathlib import Path

import pytest

from agent.engine.stores import SQLiteStore
from tests.tools.given import event_types, history, recorded_trip, run


@pytest.fixture(autouse=True)
def trip(db: Path) -> None:
    """A log to branch."""
    recorded_trip(db)


def test_a_fork_shares_what_was_before(db: Path):
    """The new id is written, and the fork has the history of the revision."""
    done = run("fork", "trip~1", "trip-nara")

    assert (done.returncode, done.stdout, done.stderr) == (0, "trip-nara\n", "")
    assert event_types(db, "trip-nara") == [*event_types(db, "trip")[:5], "session.forked"]
    assert history(db, "trip-nara") == [("user", "How is Kyoto?"), ("assistant", "Sunny.")]


def test_a_fork_without_a_name_is_given_one(db: Path):
    """What is written names the session that was made."""
    name = run("fork", "trip@5").stdout.rstrip("\n")

    with SQLiteStore(db) as store:
        assert sorted({*store.list_sessions()} - {"trip", "trip-osaka"}) == [name]


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("fork", "trip", "trip-osaka"), 1),
        (("fork", "trip", ""), 2),
        (("fork", "trip@0", "none"), 4),
        (("fork", "nobody", "none"), 4),
        (("rewind", "trip@3"), 4),
        (("rewind", "trip@99"), 4),
    ],
)
def test_what_cannot_be_done(arguments: tuple[str, ...], status: int, db: Path):
    """The reason is one line, the status tells its kind, and nothing was written."""
    before = event_types(db, "trip"), event_types(db, "trip-osaka")
    done = run(*arguments)

    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (status, "", 1)
    assert (event_types(db, "trip"), event_types(db, "trip-osaka")) == before
    with SQLiteStore(db) as store:
        assert store.list_sessions() == ["trip", "trip-osaka"]


def test_back_and_forward(db: Path):
    """A rewind shows the earlier history again, another one the later."""
    whole = history(db, "trip")
    back = run("rewind", "trip~1")
    earlier = history(db, "trip")
    forward = run("rewind", "trip@9")

    assert (back.stdout, forward.stdout) == ("trip@10\n", "trip@11\n")
    assert (earlier, history(db, "trip")) == (whole[:2], whole)


def test_an_open_turn_has_to_be_decided_first(db: Path):
    """While a turn is open nothing is rewound, with status 5."""
    run("fork", "trip@3", "open")
    done = run("rewind", "open@1")

    assert (done.returncode, done.stdout) == (5, "")
    assert event_types(db, "open")[-1] == "session.forked"
