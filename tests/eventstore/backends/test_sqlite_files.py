"""The file of a log: its name, what happens to it while it is open, who else has it open."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from agent.eventstore.backends.sqlite import SQLiteLog
from agent.eventstore.conformance.facts import places, said, started
from agent.eventstore.errors import StoreBusy, StoreUnusable
from agent.eventstore.record import Head
from tests.eventstore.backends.access import plain

# Names


@pytest.mark.parametrize(
    "name",
    [
        "with space.db",
        "log?mode=ro.db",
        "log#1.db",
        "100%41.db",
        "file:log.db",
        "'quoted' \"twice\".db",
        "-log;--.db",
        "two\nlines.db",
        "\N{TEACUP WITHOUT HANDLE}.db",
        "not-utf8-\udcff.db",
        "x" * 200 + ".db",
    ],
    ids=repr,
)
def test_odd_names(tmp_path: Path, name: str):
    """Any file name is only a name, given as text or as bytes."""
    path = tmp_path / name
    with closing(SQLiteLog(path)) as log:
        head = log.append("a", [started("a")], expected=None)

    assert [path] == list(tmp_path.iterdir())
    with closing(SQLiteLog(os.fsencode(path))) as log:  # pyright: ignore[reportArgumentType] - works
        assert head == log.head("a")


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_names_that_no_file_can_have(name: str):
    """A name that no file can have is refused at once."""
    with pytest.raises(StoreUnusable, match="file name"):
        SQLiteLog(name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "it is a folder"),
        ("missing/log.db", "folder does not exist; make it first"),
        ("x" * 252, "length of its name"),
        ("/".join(["y" * 100] * 6) + "/log.db", "length of its name"),
        ("loop.db", "permissions"),
    ],
)
def test_files_that_cannot_be_opened(tmp_path: Path, name: str, words: str):
    """A file that cannot be opened is refused with what stands in the way."""
    path = tmp_path / name
    if "y" in name:
        path.parent.mkdir(parents=True)
    if name == "loop.db":
        path.symlink_to(path)

    with closing(SQLiteLog(path)) as log, pytest.raises(StoreUnusable, match=words):
        log.append("a", [started("a")], expected=None)


def test_link_leads_to_the_log(tmp_path: Path):
    """A link is the same log as the file, also while both are open, and the file is kept whole."""
    path, link = tmp_path / "log.db", tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(path)
    with closing(SQLiteLog(link)) as log, closing(SQLiteLog(path)) as same:
        head = log.append("a", [started("a")], expected=None)
        assert same.append("a", [said("x")], expected=head) == log.head("a")

    assert [link] == list(link.parent.iterdir())


# Another file in its place


def put_another(path: Path) -> None:
    """Put another log where the log is."""
    other = path.with_name("other.db")
    with closing(SQLiteLog(other)) as log:
        log.append("other", [started("other")], expected=None)
    other.replace(path)


def remove_all(path: Path) -> None:
    """Remove the log and all that belongs to it."""
    for file in path.parent.iterdir():
        file.unlink()


TAKEN: list[Callable[[Path], object]] = [
    lambda path: path.unlink(),
    lambda path: path.rename(path.with_name("moved.db")),
    put_another,
    lambda path: Path(f"{path}-wal").unlink(),
    lambda path: Path(f"{path}-shm").unlink(),
    remove_all,
    lambda path: shutil.rmtree(path.parent),
    lambda path: path.parent.rename(path.parent.with_name("moved")),
]
NAMES = ["deleted", "moved", "replaced", "-wal", "-shm", "all", "folder", "folder moved"]


@pytest.mark.parametrize("take", TAKEN, ids=NAMES)
@pytest.mark.parametrize("old", [False, True], ids=["new", "old"])
def test_lost_file_is_noticed(tmp_path: Path, take: Callable[[Path], object], old: bool):
    """A file that was taken away while it was open gets no event that nobody would find again."""
    path = tmp_path / "folder" / "log.db"
    path.parent.mkdir()
    with closing(SQLiteLog(path)) as log:
        head = log.append("a", [started("a")], expected=None)
        if old:  # the folder has not changed for long, and the log has seen that
            os.utime(path.parent, (0, 0))
            head = log.append("a", [said("x")], expected=head)
        take(path)

        for _ in range(2):
            with pytest.raises(StoreUnusable, match=r"nothing was written.*open the store again"):
                log.append("a", [said("lost")], expected=head)
            with pytest.raises(StoreUnusable):
                log.put_blob(b"lost")
        with pytest.raises(StoreUnusable):  # the first to read, which would open another file
            log.head("a")


def test_lost_file_is_still_read(log: SQLiteLog, head: Head, path: Path):
    """What was open when the file was taken away can still be read, and exported."""
    assert head == log.head("a")
    remove_all(path)

    with pytest.raises(StoreUnusable):
        log.append("a", [said("lost")], expected=head)
    assert places(log.read("a")) == [("a", 1), ("a", 2), ("a", 3)]
    assert list(path.parent.iterdir()) == []


def test_file_that_comes_back_is_used_again(log: SQLiteLog, head: Head, path: Path):
    """A file that was moved away and back is the same file."""
    away = path.rename(path.with_name("away.db"))
    with pytest.raises(StoreUnusable):
        log.append("a", [said("x")], expected=head)

    away.rename(path)

    assert log.append("a", [said("x")], expected=head).version == 4


def test_overwritten_file_is_noticed_when_read(log: SQLiteLog, head: Head, path: Path):
    """Other content in the same file is no other file: it shows when it is next read."""
    log.close()
    with closing(SQLiteLog(path)) as writing, closing(SQLiteLog(path)) as reading:
        head = writing.append("a", [said("x")], expected=head)
        path.write_bytes(b"something else " * 10_000)
        writing.append("a", [said("y")], expected=head)

        with pytest.raises(StoreUnusable, match="not a SQLite database"):
            reading.head("a")


def test_neighbours_do_not_disturb(log: SQLiteLog, head: Head, path: Path):
    """Other files may come and go in the folder."""
    for number in range(3):
        neighbour = path.with_name(f"neighbour-{number}")
        neighbour.touch()
        head = log.append("a", [said("x")], expected=head)
        neighbour.unlink()
        head = log.append("a", [said("y")], expected=head)

    assert head.version == 9


# Others who have it open


def test_two_logs_on_one_file(path: Path):
    """A file may be open twice in one process: both see and continue each other's events."""
    with closing(SQLiteLog(path)) as one, closing(SQLiteLog(path)) as two:
        head = one.append("a", [started("a")], expected=None)
        head = two.append("a", [said("x")], expected=head)
        one.append("a", [said("y")], expected=head)
        two.close()

        assert places(one.read("a")) == [("a", 1), ("a", 2), ("a", 3)]


@pytest.mark.parametrize("lock", ["PRAGMA locking_mode = EXCLUSIVE", "SELECT 1"])
def test_locked_file_is_busy(path: Path, lock: str):
    """While another program has the file for itself, opening and writing say so, and then go on."""
    with closing(SQLiteLog(path)) as log:
        head = log.append("a", [started("a")], expected=None)
    with closing(SQLiteLog(path, busy_timeout=0.05)) as log:
        with plain(path) as db:
            db.execute(lock)
            db.execute("BEGIN IMMEDIATE")
            for _ in range(2):
                with pytest.raises(StoreBusy, match="try again"):
                    log.append("a", [said("x")], expected=head)
            db.execute("ROLLBACK")

        assert log.append("a", [said("x")], expected=head).version == 2


@contextmanager
def masked(mask: int) -> Iterator[None]:
    """Make files for fewer people, or for more."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_files_beside_have_the_rights_of_the_log(log: SQLiteLog, head: Head, path: Path):
    """Whoever may use the log may use what another user's program makes beside it."""
    log.close()
    path.chmod(0o660)

    with masked(0o077), closing(SQLiteLog(path)) as again:
        again.append("a", [said("x")], expected=head)

        assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o660}
