"""What would be erased, of whom, and the events that say so."""

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from agent.eventstore import erasing
from agent.eventstore.backends.memory import MemoryLog
from agent.eventstore.backends.sqlite import SQLiteLog
from agent.eventstore.conformance.facts import attached, fixed, forked, said, started
from agent.eventstore.errors import NothingToErase, StoreBusy, UnknownEvent, UnknownStream
from agent.eventstore.events import PayloadErased
from agent.eventstore.export import export_events, import_events, parse_export
from agent.eventstore.log import EventLog
from agent.eventstore.record import Prepared
from agent.eventstore.verify import verify_export, verify_log, verify_stream


def log_of(*facts: Prepared) -> EventLog:
    """A log with one stream ``a``."""
    log = MemoryLog()
    log.append("a", [started("a"), *facts], expected=None)
    return log


def fork(log: EventLog, parent: str, child: str, at: int) -> None:
    """Fork a stream."""
    (point,) = log.read(parent, after=at - 1, until=at)
    log.fork(parent, child, at=at, prepared=forked(child, parent, point.head))


def erase(log: EventLog, stream: str, *versions: int) -> None:
    """Erase some versions, or all."""
    erasing.erase(log, erasing.plan(log, stream, versions or None), "asked", fixed)


def test_forks_are_named_with_what_they_share():
    """The first of the erasures, as many as lie in their common past."""
    log = log_of(*map(said, "bcdef"))
    fork(log, "a", "early", 2)
    fork(log, "a", "late", 5)
    fork(log, "late", "child", 6)
    fork(log, "a", "before", 1)

    plan = erasing.plan(log, "a", [6, 3, 5, 2])

    assert [one.version for one in plan.erasures] == [2, 3, 5, 6]
    assert {name: shared for name, (_, shared) in plan.forks.items()} == {
        "early": 1,
        "late": 3,
        "child": 3,
    }
    assert [list(plan.events(name, "why")) for name in ("a", "late")] == [
        [PayloadErased(erased=tuple(plan.erasures), reason="why")],
        [PayloadErased(erased=tuple(plan.erasures[:3]), reason="why")],
    ]


def test_nothing_is_written_by_a_look():
    """A plan is no change."""
    log = log_of(said("b"))
    before = list(log.read_all())
    erasing.plan(log, "a")
    assert list(log.read_all()) == before


def test_a_whole_stream_passes_over_what_holds_no_text():
    """Every event that has something to lose, and no other."""
    log = log_of(said("b"), said("c"))
    erase(log, "a", 2)
    assert [one.version for one in erasing.plan(log, "a").erasures] == [3]


@pytest.mark.parametrize(
    ("versions", "words"),
    [
        ([2], "version 2 .message.added. of session 'a' was erased before"),
        ([3], "version 3 .payload.erased. of session 'a' holds no text to erase"),
        (None, "session 'a' holds no text to erase"),
    ],
)
def test_nothing_to_erase(versions: list[int] | None, words: str):
    """Whoever names an event that has no text is told so."""
    log = log_of(said("b"))
    erase(log, "a", 2)
    with pytest.raises(NothingToErase, match=words):
        erasing.plan(log, "a", versions)


@pytest.mark.parametrize(("stream", "version"), [("b", 1), ("a", 0), ("a", 3)])
def test_what_is_not_there_is_refused(stream: str, version: int):
    """A stream or a version that there is not."""
    with pytest.raises(UnknownStream):
        erasing.plan(log_of(said("b")), stream, [version])


def test_what_a_later_release_wrote_is_left_to_it():
    """Nobody knows what would have to be left of it."""
    log = log_of(msgspec.structs.replace(said("b"), schema=99))
    with pytest.raises(UnknownEvent):
        erasing.plan(log, "a")


def test_long_streams_are_told_by_events_of_one_size():
    """No event grows with the stream."""
    log = log_of(*(said(str(number)) for number in range(1200)))
    erase(log, "a")
    told = [len(f.event.erased) for f in log.read("a") if isinstance(f.event, PayloadErased)]
    assert told == [512, 512, 176]
    assert verify_log(log, level="full").findings == []


# Verification


@pytest.mark.parametrize("stream", ["a", "child"])
def test_an_erasure_verifies_everywhere(stream: str):
    """Log, stream and export, of whoever was told."""
    log = log_of(said("b"), said("c"))
    fork(log, "a", "child", 3)
    erase(log, "a")

    found = verify_log(log, level="full")
    assert (found.findings, found.unwitnessed) == ([], 0)
    assert verify_stream(log, stream, level="full").findings == []
    data = export_events(list(log.read(stream)), log)
    assert verify_export(data).findings == []
    copy = MemoryLog()
    import_events(copy, stream, parse_export(data))
    assert verify_log(copy, level="full").findings == []


def test_a_fork_from_before_an_erasure_says_that_it_has_no_witness():
    """In the log its parent speaks for it; alone it has only what is left."""
    log = log_of(said("b"), said("c"))
    erase(log, "a", 2)
    fork(log, "a", "child", 3)

    assert verify_log(log, level="full").unwitnessed == 0
    found = verify_export(export_events(list(log.read("child")), log))
    assert (found.findings, found.unwitnessed) == ([], 1)


# Bytes


SECRET = b"xylophone"


def held(folder: Path) -> list[str]:
    """The files that hold the secret."""
    return [path.name for path in folder.iterdir() if SECRET in path.read_bytes()]


def test_no_byte_is_left_after_a_vacuum(tmp_path: Path):
    """Of payloads that filled pages of their own, and of attachments."""
    log = SQLiteLog(tmp_path / "log.db")
    big = SECRET.decode() * 5000
    many = [said(f"{SECRET.decode()} {number}") for number in range(200)]
    log.put_blob(SECRET * 2000)
    facts = [said(big), attached(SECRET * 2000), *many]
    log.append("a", [started("a"), *facts, said("kept")], expected=None)
    assert held(tmp_path) != []

    erase(log, "a", *range(2, 204))
    log.vacuum()

    assert held(tmp_path) == []
    assert [fact.event for fact in log.read("a", after=203, until=204)] == [said("kept").event]
    log.close()
    assert held(tmp_path) == []


def test_a_reader_of_an_older_state_is_told_of(tmp_path: Path):
    """The old pages stay as long as somebody reads them, and the vacuum says so."""
    log = SQLiteLog(tmp_path / "log.db", busy_timeout=0.1)
    log.append("a", [started("a"), said(SECRET.decode())], expected=None)
    with closing(sqlite3.connect(tmp_path / "log.db")) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM events").fetchall()
        erase(log, "a", 2)
        with pytest.raises(StoreBusy, match="somebody is reading an older state"):
            log.vacuum()
    log.vacuum()
    assert held(tmp_path) == []
    log.close()
