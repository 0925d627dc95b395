"""The target that is a database file: rows that were changed behind the log's back."""

import json
import sqlite3
import zlib
from random import Random
from typing import Any

from agent import Agent, Session
from agent.errors import AgentError
from agent.eventstore.core import verified
from agent.stores import SQLiteStore
from tests.engine.given import fixed_sources
from tests.fuzz.exports import AGENT, Parrot, check_session, rewritten, sessions
from tests.fuzz.mutators import ALL, STRUCTURE, mutate
from tests.fuzz.runner import Target

TABLES = {
    "streams": ("id", "name", "parent", "forked_at", "deleted"),
    "blobs": ("digest", "data"),
    "events": (
        *("position", "stream", "version", "type", "schema", "recorded_at", "codec"),
        *("hash", "digest", "salt", "payload"),
    ),
}
TEXTS = {("streams", "name"), ("blobs", "digest"), ("events", "type"), ("events", "payload")}
BYTES = "bytes:"
KEYS = ("root", "child", "fresh", "branch", "twig")


class Rows(Target):
    """A log whose rows were changed, lost or repeated, then listed, opened, exported, used.

    Each of these works or says what is wrong. What can be imported elsewhere has a whole chain.
    """

    name = "rows"

    def __init__(self) -> None:
        self._store = SQLiteStore(":memory:")
        self._agent = Agent(Parrot(), "m", store=self._store, sources=fixed_sources())
        for session in sessions():
            Session.from_dict(session.to_dict(), self._agent)
        self._agent.session("root").fork("branch").fork("twig").run("And?")
        with self._store.log._writer.shared.exclusive() as db:  # pyright: ignore[reportAttributeAccessIssue] - it is a SQLiteLog
            for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'"):
                db.execute(f"DROP TRIGGER {name.decode()}")
            db.execute("PRAGMA foreign_keys = OFF")
            self._db: sqlite3.Connection = db
        self.seeds = (self._dump(),)

    def _dump(self) -> bytes:
        """Every row as a line of JSON."""
        lines = [
            f"{table} {json.dumps(dict(zip(columns, map(_shown, row), strict=True)))}"
            for table, columns in TABLES.items()
            for row in self._db.execute(f"SELECT {', '.join(columns)} FROM {table}")
        ]
        return "\n\n".join(lines).encode()

    def make(self, rng: Random) -> bytes:
        """Rows that are changed."""
        return mutate(rng, self.seeds, STRUCTURE if rng.random() < 0.9 else ALL)

    def check(self, body: bytes) -> str:
        """Put the rows in and use the store."""
        self._load(body)
        found = [self._tried(lambda: len(list(self._store.sessions())))]
        chosen = Random(zlib.crc32(body)).sample(KEYS, 2)
        found += [self._tried(lambda key=key: self._store.load(key)) for key in chosen]
        found += [self._tried(lambda key=key: self._use(key)) for key in chosen]
        errors = sorted({outcome for outcome in found if outcome})
        return ", ".join(errors) or "all is well"

    def _tried(self, action: Any) -> str:
        try:
            action()
        except AgentError as error:
            str(error).encode(errors="surrogatepass")
            return type(error).__name__
        return ""

    def _use(self, key: str) -> None:
        session = self._agent.session(key)
        check_session(session)
        data = session.to_dict()
        try:
            again = Session.from_dict(json.loads(rewritten(data)), AGENT)
        except AgentError:
            pass
        else:
            assert list(verified(session.events(), stream=key))
            assert again.to_dict() == data
        assert session.run("Go on").text == "fine"
        session.fork(f"{key}'s")
        self._store.delete(key)

    def _load(self, body: bytes) -> None:
        self._db.execute("BEGIN")
        for table in ("attachments", *TABLES):
            self._db.execute(f"DELETE FROM {table}")
        for line in body.split(b"\n"):
            table, _, text = line.decode(errors="replace").partition(" ")
            try:
                row = json.loads(text)
                columns = [name for name in TABLES[table] if name in row]
                given = [_stored(row[name]) for name in columns]
                places = ["CAST(? AS TEXT)" if (table, name) in TEXTS else "?" for name in columns]
                self._db.execute(
                    f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(places)})",
                    given,
                )
            except (ValueError, RecursionError, LookupError, TypeError):
                continue  # no row at all
            except (sqlite3.Error, OverflowError):
                continue  # none that the tables take
        self._db.execute("COMMIT")


def _shown(value: Any) -> Any:
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return BYTES + value.hex()
    return value


def _stored(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if value.startswith(BYTES):
        return bytes.fromhex(value.removeprefix(BYTES))
    return value.encode(errors="surrogatepass")
