"""Tables for SQL: following the feed, and searching it."""

import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from agent.eventstore.backends.sqlite import SQLiteLog
from agent.eventstore.events import (
    Event,
    ModelRequested,
    ModelResponded,
    SessionForked,
    SessionStarted,
    ToolCalled,
    ToolReturned,
    TurnCompleted,
    TurnStarted,
)
from agent.eventstore.messages import Message, TextPart, ToolCallPart
from agent.eventstore.record import Prepared, Recorded, prepare, record
from agent.eventstore.values import Owner, Settings, Usage
from agent.tables import Tables
from tests.benchmarks.given import Figure, median

SESSIONS, EVENTS = 50, 50_000
"""The figures in docs/performance.md are those of 1,000 sessions and 1,000,000 events."""

FORKS = 5
"""Every so many sessions one is a fork of the one before."""

ROUNDS = 15
TURN = 8
OWNER = Owner("host", 1, 1)
TEXT = (
    "the order of a customer was shipped late and weather delays it while we wait for news about "
    "tea coffee paper invoices refunds trains planes rivers mountains cities numbers colours birds"
)


def figures() -> Iterator[Figure]:
    """Building from nothing, catching up with one turn, and searches, each as a user calls it."""
    with tempfile.TemporaryDirectory() as folder:
        log = SQLiteLog(Path(folder, "log.db"), durability="os")
        fill(log, SESSIONS, EVENTS)
        tables = Tables(log, Path(folder, "tables.db"))
        start = time.perf_counter()
        count = tables.catch_up()
        yield Figure("building them", count / (time.perf_counter() - start), "events a second")
        yield from _sizes(log, tables)
        yield from _searches(tables)
        yield Figure("catching up with nothing", _ms(tables.catch_up), "ms")
        log.close()


def _sizes(log: SQLiteLog, tables: Tables) -> Iterator[Figure]:
    with closing(sqlite3.connect(log.path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = Path(tables.path).stat().st_size / Path(log.path).stat().st_size
    yield Figure("their bytes per byte of the log", size, "bytes")


def _searches(tables: Tables) -> Iterator[Figure]:
    for what, words in (
        ("a word that is in one text", "needle1"),
        ("a word that is in most", "the"),
        ("two words that are in many", "coffee weather"),
        ("the beginning of a word", "need*"),
        ("a phrase", '"order of a"'),
        ("a word that is in none", "nowhere"),
    ):
        yield Figure(f"search: {what}", _ms(lambda words=words: tables.search(words)), "ms", 100)
    listing = "SELECT * FROM sessions ORDER BY updated DESC LIMIT 50"
    yield Figure("listing the last 50 sessions", _ms(lambda: tables.sql(listing)), "ms", 100)
    usage = "SELECT * FROM usage"
    yield Figure("usage by model and day", _ms(lambda: tables.sql(usage, seconds=60)), "ms")


def _ms(work: Callable[[], object]) -> float:
    """Milliseconds of one call, the median of several."""
    samples: list[float] = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        samples.append((time.perf_counter() - start) * 1000)
    return median(samples)


def fill(log: SQLiteLog, sessions: int, events: int) -> None:
    """Put sessions into a log, as fast as rows can be hashed and written."""
    turns = events // sessions // TURN
    payloads = [list(map(_prepared, _turn(number))) for number in range(97)]
    for number in range(sessions):
        name, parent = f"session {number}", f"session {number - 1}"
        if number % FORKS == FORKS - 1:
            (at,) = log.read(parent, after=TURN, until=TURN + 1)
            event = SessionForked(
                session_id=name, parent=parent, at=at.version, parent_hash=at.hash.hex()
            )
            head = log.fork(parent, name, at=at.version, prepared=_prepared(event))
            rest: list[Prepared] = []
        else:
            head, rest = None, [_prepared(SessionStarted(session_id=name, library="0"))]
        for turn in range(turns):
            rest += payloads[(number * turns + turn) % len(payloads)]
        rest += map(_prepared, _turn(0, f"needle{number}"))
        facts: list[Recorded] = record(rest, stream=name, after=head)
        log.append(name, facts, expected=head)


def _prepared(event: Event) -> Prepared:
    return prepare(event, recorded_at=1_760_000_000_000_000_000, salt=bytes(16))


def _turn(number: int, said: str = "") -> list[Event]:
    """A turn with a tool call: eight events."""
    words = TEXT.split()
    text = " ".join([*(words[(number * 7 + i * i) % len(words)] for i in range(40)), said, "the"])
    call = ToolCallPart(f"call_{number}", "look_up", f'{{"order":"{number}"}}')
    request = ModelRequested(
        step=1,
        attempt=1,
        provider="openai",
        api="chat_completions",
        model="gpt-4o",
        stream=False,
        encoder="1",
        digest="0" * 64,
    )
    return [
        TurnStarted(input=Message.user(text), settings=Settings(), owner=OWNER),
        request,
        _answer(Message.assistant(call), "tool_calls"),
        ToolCalled(call_id=call.call_id, tool="look_up"),
        ToolReturned(call_id=call.call_id, content=(TextPart(f"the order of a {text}"),)),
        request,
        _answer(Message.assistant(text), "stop"),
        TurnCompleted(),
    ]


def _answer(message: Message, reason: str) -> ModelResponded:
    usage = Usage(1000, 100, 500)
    return ModelResponded(message=message, finish_reason=reason, usage=usage, elapsed=1.0)  # pyright: ignore[reportArgumentType] - one of the literals
