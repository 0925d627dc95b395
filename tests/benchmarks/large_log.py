"""A log of many sessions, as agents record them, written as fast as rows can be hashed.

They have turns with up to two calls, attachments, rewinds and compactions. Three are long, with a
tenth to a twentieth of all events each. Every fifth is a fork, and every fifth of these one of a
fork.
"""

from collections.abc import Iterator

import msgspec

from agent.eventstore.events import (
    Event,
    HistoryCompacted,
    HistoryRewound,
    ModelRequested,
    ModelResponded,
    SessionForked,
    SessionStarted,
    ToolCalled,
    ToolReturned,
    ToolsDeclared,
    TurnCompleted,
    TurnStarted,
)
from agent.eventstore.log import EventLog
from agent.eventstore.messages import Blob, ImagePart, Message, TextPart, ToolCallPart
from agent.eventstore.rawjson import EMPTY_OBJECT
from agent.eventstore.record import Head, Prepared, prepare, record
from agent.eventstore.values import (
    Excerpt,
    FinishReason,
    Owner,
    Settings,
    ToolDefinition,
    Usage,
    tools_digest,
)

EACH = 1000
"""Events of a session, on the average."""

LONG = (0.1, 0.075, 0.05)
"""The shares of the long sessions, which come first."""

FORKS = 5
REWINDS, COMPACTIONS, PICTURES = 40, 160, 50
"""In how many turns there is one."""

VARIANTS = 97
START, SECOND = 1_760_000_000_000_000_000, 1_000_000_000
OWNER = Owner("host", 1, 1)
TOOLS = (ToolDefinition("look_up", "Look up an order.", EMPTY_OBJECT),)
TEXT = (
    "the order of a customer was shipped late and weather delays it while we wait for news about "
    "tea coffee paper invoices refunds trains planes rivers mountains cities numbers colours birds"
)
REQUEST = ModelRequested(
    step=1,
    attempt=1,
    provider="openai",
    api="chat_completions",
    model="gpt-4o",
    stream=False,
    encoder="1",
    digest="0" * 64,
)
_CALL = b"call_NEW_"
COMPACTION = Message.user("Summarize the conversation.")


def fill(log: EventLog, events: int) -> list[str]:
    """Put so many events into a log, or a few more; the names of its sessions, long ones first.

    The last turn of session ``n`` says ``needlen``, and no other.
    """
    writer = _Writer(log)
    return [
        writer.fork(number, size) if number % FORKS == FORKS - 1 else writer.root(number, size)
        for number, size in enumerate(_sizes(max(events // EACH, len(LONG)), events))
    ]


def _sizes(sessions: int, events: int) -> Iterator[int]:
    """How many events of its own each session has: most have few."""
    yield from (int(share * events) for share in LONG)
    left = events - sum(int(share * events) for share in LONG)
    weights = [1 + (number * number) % 29 for number in range(sessions - len(LONG))]
    yield from (left * weight // sum(weights) for weight in weights)


class _Writer:
    """Turns are prepared once and used by all sessions, each event with a time and salt anew."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._count = 0
        picture = b"\x89PNG\r\n\x1a\n" + bytes(5000)
        blob = Blob(log.put_blob(picture), len(picture))
        self._turns = [list(map(_prepared, _turn(number))) for number in range(VARIANTS)]
        seen = Message.user("What is this?", ImagePart(blob, "image/png"))
        self._picture = list(map(_prepared, _plain(seen, "It is a map of the port.")))

    def root(self, number: int, size: int) -> str:
        """A session that begins with nothing."""
        name = _name(number)
        metadata = msgspec.Raw(
            msgspec.json.encode({"title": f"Order {number}", "customer": number * 7})
        )
        started = SessionStarted(
            session_id=name, system="You help customers.", metadata=metadata, library="0"
        )
        declared = ToolsDeclared(tools=TOOLS, digest=tools_digest(TOOLS))
        self._go_on(name, None, [_prepared(started), _prepared(declared)], number, size)
        return name

    def fork(self, number: int, size: int) -> str:
        """A session that begins with a part of the one before, or of the fork before."""
        nested = number // FORKS % FORKS == FORKS - 1
        name, parent = _name(number), _name(number - (FORKS if nested else 1))
        at = self._settled(parent, (number % 7 + 1) / 8)
        event = SessionForked(
            session_id=name, parent=parent, at=at.version, parent_hash=at.hash.hex()
        )
        forked = self._stamped(_prepared(event))
        head = self._log.fork(parent, name, at=at.version, prepared=forked)
        self._go_on(name, head, [], number, size)
        return name

    def _settled(self, stream: str, share: float) -> Head:
        """Where a turn ended, this far into a session."""
        head = self._log.head(stream)
        assert head is not None
        after = int(head.version * share) - 1
        ends = self._log.read(stream, after=after, types=("turn.completed",))
        return next(fact.head for fact in ends)

    def _go_on(
        self, name: str, head: Head | None, first: list[Prepared], number: int, size: int
    ) -> None:
        start = head.version if head else 0
        events = list(first)
        before = start + len(events)
        for turn in range(1, size):
            if len(events) >= size:
                break
            now = start + len(events)
            if turn % COMPACTIONS == 0:
                events += map(_prepared, _compaction(now))
            elif turn % REWINDS == 0:
                events.append(_prepared(HistoryRewound(to=before)))
            elif turn % PICTURES == 0:
                events += self._picture
            else:
                events += _named(self._turns[(number * 31 + turn) % VARIANTS], now + 3)
            before = now
        events += map(_prepared, _plain(Message.user(f"Where is needle{number}?"), "Here."))
        facts = record([self._stamped(event) for event in events], stream=name, after=head)
        self._log.append(name, facts, expected=head)

    def _stamped(self, event: Prepared) -> Prepared:
        self._count += 1
        return msgspec.structs.replace(
            event, recorded_at=START + self._count * SECOND, salt=self._count.to_bytes(16)
        )


def _name(number: int) -> str:
    return f"session {number}"


def _prepared(event: Event) -> Prepared:
    return prepare(event, recorded_at=START, salt=bytes(16))


def _named(turn: list[Prepared], answer: int) -> list[Prepared]:
    """A turn whose calls are named after the version of the answer that makes them."""
    own = b"call_%d_" % answer
    return [
        msgspec.structs.replace(event, payload=event.payload.replace(_CALL, own))
        if _CALL in event.payload
        else event
        for event in turn
    ]


def _turn(number: int) -> list[Event]:
    """A turn with up to two calls."""
    words = TEXT.split()
    text = " ".join([*(words[(number * 7 + i * i) % len(words)] for i in range(40)), "the"])
    calls = [
        ToolCallPart(f"{_CALL.decode()}{place}", "look_up", f'{{"order":"{number}"}}')
        for place in range(number % 3)
    ]
    plain = _plain(Message.user(text), text)
    if not calls:
        return plain
    found = (TextPart(f"the order of a {text}"),)
    return [
        *plain[:2],
        _answer(Message.assistant(*calls), "tool_calls"),
        *(ToolCalled(call_id=call.call_id, tool="look_up") for call in calls),
        *(ToolReturned(call_id=call.call_id, content=found) for call in calls),
        msgspec.structs.replace(REQUEST, step=2),
        *plain[2:],
    ]


def _plain(message: Message, answer: str) -> list[Event]:
    return [
        TurnStarted(input=message, settings=Settings(), owner=OWNER),
        REQUEST,
        _answer(Message.assistant(answer), "stop"),
        TurnCompleted(),
    ]


def _compaction(version: int) -> list[Event]:
    """A summary of all that is shown at a version but the last, which has no calls."""
    summary = Message.user(f"So far: {TEXT}")
    return [
        TurnStarted(
            kind="compaction",
            input=COMPACTION,
            settings=Settings(),
            excerpt=Excerpt(0),
            owner=OWNER,
        ),
        REQUEST,
        _answer(Message.assistant(TEXT), "stop"),
        TurnCompleted(),
        HistoryCompacted(through=version, kept=1, summary=summary),
    ]


def _answer(message: Message, reason: FinishReason) -> ModelResponded:
    usage = Usage(1000, 100, 500)
    return ModelResponded(message=message, finish_reason=reason, usage=usage, elapsed=1.0)
