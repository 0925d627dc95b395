"""Ways into a log that its interface does not offer."""

import sqlite3
from contextlib import closing
from pathlib import Path

from agent.eventstore.backends.sqlite import SQLiteLog
from agent.eventstore.errors import (
    StoreBusy,
)


def plain(path: Path) -> closing[sqlite3.Connection]:
    """The file as any other program opens it."""
    return closing(sqlite3.connect(path, isolation_level=None))


def writer(log: SQLiteLog):
    """The one connection that writes."""
    return log._writer.shared.exclusive()


def reader(log: SQLiteLog):
    """The one connection that reads."""
    return log._reader.exclusive()


class Finalized:
    """Calls a function when it is collected, and keeps its refusal."""

    def __init__(self, call, raised: list[BaseException]) -> None:
        self.call = call
        self.raised = raised

    def __del__(self) -> None:
        try:
            self.call()
        except StoreBusy as error:
            self.raised.append(error)
