import shutil
from pathlib import Path
from random import Random

import pytest

from agent.eventstore.backends.memory import MemoryLog
from agent.eventstore.backends.sqlite import SQLiteLog
from agent.eventstore.export import export_digest
from agent.eventstore.findings import LEVELS, Finding, Level, Verification
from agent.eventstore.log import EventLog
from agent.eventstore.verify import verify_export, verify_log, verify_stream
from tests.eventstore.damaged import delete, fill, fork, made, opened
from tests.eventstore.exports import erased, exported, sample
from tests.torture.verify import trial

TRIALS = 200


@pytest.mark.parametrize("level", LEVELS)
def test_whole_log_checks_each_event_once(log: EventLog, level: Level):
    """What forks share is counted once, however many share it."""
    fill(log)

    found = verify_log(log, level=level)

    events = len(list(log.read_all()))
    assert found == Verification(level, 5, events, 1 if level == "full" else 0, None, [])


@pytest.mark.parametrize("level", LEVELS)
def test_stream_includes_what_it_inherits(log: EventLog, level: Level):
    """A fork is checked from its root on."""
    fill(log)

    assert verify_stream(log, "e", level=level) == Verification(level, 1, 6, 0, log.head("e"), [])


def test_stream_that_is_not_there_has_no_head(log: EventLog):
    """Nothing is wrong with nothing."""
    assert verify_stream(log, "a") == Verification("chain", 0, 0, 0, None, [])


def test_deleted_streams_leave_no_findings(log: EventLog):
    """Purged events are accounted for, those kept for forks are checked, names are used again."""
    fill(log)
    for stream in ("b", "a", "d"):
        delete(log, stream)
    log.append("b", sample(stream="b")[:2], expected=None)
    fork(log, "e", "a", 2)

    found = verify_log(log, level="full")

    assert (found.findings, found.unlinked) == ([], 0)


def test_erased_events_verify(log: EventLog):
    """The digest stands for what is gone."""
    facts = sample()[:2]
    log.append("a", [facts[0], erased(facts[1])], expected=None)

    assert verify_log(log, level="full").findings == []


def test_unknown_level_is_refused():
    """A typo must not check less than was asked for."""
    with pytest.raises(ValueError, match="level= is one of heads, chain, full, not 'deep'"):
        verify_log(MemoryLog(), level="deep")  # pyright: ignore[reportArgumentType]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A filled log, closed."""
    log = SQLiteLog(tmp_path / "log.db", durability="os")
    fill(log)
    log.close()
    return tmp_path / "log.db"


def verified(path: Path, level: Level = "full") -> list[Finding]:
    """All that is wrong with a log in a file."""
    log = SQLiteLog(path)
    try:
        return verify_log(log, level=level).findings
    finally:
        log.close()


def change(path: Path, statement: str) -> None:
    """Write past all guards."""
    db = opened(path)
    db.execute(statement)
    db.close()


def test_all_findings_are_told(file: Path):
    """The second place is named too."""
    change(file, "UPDATE events SET recorded_at = 1 WHERE position IN (5, 9)")

    assert [(f.stream, f.version, f.position, f.reason) for f in verified(file, "chain")] == [
        ("b", 2, 5, "the event does not match its hash"),
        ("c", 3, 9, "the event does not match its hash"),
    ]


def test_heads_alone_do_not_see_changed_bytes(file: Path):
    """That is what the chain is for."""
    change(file, "UPDATE events SET recorded_at = 1 WHERE position = 5")

    assert verified(file, "heads") == []


def test_event_of_no_stream_is_found(file: Path):
    """No reading of streams would show it."""
    last = "(SELECT max(position) FROM events)"
    change(file, f"UPDATE events SET stream = 99 WHERE position = {last}")

    assert Finding("", 6, 19, "the event belongs to no stream") in verified(file)


def test_damaged_attachment_is_found(file: Path):
    """Attachments are no part of the chain, their digests are."""
    change(file, "UPDATE blobs SET data = x'00'")

    (found,) = verified(file)

    assert (found.stream, found.version, found.reason) == (
        "a",
        6,
        "an attachment is missing or not whole",
    )


@pytest.fixture
def purged(tmp_path: Path) -> Path:
    """A log in which sessions were deleted and erased, closed."""
    made(tmp_path / "purged.db")
    return tmp_path / "purged.db"


def test_deletions_and_erasures_are_no_damage(purged: Path):
    """What is gone is accounted for, to the event."""
    assert verified(purged) == []


@pytest.mark.parametrize(
    ("column", "value"),
    [("recorded_at", "1"), ("salt", "zeroblob(16)"), ("version", "version + 1")],
)
def test_deletion_of_a_purged_stream_is_checked(purged: Path, column: str, value: str):
    """It names the hash that it follows, though nothing is left to have it."""
    change(purged, f"UPDATE events SET {column} = {value} WHERE position = 43")

    assert ("i", 43) in {(one.stream, one.position) for one in verified(purged, "chain")}


def test_deletion_that_tells_nothing_is_unlinked(purged: Path):
    """So the first logs have them: there is nothing to hash it with."""
    change(purged, 'UPDATE events SET payload = \'{"type":"session.deleted"}\' WHERE position = 43')
    log = SQLiteLog(purged)
    found = verify_log(log, level="chain")
    log.close()

    assert (found.findings, found.unlinked) == ([], 1)


def test_removed_deletion_is_found(purged: Path):
    """A name that is free, and nothing says why."""
    change(purged, "DELETE FROM events WHERE position = 44")

    reason = "no event says that the stream was deleted"
    assert ("g", reason) in {(one.stream, one.reason) for one in verified(purged, "heads")}


def test_attachment_of_another_event_is_found(purged: Path):
    """Noted for the wrong event, and no longer for its own."""
    change(purged, "UPDATE attachments SET position = 1 WHERE position = 16")

    assert {(one.position, one.reason) for one in verified(purged)} == {
        (1, "the event does not name an attachment of its"),
        (16, "an attachment is not noted for its event"),
    }


def test_damaged_attachment_of_no_event_is_found(purged: Path):
    """It was stored before its event, which never came."""
    change(purged, "UPDATE blobs SET data = x'00' WHERE data = CAST('of no event' AS BLOB)")

    assert [one.reason for one in verified(purged)] == ["an attachment without an event is damaged"]


def test_fork_point_that_is_no_hash_is_found(file: Path):
    """It is told, and raises nothing."""
    change(
        file,
        'UPDATE events SET payload = replace(payload, \'"parent_hash":"\', \'"parent_hash":"x\') '
        "WHERE type = 'session.forked'",
    )

    assert {"d", "e"} <= {one.stream for one in verified(file)}


def test_what_sqlite_finds_is_found(purged: Path):
    """An index that lacks an event would hide it from a session."""
    db = opened(purged)
    db.execute("PRAGMA writable_schema = ON")
    db.execute(
        "UPDATE sqlite_schema SET sql = replace(sql, 'session.forked', 'session.for') "
        "WHERE name = 'events_identity'"
    )
    db.close()

    assert "wrong # of entries in index events_identity" in [one.reason for one in verified(purged)]


def test_stream_marked_as_deleted_is_found(file: Path):
    """Its events are there, and none says that it was deleted."""
    change(file, "UPDATE streams SET deleted = 1 WHERE name = 'c'")

    assert [(f.stream, f.reason) for f in verified(file)] == [
        ("c", "the log does not list the stream of this event"),
        ("c", "no event says that the stream was deleted"),
    ]


def test_fork_from_elsewhere_is_found(file: Path):
    """A fork hangs where its first event says."""
    change(file, "UPDATE streams SET parent = 2 WHERE name = 'd'")

    assert "the fork does not go on from its parent" in {f.reason for f in verified(file)}


def test_damage_is_found_and_placed(tmp_path: Path):
    """Flipped, removed, swapped, added, moved: each time, with the place."""
    random = Random(7)
    missed = [said for number in range(TRIALS) if (said := trial(tmp_path, number, random))]

    assert missed == []


def test_changed_export_is_found():
    """One byte of any field, also outside of the chain."""
    data = exported()

    changed = {**data, "library": data["library"] + "x"}

    assert verify_export(data).ok
    assert [f.reason for f in verify_export(changed).findings] == [
        "it does not match the digest that closes it"
    ]


def test_export_names_each_changed_event():
    """Not only the first."""
    data = exported()
    for place in (1, 3):
        data["events"][place]["recorded_at"] += 1
    data["digest"] = export_digest(data)

    assert [(f.version, f.reason) for f in verify_export(data).findings] == [
        (2, "the event does not match its hash"),
        (4, "the event does not match its hash"),
    ]


def test_copy_of_a_file_verifies(file: Path, tmp_path: Path):
    """Nothing is bound to where it lies."""
    shutil.copy(file, tmp_path / "copy.db")

    assert verified(tmp_path / "copy.db") == []
