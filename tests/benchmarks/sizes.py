"""Bytes on disk per byte of message JSON, after a checkpoint.

Turns carry what OpenAI says of an answer: ids, model, usage, finish reason.
"""

import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from agent import Agent, Message, Session
from agent.stores import SQLiteStore
from tests.benchmarks.given import ANSWER, QUESTION, Figure, Played, completion

MESSAGES = 3000


def figures() -> Iterator[Figure]:
    """The ratio for turns and for messages that are added by hand."""
    yield from _measured("turns", 1.9, _turns)
    yield from _measured("added messages", 1.5, _added)


def _turns(session: Session) -> None:
    for _ in range(MESSAGES // 2):
        session.run(QUESTION)


def _added(session: Session) -> None:
    for _ in range(MESSAGES // 2):
        session.add_message(Message.user(QUESTION))
        session.add_message(Message.assistant(ANSWER))


def _measured(what: str, bar: float, fill: Callable[[Session], None]) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "log.db")
        agent = Agent(Played([completion(ANSWER)]), "gpt-4o", store=SQLiteStore(path))
        session = agent.session("sizes")
        fill(session)
        json = sum(len(msgspec.json.encode(message)) for message in session.messages)
        count = len(session.messages)
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        size = path.stat().st_size
    yield Figure(f"{what}, of {json / count:.0f} bytes each", size / json, "bytes a byte", bar)
