import hashlib
import io
from pathlib import Path

import msgspec
import pytest

from agent.eventstore.backends.memory import MemoryLog
from agent.eventstore.backends.sqlite import SQLiteLog
from agent.eventstore.conformance.facts import bringing, deleted, said, started
from agent.eventstore.errors import CorruptLog, StoreUnusable, UnknownStream
from agent.eventstore.export import export_events
from agent.eventstore.jsonl.lines import Counts
from agent.eventstore.jsonl.writing import write_log
from agent.eventstore.log import EventLog
from agent.eventstore.version import library_version
from tests.eventstore.damaged import delete, fill, fork
from tests.eventstore.exports import DIGEST, erased, sample
from tests.eventstore.jsonl.given import family, parsed, shape, written


def test_lines_of_a_session():
    """A header, the session, its events as in its dictionary, its attachment, and an end."""
    log = family()
    events = export_events(list(log.read("a")), log)["events"]
    head = log.head("a")
    assert head

    lines = written(log, ["a"])

    before = b"".join(lines.splitlines(keepends=True)[:-1])
    marked = [{"kind": "event", **event} for event in events]
    assert parsed(lines) == [
        {"format": "agent-log", "format_version": 1, "library": library_version()},
        {"kind": "session", "session": "a"},
        *marked[:2],
        {"kind": "attachment", "digest": DIGEST, "data": "eA=="},
        *marked[2:],
        {
            "kind": "end",
            "sessions": {"a": {"version": 5, "hash": head.hash.hex()}},
            "events": 5,
            "attachments": 1,
            "sha256": hashlib.sha256(before).hexdigest(),
        },
    ]


def test_forks_come_after_what_they_share():
    """What several sessions share is there once, and a session says where forks begin."""
    lines = written(family())

    own = [("a", None, 0), (1,), (2,), ("attachment",), (3,), (4,), (5,)]
    assert shape(lines) == [*own, ("b", "a", 3), (4,), (5,), ("c", "b", 4), (5,)]
    found = [line.get("forks", []) for line in parsed(lines) if line.get("kind") == "session"]
    assert found == [[3], [4], []]


def test_a_fork_alone_has_what_it_inherits():
    """It then stands on its own feet."""
    assert shape(written(family(), "c")) == [
        ("c", None, 0),
        *[(1,), (2,), ("attachment",), (3,), (4,), (5,)],
    ]


def test_the_parent_named_holds_the_point():
    """A fork within what its parent inherited goes on from where that lies."""
    log = family()
    fork(log, "c", "early", 2)

    assert ("early", "a", 2) in shape(written(log))


def test_forks_of_what_was_deleted_share_it(log: EventLog):
    """The one that inherits the most holds it for all."""
    log.append("a", [started("a"), *map(said, "bcde")], expected=None)
    for name, at in ("x", 2), ("y", 4), ("z", 3):
        fork(log, "a", name, at)
    fork(log, "z", "deep", 4)
    delete(log, "z")
    delete(log, "a")

    assert shape(written(log)) == [
        *[("y", None, 0), (1,), (2,), (3,), (4,), (5,)],
        *[("deep", "y", 3), (4,), (5,)],
        *[("x", "y", 2), (3,)],
    ]


def test_a_fork_of_a_copy_that_went_on(log: EventLog):
    """Two sessions may begin alike without sharing: a fork goes on from the one it came from."""
    log.append("a", [started("a"), said("one"), said("two")], expected=None)
    log.append("z", [started("a"), said("one"), said("other")], expected=None)
    fork(log, "z", "y", 3)

    assert shape(written(log))[-2:] == [("y", "z", 3), (4,)]


def test_a_name_that_is_used_again_is_another_session(log: EventLog):
    """A fork whose parent was deleted does not go on from whoever has the name now."""
    log.append("a", [started("a"), said("old")], expected=None)
    fork(log, "a", "b", 2)
    delete(log, "a")
    log.append("a", [started("a", recorded_at=1), said("new")], expected=None)

    assert shape(written(log)) == [("a", None, 0), (1,), (2,), ("b", None, 0), (1,), (2,), (3,)]


def test_the_same_sessions_give_the_same_bytes(tmp_path: Path):
    """Wherever they lie, and in whichever order they came."""
    one, other = MemoryLog(), SQLiteLog(tmp_path / "log.db", durability="os")
    fill(one)
    fill(other)
    other.append("z", [started("z")], expected=None)
    other.delete("z", deleted())

    assert written(one) == written(other) == written(one, list("edcba"))
    other.close()


def test_attachments_are_there_once():
    """Also where several sessions name them."""
    log = family()
    log.append("d", [started("d"), bringing(b"x", b"y")], expected=None)

    assert [what for what in shape(written(log)) if what == ("attachment",)] == [
        ("attachment",)
    ] * 2


def test_erased_events_are_carried():
    """With the digest in place of the salt, what is left, and without attachments."""
    log, facts = MemoryLog(), sample()
    log.append("a", [*facts[:2], erased(facts[2]), facts[3]], expected=None)

    lines = parsed(written(log))

    assert [line.get("kind") for line in lines] == [None, "session", *["event"] * 4, "end"]
    assert lines[4].keys() - lines[3].keys() == {"digest"}
    assert lines[3].keys() - lines[4].keys() == {"salt"}
    assert lines[4]["digest"] == facts[2].digest.hex()


def test_an_empty_log():
    """It has a header and an end."""
    file = io.BytesIO()

    assert write_log(MemoryLog(), file) == Counts(0, 0, 0)
    assert len(parsed(file.getvalue())) == 2


def test_a_session_that_is_none(tmp_path: Path):
    """Nothing is written when a name is wrong."""
    with pytest.raises(UnknownStream, match="there is no session 'nobody'"):
        write_log(family(), tmp_path / "file", ["a", "nobody"])

    assert list(tmp_path.iterdir()) == []


def test_a_damaged_session_is_refused(tmp_path: Path):
    """Damage is not carried on; other sessions can be exported without it."""
    log = family()
    log.append("d", [started("d")], expected=None)
    (fact,) = log._streams["d"].own
    log._streams["d"].own = [msgspec.structs.replace(fact, recorded_at=7)]

    with pytest.raises(CorruptLog, match="stream 'd', version 1"):
        write_log(log, tmp_path / "file")

    assert list(tmp_path.iterdir()) == []
    assert write_log(log, tmp_path / "file", ["a"]) == Counts(1, 5, 1)


def test_a_session_deleted_meanwhile():
    """The file would not be whole."""
    log = MemoryLog()
    log.append("a", [started("a")], expected=None)
    log.append("b", [started("b")], expected=None)

    class Slow(io.BytesIO):
        def write(self, data: bytes, /) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
            log.delete("b", deleted())
            return super().write(data)

    with pytest.raises(UnknownStream, match="'b' was deleted while it was written"):
        write_log(log, Slow())


def test_what_is_added_meanwhile_is_left_out():
    """Sessions are written as they were at the beginning."""
    log = family()
    expected = written(log)

    class Slow(io.BytesIO):
        def write(self, data: bytes, /) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
            log.append("a", [said("more")], expected=log.head("a"))
            return super().write(data)

    file = Slow()
    write_log(log, file)
    assert file.getvalue() == expected


def test_a_file_is_not_overwritten(tmp_path: Path):
    """Whatever has the name stays."""
    (tmp_path / "file").write_text("mine")

    with pytest.raises(StoreUnusable, match="file exists already"):
        write_log(family(), tmp_path / "file")

    assert (tmp_path / "file").read_text() == "mine"


def test_a_file_that_may_take_less():
    """An unbuffered file gets all bytes too, and stays open."""

    class Slow(io.RawIOBase):
        def __init__(self) -> None:
            self.taken = b""

        def writable(self) -> bool:
            return True

        def write(self, data: bytes, /) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
            self.taken += bytes(data[:100])
            return min(len(data), 100)

    file = Slow()
    write_log(family(), file)  # pyright: ignore[reportArgumentType]

    assert (file.taken, file.closed) == (written(family()), False)


def test_progress():
    """Events that are written, of all."""
    log = MemoryLog()
    log.append("a", [started("a"), *(said(str(number)) for number in range(599))], expected=None)
    fork(log, "a", "b", 2)
    told: list[tuple[int, int]] = []

    write_log(log, io.BytesIO(), progress=lambda done, total: told.append((done, total)))

    assert told == [(256, 601), (512, 601), (601, 601)]
