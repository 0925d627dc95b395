import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agent.eventstore.backends import sqlite_backup
from agent.eventstore.backends.sqlite import SQLiteLog
from agent.eventstore.backends.sqlite_backup import backup_log
from agent.eventstore.conformance.facts import said, started
from agent.eventstore.errors import CorruptLog, StoreUnusable
from agent.eventstore.findings import LEVELS, Level, Verification
from agent.eventstore.verify import verify_log
from tests.eventstore.backends.mounts import READ_ONLY, TINY, run_mounted
from tests.eventstore.damaged import delete, fill, opened
from tests.eventstore.jsonl.given import written


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SQLiteLog]:
    """A filled log in a folder of its own."""
    (tmp_path / "live").mkdir()
    log = SQLiteLog(tmp_path / "live" / "log.db", durability="os")
    fill(log)
    delete(log, "b")
    yield log
    log.close()


@pytest.mark.parametrize("level", LEVELS)
def test_a_copy_is_the_same_log(log: SQLiteLog, tmp_path: Path, level: Level):
    """With the same sessions at the same positions, in one file, verified."""
    found = backup_log(log, tmp_path / "copy.db", level=level)

    assert found == verify_log(log, level=level)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.db", "live"]
    with closing(SQLiteLog(tmp_path / "copy.db")) as copy:
        assert list(copy.read_all()) == list(log.read_all())
        assert written(copy) == written(log)
        copy.append("a", [said("more")], expected=copy.head("a"))


def test_a_copy_of_a_log_in_memory(tmp_path: Path):
    """It gets a file at last."""
    log = SQLiteLog(":memory:")
    fill(log)

    assert backup_log(log, tmp_path / "copy.db").events == 19


def test_others_write_meanwhile(log: SQLiteLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The copy is as the log was at the beginning, whoever writes, and nobody waits."""
    monkeypatch.setattr(sqlite_backup, "_STEP", 1)
    told: list[tuple[int, int]] = []
    other = SQLiteLog(log.path, durability="os", busy_timeout=0)
    other.append("w", [started("w")], expected=None)
    delete(other, "w")
    before = list(log.read_all())

    def write(done: int, total: int) -> None:
        told.append((done, total))
        for one in log, other:
            one.append("a", [said(f"{done}")], expected=one.head("a"))

    found = backup_log(log, tmp_path / "copy.db", progress=write)

    other.close()
    with closing(SQLiteLog(tmp_path / "copy.db")) as copy:
        assert list(copy.read_all()) == before
    assert found.events == len(before)
    size = (tmp_path / "copy.db").stat().st_size
    copied = [(done, 2 * size) for done in range(8192, size + 1, 8192)]
    assert told == [*copied, (2 * size, 2 * size)]
    assert len(list(log.read_all())) == len(before) + 2 * len(told)


def test_threads_read_and_write_meanwhile(log: SQLiteLog, tmp_path: Path):
    """Those of the same process do not wait for its end either."""
    inside, done = threading.Event(), threading.Event()

    def wait(_done: int, _total: int) -> None:
        inside.set()
        assert done.wait(60)

    def copy() -> None:
        backup_log(log, tmp_path / "copy.db", progress=wait)

    thread = threading.Thread(target=copy)
    thread.start()
    assert inside.wait(60)
    head = log.append("a", [said("more")], expected=log.head("a"))
    assert log.head("a") == head
    done.set()
    thread.join()
    assert (tmp_path / "copy.db").exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_process_that_forks_meanwhile(log: SQLiteLog, tmp_path: Path):
    """The child uses the log and ends; the copy of its parent is made."""
    ended: list[int] = []

    def fork(_done: int, _total: int) -> None:
        if ended:
            return
        child = os.fork()
        if not child:
            log.append("a", [said("child")], expected=log.head("a"))
            log.close()
            os._exit(7)
        _, status = os.waitpid(child, 0)
        ended.append(os.waitstatus_to_exitcode(status))

    found = backup_log(log, tmp_path / "copy.db", level="full", progress=fork)

    assert (ended, found.findings) == ([7], [])
    assert len(list(log.read_all())) == found.events + 1


def test_a_damaged_log_is_not_backed_up(log: SQLiteLog, tmp_path: Path):
    """Nothing is left of the copy."""
    log.close()
    with closing(opened(Path(log.path))) as db:
        db.execute("UPDATE events SET version = 9 WHERE position = 7")

    with pytest.raises(CorruptLog, match="the version does not follow"):
        backup_log(SQLiteLog(log.path), tmp_path / "copy.db")

    assert [path.name for path in tmp_path.iterdir()] == ["live"]


def test_a_file_that_is_there_is_not_overwritten(log: SQLiteLog, tmp_path: Path):
    """Nor the log itself."""
    for taken in tmp_path / "file", Path(log.path):
        taken.touch()
        with pytest.raises(StoreUnusable, match="exists already"):
            backup_log(log, taken)

    assert (tmp_path / "file").stat().st_size == 0
    assert verify_log(log).ok


def test_an_interrupted_backup_leaves_nothing(log: SQLiteLog, tmp_path: Path):
    """Neither Ctrl-C nor anything else."""

    def stop(_done: int, _total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backup_log(log, tmp_path / "copy.db", progress=stop)

    assert [path.name for path in tmp_path.iterdir()] == ["live"]


def test_a_copy_has_the_permissions_of_the_log(log: SQLiteLog, tmp_path: Path):
    """What only its owner may read stays so."""
    Path(log.path).chmod(0o600)
    backup_log(log, tmp_path / "copy.db")

    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600


def test_a_copy_is_an_ordinary_database(log: SQLiteLog, tmp_path: Path):
    """All of it lies in the one file."""
    backup_log(log, tmp_path / "copy.db")

    with closing(sqlite3.connect(f"file:{tmp_path / 'copy.db'}?immutable=1", uri=True)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_full_disk(tmp_path: Path):
    """However much room there is, nothing half-made is left; with more the copy is made."""
    program = """
import tempfile
source = SQLiteStore(Path(tempfile.mkdtemp()) / "log.db")
agent_of("b" * 300_000, store=source).session("s").run("a")
for kilobytes in range(0, 300, 50):
    fill(leave=kilobytes * 1024)
    assert "free some space" in str(refused(StoreFull, lambda: source.backup(path)))
    assert "free some space" in str(refused(StoreFull, lambda: source.export(folder / "file")))
    assert list(folder.iterdir()) == [ballast]
    ballast.unlink()
assert source.backup(path, level="full").ok
"""
    run_mounted(TINY, tmp_path, program)


def test_a_disk_to_read_only(tmp_path: Path):
    """An archive can be backed up to elsewhere, and nothing to it."""
    with closing(SQLiteLog(tmp_path / "log.db")) as log:
        fill(log)
    program = """
import tempfile
elsewhere = Path(tempfile.mkdtemp())
with SQLiteStore(path) as store:
    assert store.backup(elsewhere / "copy.db").events == 19
    assert "cannot write" in str(refused(StoreUnusable, lambda: store.backup(folder / "copy.db")))
"""
    run_mounted(READ_ONLY, tmp_path, program)


def test_what_a_backup_answers(log: SQLiteLog, tmp_path: Path):
    """How the copy was verified."""
    found = backup_log(log, tmp_path / "copy.db")

    assert found == Verification("heads", 4, 15, 0, None, [])
