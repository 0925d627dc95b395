import hashlib
import io
from itertools import count

import pytest

from agent.eventstore import erasing
from agent.eventstore.backends.failing import FailingLog
from agent.eventstore.backends.memory import MemoryLog
from agent.eventstore.conformance.facts import attached, bringing, fixed, said, started
from agent.eventstore.errors import (
    AppendUnknown,
    ConflictError,
    InvalidExport,
    StoreError,
    UnknownEvent,
)
from agent.eventstore.export import export_events, parse_export
from agent.eventstore.importing import import_events
from agent.eventstore.jsonl import importing
from agent.eventstore.jsonl.importing import import_log
from agent.eventstore.jsonl.lines import Counts
from agent.eventstore.log import EventLog
from agent.eventstore.verify import verify_log
from tests.eventstore.damaged import fill, fork
from tests.eventstore.jsonl.given import family, hashes, of_a_later_release, taken, written


def own(log: EventLog) -> list[tuple[str, int]]:
    """What is stored, each event once: its holder and version."""
    return sorted((fact.stream, fact.version) for fact in log.read_all())


FAMILY = [*(("a", number) for number in (1, 2, 3, 4, 5)), ("b", 4), ("b", 5), ("c", 5)]


def test_sessions_are_taken_as_they_were(log: EventLog):
    """With the same hashes, and their attachments; forks share what they shared."""
    lines = written(family())

    assert taken(log, lines) == Counts(3, 8, 1)
    assert hashes(log) == hashes(family())
    assert own(log) == FAMILY
    assert log.get_blob(hashlib.sha256(b"x").hexdigest()) == b"x"
    assert written(log) == lines


def test_the_same_file_again_changes_nothing(log: EventLog):
    """It is only checked."""
    lines = written(family())
    taken(log, lines)

    assert taken(log, lines) == Counts(0, 0, 0)
    assert own(log) == FAMILY


def test_an_attachment_that_was_erased_here_comes_with_a_later_event(log: EventLog):
    """The file has its bytes with an event that the log holds already, without its texts."""
    source = MemoryLog()
    source.append("a", [started("a"), bringing(b"x")], expected=None)
    taken(log, written(source))
    erasing.erase(log, erasing.plan(log, "a", [2]), "asked", fixed)
    fork(source, "a", "b", 2)
    source.append("b", [said("more"), attached(b"x")], expected=source.head("b"))

    assert taken(log, written(source, ["b"])) == Counts(1, 3, 1)

    assert [fact.erased for fact in log.read("b")] == [False, True, False, False, False]
    assert log.get_blob(hashlib.sha256(b"x").hexdigest()) == b"x"
    assert verify_log(log, level="full").findings == []


def test_the_missing_tail_is_appended(log: EventLog):
    """Where the log holds earlier states of the same sessions."""
    source = MemoryLog()
    fill(source)
    taken(log, written(source))
    for name in ("a", "e"):
        source.append(name, [said("later"), bringing(b"new")], expected=source.head(name))

    assert taken(log, written(source)) == Counts(2, 4, 1)
    assert written(log) == written(source)


def test_other_sessions_stay(log: EventLog):
    """Those of the log that the file does not have."""
    log.append("mine", [started("mine")], expected=None)
    taken(log, written(family(), ["a"]))

    assert list(hashes(log)) == ["a", "mine"]


@pytest.mark.parametrize("names", [["b"], ["c"], ["b", "c"]])
def test_a_fork_of_what_the_log_has_stays_cheap(log: EventLog, names: list[str]):
    """Its prefix is in the file, and is not stored again."""
    taken(log, written(family(), ["a"]))
    taken(log, written(family(), names))
    taken(log, written(family()))

    assert hashes(log) == hashes(family())
    assert len(own(log)) == (8 if names != ["c"] else 9)


def test_a_fork_shares_as_much_as_it_can(log: EventLog):
    """Of several sessions that it comes from, the last."""
    taken(log, written(family(), ["a", "b"]))

    assert taken(log, written(family(), ["c"])) == Counts(1, 1, 0)
    assert own(log) == FAMILY


def test_a_fork_without_its_parent_stands_alone(log: EventLog):
    """And the parent, coming later, stands beside it."""
    taken(log, written(family(), ["b"]))
    taken(log, written(family(), ["a"]))

    assert own(log) == sorted([*(("b", n) for n in range(1, 6)), *(("a", n) for n in range(1, 6))])


def test_a_copy_that_ends_before_its_fork_point_is_gone_on_with(log: EventLog):
    """A session may be there as rows of its own, and only up to where it was forked."""
    source = family()
    data = export_events(list(source.read("b", until=2)), source)
    import_events(log, "b", parse_export(data))

    taken(log, written(source))

    assert hashes(log) == hashes(source)


def test_a_session_that_is_ahead(log: EventLog):
    """Nothing is taken back."""
    taken(log, written(family()))
    log.append("c", [said("more")], expected=log.head("c"))
    before = own(log)

    with pytest.raises(ConflictError, match="The stored session is ahead"):
        taken(log, written(family()))

    assert own(log) == before


@pytest.mark.parametrize("more", [0, 5])
def test_another_session_of_the_same_name(log: EventLog, more: int):
    """It is never overwritten, and nothing else is written either."""
    log.append("c", [started("c"), *(said(str(number)) for number in range(more))], expected=None)

    with pytest.raises(ConflictError, match=r"The stored session is (a )?different"):
        taken(log, written(family()))

    assert list(hashes(log)) == ["c"]


def test_a_session_that_has_the_events_of_another(log: EventLog):
    """What is at the same version elsewhere in the file is no beginning of it."""
    source = family()
    import_events(log, "c", parse_export(export_events(list(source.read("a")), source)))

    with pytest.raises(ConflictError):
        taken(log, written(source))


def test_a_file_that_is_not_whole(log: EventLog):
    """All is checked before the first event is written, and the line is named."""
    lines = written(family())

    with pytest.raises(InvalidExport, match=r"^line 14: the last line is missing.*imported") as cut:
        taken(log, lines[: lines.rindex(b'{"kind":"end"')])

    assert cut.value.line == 14
    assert own(log) == []


def test_names_are_checked_first(log: EventLog):
    """By whoever knows what a name may be."""

    def check(name: str) -> None:
        if name == "c":
            raise ValueError(name)

    with pytest.raises(ValueError, match="c"):
        import_log(log, io.BytesIO(written(family())), check_name=check)

    assert own(log) == []


def test_events_of_a_later_release(log: EventLog):
    """They can be verified, not imported."""
    with pytest.raises(UnknownEvent, match="newer than schema 1"):
        taken(log, of_a_later_release())

    assert own(log) == []


def erase(log: EventLog, stream: str, *versions: int) -> None:
    """Erase some versions of a stream."""
    erasing.erase(log, erasing.plan(log, stream, versions), "asked", fixed)


def whole(log: EventLog) -> bool:
    """Whether nothing is wrong with a log, erasures included."""
    found = verify_log(log, level="full")
    return (found.findings, found.unwitnessed) == ([], 0)


def test_erased_events_are_taken(log: EventLog):
    """With what is left of them, in forks too, and without their attachments."""
    source = family()
    erase(source, "a", 2, 3)

    assert taken(log, written(source)).attachments == 0
    assert hashes(log) == hashes(source)
    assert written(log) == written(source)
    assert whole(log)


def test_what_is_erased_here_stays_so(log: EventLog):
    """Also where an older file has it whole, and a fork of it comes along."""
    older = written(family(), ["c"])
    taken(log, written(family(), ["a"]))
    erase(log, "a", 2, 3)

    assert taken(log, older) == Counts(1, 2, 0)
    assert b"one" not in written(log)
    assert whole(log)


def test_what_was_erased_elsewhere_and_is_still_here(log: EventLog):
    """The stored session is not told of an erasure that it has not had."""
    source = family()
    data = written(source)
    taken(log, data)
    erase(source, "a", 2)
    export = parse_export(export_events(list(source.read("a")), source))

    for take in lambda: taken(log, written(source)), lambda: import_events(log, "a", export):
        with pytest.raises(ConflictError, match="still holds version 2, which was erased where"):
            take()

    assert written(log) == data


def test_an_erasure_that_the_log_has_had_but_not_been_told_of(log: EventLog):
    """The event that tells of it is appended."""
    source = family()
    erase(source, "a", 2)
    data = export_events(list(source.read("a", until=5)), source)
    import_events(log, "a", parse_export(data))

    assert taken(log, written(source, ["a"])) == Counts(1, 1, 0)
    assert whole(log)


@pytest.mark.parametrize("version", [2, 3])
def test_a_fork_shares_nothing_that_was_erased_of_it(log: EventLog, version: int):
    """It then stands alone, from its first event on."""
    source = family()
    taken(log, written(source, ["a"]))
    erase(source, "a", version)

    taken(log, written(source, ["b"]))

    assert hashes(log)["b"] == hashes(source)["b"]
    assert written(log, ["b"]) == written(source, ["b"])
    assert whole(log)


def test_an_interrupted_import_is_repeated(monkeypatch: pytest.MonkeyPatch):
    """Whichever append fails, before or after it has landed, the same call goes on."""
    monkeypatch.setattr(importing, "_EVENTS", 2)
    source = MemoryLog()
    fill(source)
    lines = written(source)
    for fail_at in count(1):
        for when in ("before", "after"):
            log = MemoryLog()
            failing = FailingLog(log, fail_at=fail_at, when=when)
            try:
                taken(failing, lines)
            except AppendUnknown:
                taken(log, lines)
                assert written(log) == lines
                assert len(own(log)) == len(own(source))
            else:
                assert fail_at > 10
                return


@pytest.mark.parametrize(("line", "other"), [(10, b""), (4, b"nonsense"), (14, b"nonsense")])
def test_a_file_that_changes_meanwhile(log: EventLog, line: int, other: bytes):
    """What was checked is not what is read then: it stops, and says so."""
    data = written(family())

    class Changing(io.BytesIO):
        def seek(self, *place: int) -> int:
            lines = data.splitlines(keepends=True)
            rest = [other + b"\n", *lines[line:]] if other else []
            self.getbuffer().release()
            super().seek(0)
            self.write(b"".join([*lines[: line - 1], *rest]))
            self.truncate()
            return super().seek(*place)

    with pytest.raises(StoreError, match=rf"^line {line}: the file was changed while it was"):
        import_log(log, Changing(data), check_name=str)

    taken(log, data)
    assert written(log) == data


def test_progress_is_told_bytes_twice():
    """The file is read twice."""
    data = written(family())
    told: list[tuple[int, int]] = []

    def progress(done: int, total: int) -> None:
        told.append((done, total))

    import_log(MemoryLog(), io.BytesIO(data), check_name=str, progress=progress)

    assert told == [(2 * len(data), 2 * len(data))]


def test_a_pipe(log: EventLog):
    """It is kept aside while it is checked."""

    class Pipe(io.BytesIO):
        def seekable(self) -> bool:
            return False

        def seek(self, *_: int) -> int:
            raise AssertionError

        tell = seek

    assert import_log(log, Pipe(written(family())), check_name=str) == Counts(3, 8, 1)


def test_a_file_that_begins_further_on(log: EventLog):
    """Reading begins where the file stands."""
    file = io.BytesIO(b"before\n" + written(family()))
    file.readline()

    assert import_log(log, file, check_name=str) == Counts(3, 8, 1)


@pytest.mark.parametrize(("limit", "appends"), [("_EVENTS", 6), ("_BYTES", 6), ("", 2)])
def test_events_are_appended_some_at_a_time(
    monkeypatch: pytest.MonkeyPatch, limit: str, appends: int
):
    """No more than so many, and no more than so many bytes, of one session."""
    if limit:
        monkeypatch.setattr(importing, limit, 1)
    counting = FailingLog(MemoryLog())

    taken(counting, written(family()))

    assert (counting.appends, hashes(counting)) == (appends, hashes(family()))
