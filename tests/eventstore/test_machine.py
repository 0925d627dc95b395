"""Any sequence of calls, on both logs at once, held against a model that is obviously right."""

import hashlib
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
from agent.eventstore.conformance.facts import attached, deleted, forked, said, started
from agent.eventstore.errors import (
    AttachmentMissing,
    ConflictError,
    InvalidAppend,
    StoreError,
    UnknownStream,
)
from agent.eventstore.export import export_events, import_events, parse_export
from agent.eventstore.log import EventLog
from agent.eventstore.record import Head, Prepared, Recorded, record

NAMES = ("a", "A", "it's", "a/\N{SLIGHTLY SMILING FACE}", "\u00e9", "e\u0301")
CONTENTS = (b"x", b"y")

names = st.sampled_from(NAMES)
versions = st.integers(0, 8)
contents = st.lists(st.sampled_from(CONTENTS), max_size=2)


class Row:
    """An event as it is stored once, whichever streams it belongs to."""

    def __init__(self, fact: Recorded) -> None:
        self.fact = fact
        self.attached = {digest for _, digest in core.attachments([fact])}


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

    def take(self, name: str, facts: Sequence[Recorded]) -> Head:
        """Import: the rows that are missing, if the others are the same."""
        rows = self.streams.get(name, [])
        stored = [row.fact.hash for row in rows]
        if stored != [fact.hash for fact in facts[: len(rows)]]:
            raise ConflictError(name, expected=facts[-1].head, actual=self.head(name))
        self.held |= {digest for _, digest in core.attachments(facts)}
        own = record(facts, stream=name, after=None)[len(rows) :]
        return self.write(own, rows) if own else facts[-1].head


def outcome(call: Callable[[], object]) -> object:
    """What a call answers, or which error with which heads it raises."""
    try:
        return call()
    except StoreError as error:
        return type(error), getattr(error, "expected", None), getattr(error, "actual", None)


class LogMachine(RuleBasedStateMachine):
    @initialize()
    def open(self) -> None:
        """Begin with empty logs."""
        self.folder = TemporaryDirectory()
        self.memory = MemoryLog()
        self.sqlite = self.opened()
        self.model = Model()
        self.fresh = (f"message {number}" for number in count())
        self.appends: list[tuple[str, list[Prepared], Head | None]] = []
        self.forks: list[tuple[str, str, int, Prepared]] = []

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

    def messages(self, number: int, data: Sequence[bytes]) -> list[Prepared]:
        """New messages, and one with these attachments."""
        plain = [said(next(self.fresh)) for _ in range(number)]
        return [*plain, attached(*data)] if data else plain

    @rule(name=names, number=st.integers(1, 3), data=contents)
    def grow(self, name: str, number: int, data: list[bytes]) -> None:
        """Append to a stream at its head, or make it."""
        head = self.model.head(name)
        facts = self.messages(number, data)
        if head is None:
            facts.insert(0, started(name, recorded_at=len(self.appends)))
        self.appends.append((name, facts, head))
        self.append(name, facts, head)

    @rule(index=st.integers(0, 20))
    def retry_append(self, index: int) -> None:
        """Append once more what was appended before."""
        if index < len(self.appends):
            self.append(*self.appends[-1 - index])

    @rule(name=names, version=versions)
    def append_elsewhere(self, name: str, version: int) -> None:
        """Append at any other head, that the stream had or never had."""
        rows = self.model.streams.get(name, [])
        expected = rows[version].fact.head if version < len(rows) else Head(version + 1, bytes(32))
        self.append(name, self.messages(1, []), expected)

    @rule(data=st.sampled_from(CONTENTS))
    def put(self, data: bytes) -> None:
        """Store an attachment."""
        name = hashlib.sha256(data).hexdigest()
        self.model.held.add(name)
        self.agree(lambda: name, lambda log: log.put_blob(data))

    @rule(parent=names, child=names, at=versions)
    def fork(self, parent: str, child: str, at: int) -> None:
        """Fork any stream anywhere."""
        rows = self.model.streams.get(parent, [])
        point = rows[at - 1].fact.head if 1 <= at <= len(rows) else Head(at, bytes(32))
        self.forks.append((parent, child, at, forked(child, parent, point)))
        self.fork_again(0)

    @rule(index=st.integers(0, 10))
    def fork_again(self, index: int) -> None:
        """Fork once more as before."""
        if index < len(self.forks):
            parent, child, at, fact = self.forks[-1 - index]
            self.agree(
                lambda: self.model.fork(parent, child, at, fact),
                lambda log: log.fork(parent, child, at=at, prepared=fact),
            )

    @rule(name=names)
    def delete(self, name: str) -> None:
        """Delete a stream, if it is there."""
        fact = deleted(next(self.fresh))
        self.agree(lambda: self.model.delete(name, fact), lambda log: log.delete(name, fact))

    @rule(source=names, into=names, cut=st.integers(0, 2))
    def copy(self, source: str, into: str, cut: int) -> None:
        """Export a stream, or its beginning, and import it under any name."""
        rows = self.model.streams.get(source, [])
        facts = [row.fact for row in rows[: max(len(rows) - cut, 1)]]
        if not facts:
            return
        data = export_events(list(self.memory.read(source, until=len(facts))), self.memory)
        assert data == export_events(list(self.sqlite.read(source, until=len(facts))), self.sqlite)
        export = parse_export(data)
        self.agree(
            lambda: self.model.take(into, facts),
            lambda log: import_events(log, into, export),
        )

    @rule()
    def reopen(self) -> None:
        """Open the file again."""
        self.sqlite.close()
        self.sqlite = self.opened()

    @rule(name=names, after=versions, until=st.none() | versions, types=st.booleans())
    def read_range(self, name: str, after: int, until: int | None, types: bool) -> None:
        """Read any part of a stream."""
        rows = self.model.streams.get(name, [])
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
        for name in NAMES:
            events = list(self.memory.read(name))
            rows = self.model.streams.get(name, [])
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

    @invariant()
    def attachments_are_alike(self) -> None:
        """An attachment is there as long as an event names it."""
        for data in CONTENTS:
            name = hashlib.sha256(data).hexdigest()
            held = name in self.model.held
            expected = data if held else (AttachmentMissing, None, None)
            self.agree(
                lambda expected=expected: expected, lambda log, name=name: log.get_blob(name)
            )


def unplaced(fact: Recorded) -> Recorded:
    """An event without its position, which the model does not know."""
    return msgspec.structs.replace(fact, position=None)


class TestLogMachine(LogMachine.TestCase):
    """Both logs do what the model does, whatever happens to them in whichever order."""

    settings = settings(stateful_step_count=40)
