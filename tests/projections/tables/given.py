"""Tables in plain Python, and logs to build them from."""

from pathlib import Path
from typing import Any

from agent.eventstore import erasing
from agent.eventstore.backends.sqlite import SQLiteLog
from agent.eventstore.events import Event, SessionDeleted
from agent.eventstore.record import Recorded, prepare
from agent.tables import Tables
from tests.projections.given import forked, recorded

NAMES = ("origins", "lineage", "texts", "labels", "starts", "ends", "requests", "answers")
COUNTED = ("texts", "messages")
VIEWS = ("sessions", "messages", "history", "turns", "tool_calls", "model_calls", "usage")


def content(tables: Tables) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table and view, but for what counts the texts."""
    return {
        name: sorted(
            (
                tuple(value for key, value in row.items() if not (name in COUNTED and key == "id"))
                for row in tables.sql(f"SELECT * FROM {name}")
            ),
            key=repr,
        )
        for name in (*NAMES, *VIEWS)
    }


def index_is_whole(tables: Tables) -> None:
    """Raise if the full-text index says anything else than the texts."""
    with tables._writing() as db:
        db.execute("INSERT INTO search (search, rank) VALUES ('integrity-check', 1)")


def log_of(folder: Path, *events: Event) -> SQLiteLog:
    """A log with one session ``s`` of these events."""
    log = SQLiteLog(folder / "log.db", durability="os")
    log.append("s", recorded(*events), expected=None)
    return log


def grow(log: SQLiteLog, *events: Event, stream: str = "s") -> None:
    """Append events to a stream."""
    before = list(log.read(stream))
    log.append(stream, recorded(*events, after=before), expected=before[-1].head)


def fork(log: SQLiteLog, child: str, at: int, parent: str = "s") -> None:
    """Fork a stream."""
    before = list(log.read(parent, until=at))
    fact: Recorded = recorded(forked(before, child), after=before)[0]
    log.fork(parent, child, at=at, prepared=fact)


def delete(log: SQLiteLog, stream: str) -> None:
    """Delete a stream."""
    log.delete(stream, recorded(SessionDeleted())[0])


def erase(log: SQLiteLog, *versions: int, stream: str = "s") -> None:
    """Erase what some events say, or all."""
    plan = erasing.plan(log, stream, versions or None)
    erasing.erase(log, plan, "asked", lambda event: prepare(event, recorded_at=0, salt=bytes(16)))
