"""Files that are not whole: what is found, and in which line."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from random import Random

import msgspec
import pytest

from agent.eventstore.backends.memory import MemoryLog
from agent.eventstore.conformance.facts import attached_as, said, started
from agent.eventstore.events import HistoryCleared
from agent.eventstore.export import entry_of
from agent.eventstore.findings import LEVELS, Level, Verification
from agent.eventstore.jsonl import lines as kinds
from agent.eventstore.jsonl import reading
from agent.eventstore.jsonl.checking import verify_jsonl
from agent.eventstore.jsonl.lines import EventLine, encoder
from agent.eventstore.record import prepare, record
from tests.eventstore.exports import DIGEST
from tests.eventstore.jsonl.given import family, of_a_later_release, sealed, written

WHOLE = written(family()).splitlines(keepends=True)
"""Header 1, session 2, events 3 4, attachment 5, events 6-8; b 9, 10 11; c 12, 13; end 14."""

SUM = "the bytes before it are not those that were written"
FEWER = "there are not as many events as it says"
GAP = "the version does not follow"
HASH = "the event does not match its hash"
END = "the session does not end at its head"
FORK = "what it was forked from does not come before it, or not as far"
TRIALS = 300


def found(lines: list[bytes], level: Level = "full") -> list[tuple[int, str]]:
    """Line and reason of each finding."""
    checked = verify_jsonl(io.BytesIO(b"".join(lines)), level=level)
    return [(finding.line, finding.reason) for finding in checked.findings]


def changed(number: int, old: str, new: str) -> list[bytes]:
    """The file with one line changed."""
    lines = list(WHOLE)
    assert old.encode() in lines[number - 1]
    lines[number - 1] = lines[number - 1].replace(old.encode(), new.encode())
    return lines


def replaced(number: int, line: bytes) -> list[bytes]:
    """The file with another line in the place of one."""
    return [*WHOLE[: number - 1], line, *WHOLE[number:]]


def without(number: int) -> list[bytes]:
    """The file without one line."""
    return [*WHOLE[: number - 1], *WHOLE[number:]]


@pytest.mark.parametrize("level", LEVELS)
def test_a_whole_file(level: Level):
    """Nothing is found, and all is counted."""
    checked = verify_jsonl(io.BytesIO(b"".join(WHOLE)), level=level)

    assert checked == Verification(level, 3, 8, 1, None, [])


def test_a_single_session_has_a_head(tmp_path: Path):
    """As an export of one session has; a path does as well."""
    log = family()
    (tmp_path / "file").write_bytes(written(log, ["b"]))

    checked = verify_jsonl(tmp_path / "file")

    assert (checked.streams, checked.head) == (1, log.head("b"))


def test_an_unknown_level():
    """A typo must not check less than was asked for."""
    with pytest.raises(ValueError, match="level= is one of"):
        verify_jsonl(io.BytesIO(), level="deep")  # pyright: ignore[reportArgumentType]


# Cut


def test_a_file_that_was_cut():
    """At the end of a line, and in the middle of one."""
    missing = "the last line is missing: the file was cut"
    assert found(WHOLE[:-1]) == [(14, missing)]
    assert found([*WHOLE[:6], WHOLE[6][:40]]) == [
        (7, "it was cut: it has no end"),
        (8, missing),
    ]
    assert found([*WHOLE[:-1], WHOLE[-1][:-1]]) == [
        (14, "it was cut: it has no end"),
        (15, missing),
    ]


def test_an_empty_file():
    """There is not even a header."""
    assert found([]) == [(1, "it is empty")]


# Lines that are changed, moved, added, taken away


def test_a_changed_event():
    """The line is named, and the sum at the end notices too."""
    assert found(changed(4, "one", "two")) == [(4, HASH), (14, SUM)]
    assert found(changed(10, '"schema":1', '"schema":2')) == [(10, HASH), (14, SUM)]


def test_swapped_events():
    """Each that stands in another place."""
    lines = list(WHOLE)
    lines[6], lines[7] = lines[7], lines[6]

    assert found(lines) == [(7, GAP), (8, GAP), (14, SUM), (14, END)]


def test_an_event_taken_away():
    """The one after it does not follow."""
    assert found(without(4)) == [(5, GAP), (13, SUM), (13, FEWER)]


def test_an_event_added():
    """It does not follow, and the next one goes on."""
    assert found([*WHOLE[:7], *WHOLE[6:]]) == [(8, GAP), (15, SUM), (15, FEWER)]


def test_sessions_taken_away():
    """Their names are in the last line; a fork misses what it was forked from."""
    assert found([*WHOLE[:8], *WHOLE[11:]]) == [
        (9, FORK),
        (11, SUM),
        (11, END),
        (11, FEWER),
    ]


def test_a_session_line_taken_away():
    """Its events then belong to the one before, and do not follow."""
    assert found(without(9)) == [
        (9, GAP),
        (11, FORK),
        (13, SUM),
        (13, END),
        (13, END),
    ]


def test_a_session_that_is_there_twice():
    """It can end in one way only."""
    lines = [*WHOLE[:-1], *WHOLE[1:8], WHOLE[-1]]

    assert found(lines)[:2] == [
        (14, "the session is there twice"),
        (17, "the attachment is there twice"),
    ]


def test_events_of_no_session():
    """A file begins with the session."""
    lone = "the event belongs to no session"
    lines = [WHOLE[0], WHOLE[2], *WHOLE[1:]]

    assert found(lines) == [(2, lone), (15, SUM)]


def test_a_session_without_events():
    """There is none such in a log."""
    lines = [*WHOLE[:-1], b'{"kind":"session","session":"d"}\n', WHOLE[-1]]

    assert (15, "the session has no events") in found(lines)


def test_what_follows_the_end():
    """The end is the end."""
    assert found([*WHOLE, WHOLE[-1]]) == [(15, "something follows the last line")]


@pytest.mark.parametrize(
    ("number", "old", "new", "reasons"),
    [
        (9, '"at":3', '"at":2', [(9, FORK), (14, SUM)]),
        (9, '"parent":"a"', '"parent":"c"', [(9, FORK), (14, SUM)]),
        (2, ',"forks":[3]', "", [(9, FORK), (14, SUM)]),
        (2, '"session":"a"', '"session":"A"', [(9, FORK), (14, SUM), (14, END), (14, END)]),
        (14, '"events":8', '"events":9', [(14, FEWER)]),
        (14, '"attachments":1', '"attachments":0', [(14, FEWER.replace("events", "attachments"))]),
        (1, '"library":"', '"library":"x', [(14, SUM)]),
    ],
)
def test_other_lines_changed(number: int, old: str, new: str, reasons: list[tuple[int, str]]):
    """Each field is held to the others."""
    assert found(changed(number, old, new)) == reasons


# Attachments


def test_a_changed_attachment():
    """Its name is its content."""
    assert found(changed(5, "eA==", "eQ==")) == [
        (5, "the attachment has other content than its name says"),
        (14, SUM),
    ]


def test_a_missing_attachment():
    """The event that names it is named."""
    assert found(without(5)) == [
        (5, "an attachment is missing or not whole"),
        (13, SUM),
        (13, "there are not as many attachments as it says"),
    ]


def test_an_attachment_that_nobody_names():
    """It belongs right before its event."""
    lines = list(WHOLE)
    lines[3], lines[4] = lines[4], lines[3]

    reason = f"it does not name the attachment {DIGEST} before it"
    assert found(lines) == [(5, reason), (14, SUM)]


# What is no such line at all


@pytest.mark.parametrize(
    "line",
    [b"nonsense\n", b"\n", b"{}\n", b"[]\n", b'{"kind":"other"}\n', b"[" * 5000 + b"\n", b"\x00\n"],
)
def test_a_line_that_is_none(line: bytes):
    """Whatever stands there, the rest is read."""
    places = [number for number, _ in found(replaced(7, line))]

    assert places == [7, 14, 14]


def test_a_line_that_is_no_utf8():
    """It is said as such."""
    (first, *_) = found(replaced(4, WHOLE[3].replace(b"one", b"\xff\xff\xff")))

    assert first[0] == 4
    assert first[1].startswith("it is no UTF-8: 'utf-8' codec can't decode byte 0xff")


def test_a_very_long_line(monkeypatch: pytest.MonkeyPatch):
    """It is passed over, piece by piece."""
    longest = max(map(len, WHOLE))
    monkeypatch.setattr(reading, "LONGEST", longest)

    assert found(replaced(7, b"x" * 200_000 + b"\n")) == [
        (7, f"it is longer than {longest} bytes"),
        (14, SUM),
        (14, FEWER),
    ]


def test_a_field_that_is_no_hex():
    """Only plain hex is taken."""
    upper = changed(8, '"hash":"', '"hash":"A')

    assert found(upper)[0][0] == 8
    assert found(upper)[0][1].startswith("a field does not decode: ")


# Other files


@pytest.mark.parametrize("line", [b"hello\n", b'{"format":"agent-session"}\n', b"[]\n", b"\xff\n"])
def test_a_file_of_another_kind(line: bytes):
    """One finding says all."""
    ((number, reason),) = found([line, *WHOLE[1:]])

    assert number == 1
    assert reason.startswith("this is no 'agent-log' file, which store.export() makes")


def test_a_file_without_lines():
    """No more is read of it than a header has."""
    assert found([b"\x00" * 10_000]) == [(1, f"it is longer than {kinds.LONGEST_HEADER} bytes")]


def test_a_first_line_that_is_too_long():
    """What follows it may look like a file of lines, and is none."""
    longest = f"it is longer than {kinds.LONGEST_HEADER} bytes"

    assert found([b"x" * 10_000 + b"\n", *WHOLE]) == [(1, longest)]


def test_a_later_format():
    """This release cannot judge it."""
    assert found(changed(1, '"format_version":1', '"format_version":2')) == [
        (
            1,
            "format version 2 is later than 1; use the release that wrote it, or a later one",
        )
    ]


# What is whole but cannot be


def test_an_end_that_was_made_to_fit():
    """The chain finds what the sum no longer does."""
    assert found([sealed(changed(4, "one", "two"))]) == [(4, HASH)]


def test_events_of_a_later_release_are_counted():
    """Their chain is checked, what they say cannot be."""
    checked = verify_jsonl(io.BytesIO(of_a_later_release()))

    assert (checked.findings, checked.unread) == ([], 1)


def test_a_fork_that_begins_otherwise():
    """A log could not take it."""
    log = family()
    (point,) = log.read("a", after=2, until=3)
    (fact,) = record([said("mine")], stream="b", after=point.head)
    line = encoder.encode(entry_of(fact, EventLine)) + b"\n"
    end = json.loads(WHOLE[-1])
    del end["sessions"]["c"]
    end["sessions"]["b"] = {"version": 4, "hash": fact.hash.hex()}
    lines = [*WHOLE[:9], line, json.dumps({**end, "events": 6}).encode() + b"\n"]

    assert found([sealed(lines)]) == [
        (10, "a fork begins with session.forked, not with message.added")
    ]


def test_an_attachment_of_another_size():
    """An event says how many bytes it has."""
    log = family()
    facts = record([*log.read("a", until=2), attached_as(DIGEST, 9)], stream="a", after=None)
    line = encoder.encode(entry_of(facts[-1], EventLine)) + b"\n"
    head = {"version": 3, "hash": facts[-1].hash.hex()}
    end = {**json.loads(WHOLE[-1]), "sessions": {"a": head}, "events": 3}
    lines = [*WHOLE[:5], line, json.dumps(end).encode() + b"\n"]

    assert found([sealed(lines)])[0] == (6, "an attachment is missing or not whole")


def test_a_payload_that_says_nothing():
    """A chain over nonsense is a chain; in full it is read."""
    text = '{"type":"message.added","message":{"role":"user","parts":[]},"more":1}'
    fact = prepare(HistoryCleared(), recorded_at=0, salt=bytes(16))
    log = MemoryLog()
    odd = msgspec.structs.replace(fact, type="message.added", payload=text.encode())
    log.append("a", [started("a"), odd], expected=None)
    lines = [written(log)]

    assert found(lines, "chain") == []
    assert [number for number, _ in found(lines)] == [4]


def test_any_changed_byte_is_found():
    """Wherever it is, and whatever it becomes; the line is named unless only the sum can tell."""
    random = Random(7)
    whole = b"".join(WHOLE)
    ends = [len(b"".join(WHOLE[:number])) for number in range(1, len(WHOLE) + 1)]
    for _ in range(TRIALS):
        place = random.randrange(len(whole))
        data = bytearray(whole)
        data[place] ^= 1 << random.randrange(8)
        line = sum(end <= place for end in ends) + 1
        places = {number for number, _ in found([bytes(data)])}
        assert places, place
        if '"kind":"event"' in WHOLE[line - 1].decode() and data[place] != ord("\n"):
            assert line in places, place


def test_progress_is_told_bytes():
    """All of them at the end."""
    data = b"".join(WHOLE)
    told: list[tuple[int, int]] = []

    verify_jsonl(io.BytesIO(data), progress=lambda done, total: told.append((done, total)))

    assert told == [(len(data), len(data))]


def test_a_pipe_is_read_once():
    """Nobody needs to go back."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        seek: Callable[..., int] = None  # pyright: ignore[reportAssignmentType]

    assert verify_jsonl(Pipe(b"".join(WHOLE)), progress=lambda *_: None).ok
