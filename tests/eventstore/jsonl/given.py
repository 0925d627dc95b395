"""Lines of logs, and ways to make them."""

import hashlib
import io
import json
from collections.abc import Iterable
from typing import Any

from agent.eventstore.backends.memory import MemoryLog
from agent.eventstore.chain import GENESIS
from agent.eventstore.conformance.facts import bringing, said, started
from agent.eventstore.export import Entry, recorded_of
from agent.eventstore.jsonl.importing import import_log
from agent.eventstore.jsonl.lines import Counts
from agent.eventstore.jsonl.writing import write_log
from agent.eventstore.log import EventLog
from agent.eventstore.record import Recorded
from tests.eventstore.damaged import fork


def written(log: EventLog, sessions: Iterable[str] | None = None) -> bytes:
    """Sessions as lines."""
    file = io.BytesIO()
    write_log(log, file, sessions)
    return file.getvalue()


def taken(log: EventLog, lines: bytes) -> Counts:
    """Take lines into a log."""
    return import_log(log, io.BytesIO(lines), check_name=str)


def parsed(lines: bytes) -> list[dict[str, Any]]:
    """Lines as Python sees them."""
    return [json.loads(line) for line in lines.splitlines()]


def shape(lines: bytes) -> list[tuple[Any, ...]]:
    """What stands where, without header and end: sessions, attachments, versions."""
    return [
        {
            "session": lambda line=line: (line["session"], line.get("parent"), line.get("at", 0)),
            "attachment": lambda: ("attachment",),
            "event": lambda line=line: (line["version"],),
        }[line["kind"]]()
        for line in parsed(lines)[1:-1]
    ]


def family() -> MemoryLog:
    """`a` of five events, an attachment in the third; its fork `b` at 3, and `c` of that at 4."""
    log = MemoryLog()
    facts = [started("a"), said("one"), bringing(b"x"), said("four"), said("five")]
    log.append("a", facts, expected=None)
    fork(log, "a", "b", 3)
    log.append("b", [said("mine")], expected=log.head("b"))
    fork(log, "b", "c", 4)
    return log


def held(log: EventLog) -> dict[str, list[Recorded]]:
    """All streams of a log."""
    return {info.stream: list(log.read(info.stream)) for info in log.streams()}


def hashes(log: EventLog) -> dict[str, list[bytes]]:
    """The hashes of all streams of a log."""
    return {name: [fact.hash for fact in facts] for name, facts in held(log).items()}


def of_a_later_release() -> bytes:
    """A whole file with a session of one event, which this release does not know."""
    header, session, event, *_ = parsed(written(family(), ["a"]))
    event["schema"] = 9
    fields = {name: value for name, value in event.items() if name != "kind"}
    event["hash"] = recorded_of(Entry(**fields), "a").hash_after(GENESIS, 1).hex()
    end = {
        "kind": "end",
        "sessions": {"a": {"version": 1, "hash": event["hash"]}},
        "events": 1,
        "attachments": 0,
    }
    return sealed([*map(_line, (header, session, event, end))])


def sealed(lines: list[bytes]) -> bytes:
    """Lines whose last one has the sum of those before it."""
    body = b"".join(lines[:-1])
    return body + _line({**json.loads(lines[-1]), "sha256": hashlib.sha256(body).hexdigest()})


def _line(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"
