"""Any sequence of calls, on both logs at once, held against a model that is obviously right."""

import hashlib
import io
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from agent.eventstore import core
from agent.eventstore.backends.memory import MemoryLog
from agent.eventstore.backends.sqlite import SQLiteLog
from agent.eventstore.conformance.facts import attached, deleted, erasing, forked, said, started
from agent.eventstore.core import ToErase
from agent.eventstore.errors import (
    AttachmentMissing,
    ConflictError,
    InvalidAppend,
    StoreError,
    UnknownStream,
)
from agent.eventstore.export import export_events, import_events, parse_export
from agent.eventstore.jsonl.checking import verify_jsonl
from agent.eventstore.jsonl.importing import import_log
from agent.eventstore.jsonl.lines import Counts
from agent.eventstore.jsonl.writing import write_log
from agent.eventstore.log import EventLog
from agent.eventstore.record import Head, Prepared, Recorded, record

NAMES = ("a", "A", "it's", "a/\N{SLIGHTLY SMILING FACE}", "\u00e9", "e\u0301")
CONTENTS = (b"x", b"y")

EXAMPLES = 3 * settings().max_examples
NOWHERE = Head(1, bytes(32))

numbers = st.integers(0, len(NAMES) - 1)
versions = st.integers(0, 20)
contents = st.sampled_from(CONTENTS)
rarely = st.sampled_from((False, False, False, True))
often = st.sampled_from((True, True, False))


class Row:
    """An event as it is stored once, whichever streams it belongs to."""

    def __init__(self, fact: Recorded) -> None:
        self.fact = fact
        self.attached = {blob.digest for _, blob in core.attachments([fact])}


class Model:
    """Streams are lists of rows, and a row lives as long as a stream has it."""

    def __init__(self) -> None:
        self.streams: dict[str, list[Row]] = {}
        self.written: list[Row] = []
        self.held: set[str] = set()

    def feed(self) -> list[Row]:
        """Every row that has not been purged."""
        living = {row for rows in self.streams.values() for row in rows}
        return [row for row in self.written if row in living or row.fact.type == core.DELETED]

    def head(self, name: str) -> Head | None:
        """The head of a stream."""
        rows = self.streams.get(name)
        return rows[-1].fact.head if rows else None

    def write(self, facts: Sequence[Recorded], inherited: Sequence[Row] = ()) -> Head:
        """Add rows to the end of a stream."""
        rows = [Row(fact) for fact in facts]
        if not {digest for row in rows for digest in row.attached} <= self.held:
            raise AttachmentMissing("")
        self.streams[facts[0].stream] = [*inherited, *rows]
        self.written += rows
        return facts[-1].head

    def append(self, name: str, prepared: Sequence[Prepared], expected: Head | None) -> Head:
        """Append as the contract says."""
        facts = record(prepared, stream=name, after=expected)
        rows = self.streams.get(name, [])
        if self.head(name) == expected:
            return self.write(facts, rows)
        stored = [row.fact.hash for row in rows[facts[0].version - 1 : facts[-1].version]]
        if stored == [fact.hash for fact in facts]:
            return facts[-1].head
        raise ConflictError(name, expected=expected, actual=self.head(name))

    def fork(self, parent: str, child: str, at: int, prepared: Prepared) -> Head:
        """Fork as the contract says."""
        inherited = self.streams.get(parent, [])[:at]
        if at < 1 or len(inherited) < at:
            raise UnknownStream("", stream=parent)
        point = inherited[-1].fact.head
        if forked(child, parent, point) != prepared:
            raise InvalidAppend
        (fact,) = record([prepared], stream=child, after=point)
        rows = self.streams.get(child)
        if rows is None:
            return self.write([fact], inherited)
        if at < len(rows) and rows[at].fact.hash == fact.hash:
            return fact.head
        raise ConflictError(child, expected=None, actual=self.head(child))

    def delete(self, name: str, prepared: Prepared) -> bool:
        """Delete as the contract says."""
        if name not in self.streams:
            return False
        before = {digest for row in self.feed() for digest in row.attached}
        rows = self.streams[name]
        self.write(record([prepared], stream=name, after=self.head(name)), rows)
        del self.streams[name]
        self.held -= before - {digest for row in self.feed() for digest in row.attached}
        return True

    def sharing(self, row: Row) -> list[str]:
        """The streams that hold an event, or a copy of it."""
        key = row.fact.hash
        return [n for n, rows in self.streams.items() if key in {one.fact.hash for one in rows}]

    def erase(self, row: Row, told: Sequence[ToErase], residue: bytes) -> None:
        """Erase as the contract says, when everybody is told."""
        before = {digest for one in self.feed() for digest in one.attached}
        for one in self.written:
            if one.fact.hash == row.fact.hash and not one.fact.erased:
                one.fact, one.attached = one.fact.as_erased(residue), set()
        for stream, expected, prepared in told:
            self.write(record(prepared, stream=stream, after=expected), self.streams[stream])
        self.held -= before - {digest for one in self.feed() for digest in one.attached}

    def take(self, name: str, facts: Sequence[Recorded]) -> Head:
        """Import: the rows that are missing, if the others are the same."""
        rows = self.streams.get(name, [])
        stored = [row.fact.hash for row in rows]
        if stored != [fact.hash for fact in facts[: len(rows)]]:
            raise ConflictError(name, expected=facts[-1].head, actual=self.head(name))
        self.held |= {blob.digest for _, blob in core.attachments(facts)}
        own = record(facts, stream=name, after=None)[len(rows) :]
        return self.write(own, rows) if own else facts[-1].head


def outcome(call: Callable[[], object]) -> object:
    """What a call answers, or which error with which heads it raises."""
    try:
        return call()
    except StoreError as error:
        return type(error), getattr(error, "expected", None), getattr(error, "actual", None)


def lines_of(log: EventLog, names: list[str] | None = None) -> bytes:
    """Streams as lines."""
    file = io.BytesIO()
    write_log(log, file, names)
    return file.getvalue()


class LogMachine(RuleBasedStateMachine):
    @initialize(family=st.lists(st.tuples(numbers, versions), max_size=4))
    def open(self, family: list[tuple[int, int]]) -> None:
        """Begin with a stream and forks of it and of each other."""
        self.folder = TemporaryDirectory()
        self.memory = MemoryLog()
        self.sqlite = self.opened()
        self.model = Model()
        self.fresh = (f"message {number}" for number in count())
        self.appends: list[tuple[str, list[Prepared], Head | None]] = []
        self.forks: list[tuple[str, str, int, Prepared]] = []
        self.start(0, 3, taken=False)
        for parent, at in family:
            self.fork(parent, 0, at, taken=False, astray=False)
            self.grow(len(self.model.streams) - 1, 2)

    def opened(self) -> SQLiteLog:
        """The SQLite log, on its file."""
        return SQLiteLog(Path(self.folder.name, "log.db"), durability="os")

    def teardown(self) -> None:
        """Remove the file."""
        if hasattr(self, "sqlite"):
            self.sqlite.close()
            self.folder.cleanup()

    def agree(self, expected: Callable[[], object], call: Callable[[EventLog], object]) -> None:
        """Do the same to both logs, and hold them to what the model answers."""
        answer = outcome(expected)
        assert answer == outcome(lambda: call(self.memory))
        assert answer == outcome(lambda: call(self.sqlite))

    def append(self, name: str, facts: list[Prepared], expected: Head | None) -> None:
        """Append to the model and to both logs."""
        self.agree(
            lambda: self.model.append(name, facts, expected),
            lambda log: log.append(name, facts, expected=expected),
        )

    def stream(self, number: int) -> str:
        """One of the streams; a free name as long as there is none."""
        found = list(self.model.streams) or NAMES
        return found[number % len(found)]

    def free(self, number: int) -> str:
        """A free name; a taken one when there is no other."""
        found = [name for name in NAMES if name not in self.model.streams] or NAMES
        return found[number % len(found)]

    def point(self, name: str, version: int) -> Head:
        """The head at a version of a stream, or one that it never had."""
        rows = self.model.streams.get(name, [])
        return rows[version - 1].fact.head if 1 <= version <= len(rows) else NOWHERE

    def messages(self, number: int) -> list[Prepared]:
        """New messages."""
        return [said(next(self.fresh)) for _ in range(number)]

    def append_new(self, name: str, facts: list[Prepared], expected: Head | None) -> None:
        """Append, and remember it."""
        self.appends.append((name, facts, expected))
        self.append(name, facts, expected)

    @rule(number=numbers, length=st.integers(0, 3), taken=rarely)
    def start(self, number: int, length: int, taken: bool) -> None:
        """Make a stream, sometimes where there is one."""
        name = self.stream(number) if taken else self.free(number)
        first = started(name, recorded_at=len(self.appends))
        self.append_new(name, [first, *self.messages(length)], None)

    @rule(number=numbers, length=st.integers(1, 3))
    def grow(self, number: int, length: int) -> None:
        """Append to a stream at its head."""
        name = self.stream(number)
        head = self.model.head(name) or NOWHERE
        self.append_new(name, self.messages(length), head)

    @rule(number=numbers, data=st.lists(contents, min_size=1, max_size=2), put=often)
    def attach(self, number: int, data: list[bytes], put: bool) -> None:
        """Append an event with attachments, which the logs may not hold."""
        name = self.stream(number)
        head = self.model.head(name) or NOWHERE
        for content in data if put else []:
            self.put(content)
        self.append_new(name, [*self.messages(1), attached(*data)], head)

    @rule(number=numbers, version=versions)
    def append_elsewhere(self, number: int, version: int) -> None:
        """Append at any head that the stream had, or with a hash that it never had."""
        name = self.stream(number)
        length = len(self.model.streams.get(name, NAMES))
        point = self.point(name, 1 + version % length)
        self.append(name, self.messages(1), point if version else Head(length, bytes(32)))

    @rule(back=versions)
    def append_again(self, back: int) -> None:
        """Append once more what was appended before."""
        if self.appends:
            self.append(*self.appends[-1 - back % len(self.appends)])

    @rule(content=contents)
    def put(self, content: bytes) -> None:
        """Store an attachment."""
        name = hashlib.sha256(content).hexdigest()
        self.model.held.add(name)
        self.agree(lambda: name, lambda log: log.put_blob(content))

    @rule(content=contents)
    def look_up(self, content: bytes) -> None:
        """Ask for an attachment, which is there as long as an event names it."""
        name = hashlib.sha256(content).hexdigest()
        held = content if name in self.model.held else (AttachmentMissing, None, None)
        self.agree(lambda: held, lambda log: log.get_blob(name))

    @rule(parent=numbers, child=numbers, at=versions, taken=rarely, astray=rarely)
    def fork(self, parent: int, child: int, at: int, taken: bool, astray: bool) -> None:
        """Fork a stream at any of its versions, or just outside of them, or of another stream."""
        source, name = self.stream(parent), self.stream(child) if taken else self.free(child)
        at %= len(self.model.streams.get(source, [])) + 2
        point = Head(at, bytes(32)) if astray else self.point(source, at)
        self.forks.append((source, name, at, forked(name, source, point)))
        self.fork_again(0)

    @rule(back=versions)
    def fork_again(self, back: int) -> None:
        """Fork once more as before."""
        if self.forks:
            parent, child, at, fact = self.forks[-1 - back % len(self.forks)]
            self.agree(
                lambda: self.model.fork(parent, child, at, fact),
                lambda log: log.fork(parent, child, at=at, prepared=fact),
            )

    @rule(number=numbers, missing=rarely)
    def delete(self, number: int, missing: bool) -> None:
        """Delete a stream, sometimes one that is not there."""
        name = self.free(number) if missing else self.stream(number)
        fact = deleted(next(self.fresh))
        self.agree(lambda: self.model.delete(name, fact), lambda log: log.delete(name, fact))
        self.agree(lambda: (None, []), lambda log: (log.head(name), list(log.read(name))))
        for content in CONTENTS:
            self.look_up(content)

    @rule(number=numbers, version=versions, untold=rarely)
    def erase(self, number: int, version: int, untold: bool) -> None:
        """Erase an event of a stream, everywhere, or where somebody is not told of it."""
        rows = self.model.streams.get(self.stream(number), [])
        texts = [row for row in rows if row.fact.type == "message.added" and not row.fact.erased]
        if not texts:
            return
        row = texts[version % len(texts)]
        fact, residues = erasing(row.fact)
        names = self.model.sharing(row)
        told = [ToErase(name, self.model.streams[name][-1].fact.head, [fact]) for name in names]
        if untold:
            left = told.pop()
            error = ConflictError, None, left.expected
            self.agree(lambda: error if told else None, lambda log: log.erase(told, residues))
            return
        (residue,) = residues.values()
        self.agree(
            lambda: self.model.erase(row, told, residue), lambda log: log.erase(told, residues)
        )

    @rule(number=numbers, into=numbers, cut=st.integers(0, 2), taken=often)
    def copy(self, number: int, into: int, cut: int, taken: bool) -> None:
        """Export a stream, or its beginning, and import it under any name."""
        source, name = self.stream(number), self.stream(into) if taken else self.free(into)
        rows = self.model.streams.get(source, [])
        facts = [row.fact for row in rows[: max(len(rows) - cut, 1)]]
        if not facts:
            return
        data = export_events(list(self.memory.read(source, until=len(facts))), self.memory)
        assert data == export_events(list(self.sqlite.read(source, until=len(facts))), self.sqlite)
        export = parse_export(data)
        self.agree(
            lambda: self.model.take(name, facts), lambda log: import_events(log, name, export)
        )

    @rule(number=numbers, alone=rarely, in_sqlite=rarely)
    def carry(self, number: int, alone: bool, in_sqlite: bool) -> None:
        """Write all streams, or one, as lines, and take these into a new log, twice."""
        names = [self.stream(number)] if alone and self.model.streams else None
        written = lines_of(self.memory, names)
        assert written == lines_of(self.sqlite, names)
        assert verify_jsonl(io.BytesIO(written)).findings == []
        log = SQLiteLog(":memory:") if in_sqlite else MemoryLog()
        self.taken(log, written, list(self.model.streams) if names is None else names)
        log.close()

    def taken(self, log: EventLog, written: bytes, names: list[str]) -> None:
        """Take lines into an empty log: it holds the same, each event once, and writes the same."""
        new = import_log(log, io.BytesIO(written), check_name=str)
        rows = {name: self.model.streams[name] for name in names}
        assert [info.stream for info in log.streams()] == sorted(names)
        for name in names:
            facts = [anywhere(row.fact) for row in rows[name]]
            assert facts == [anywhere(fact) for fact in log.read(name)]
        own = {row for stream in rows.values() for row in stream}
        held = [fact.hash for fact in log.read_all()]
        assert (len(names), len(held)) == (new.sessions, new.events)
        assert len(held) <= len(own)
        assert lines_of(log) == written
        assert import_log(log, io.BytesIO(written), check_name=str) == Counts(0, 0, 0)
        assert held == [fact.hash for fact in log.read_all()]

    @rule()
    def reopen(self) -> None:
        """Open the file again."""
        self.sqlite.close()
        self.sqlite = self.opened()

    @rule(number=numbers, after=versions, until=st.none() | versions, types=rarely)
    def read_range(self, number: int, after: int, until: int | None, types: bool) -> None:
        """Read any part of a stream."""
        name = self.stream(number)
        rows = self.model.streams.get(name, [])
        after %= len(rows) + 1
        until = until and until % (len(rows) + 2)
        kept = [
            row.fact.hash
            for row in rows[after : len(rows) if until is None else until]
            if not types or row.fact.type in core.IDENTITY_TYPES
        ]
        asked = core.IDENTITY_TYPES if types else None
        self.agree(
            lambda: kept,
            lambda log: [f.hash for f in log.read(name, after=after, until=until, types=asked)],
        )

    @rule(place=st.integers(0, 30))
    def follow_the_feed(self, place: int) -> None:
        """Go on in the feed from any checkpoint."""
        feed = list(self.memory.read_all())[:place]
        checkpoint = feed[-1].position or 0 if feed else 0
        rest = [row.fact.hash for row in self.model.feed()[len(feed) :]]
        self.agree(lambda: rest, lambda log: [f.hash for f in log.read_all(after=checkpoint)])

    @invariant()
    def streams_are_alike(self) -> None:
        """Each stream has its events, contiguous and verified, a fork those of its parent first."""
        for name, rows in self.model.streams.items():
            events = list(self.memory.read(name))
            assert events == list(self.sqlite.read(name))
            assert [unplaced(row.fact) for row in rows] == [unplaced(fact) for fact in events]
            assert list(range(1, len(rows) + 1)) == [fact.version for fact in events]
            assert events == list(core.verified(events, stream=name))
            assert self.model.head(name) == self.memory.head(name) == self.sqlite.head(name)

    @invariant()
    def listings_are_alike(self) -> None:
        """The streams are listed by name, with the same heads and times."""
        listing = list(self.memory.streams())
        assert listing == list(self.sqlite.streams())
        assert sorted(self.model.streams) == [info.stream for info in listing]

    @invariant()
    def feeds_are_alike(self) -> None:
        """The feed has each living event once, in the order of the appends."""
        feed = list(self.memory.read_all())
        assert feed == list(self.sqlite.read_all())
        assert [unplaced(row.fact) for row in self.model.feed()] == [unplaced(f) for f in feed]
        order = [fact.position or 0 for fact in feed]
        assert order == sorted(set(order))


def unplaced(fact: Recorded) -> Recorded:
    """An event without its position, which the model does not know."""
    return msgspec.structs.replace(fact, position=None)


def anywhere(fact: Recorded) -> Recorded:
    """An event without the stream that holds it: copies become forks that share it."""
    return msgspec.structs.replace(fact, position=None, stream="")


class TestLogMachine(LogMachine.TestCase):
    """Both logs do what the model does, whatever happens to them in whichever order."""

    settings = settings(max_examples=EXAMPLES, stateful_step_count=50)
