"""The program whose disk loses power: sessions on one file, in several threads and several lives.

Turns with tools and attachments, forks, deletions, imports; checkpoints; the file opened anew. What
it asks of the log, and what the log acknowledges, is noted where the recorder sees it in its place.
"""

import json
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from agent import Agent, FilePart, Message, Session, TextPart, tool
from agent.engine.provider import ModelRequest
from agent.engine.scripted import Call, Reply, Scripted, ScriptedModel
from agent.engine.stores import LogStore
from agent.eventstore.backends.sqlite import SQLiteLog
from agent.eventstore.messages import Blob
from agent.eventstore.record import Head, Prepared
from tests.torture.recording import NOTES

FILE = "log.db"
LIVES, THREADS, STEPS = 3, 3, 10
SIZES = (10, 500, 3000, 20_000)
CHECKPOINTS = (10, 50, 1000)
"""After how many pages in the -wal it is moved into the file; the last is SQLite's own choice."""


class NotedLog(SQLiteLog):
    """A log that notes what it was asked for before it begins, and what came of it.

    ``level`` is a durability, or ``off``, which nobody can ask a log for: no fsync at all.
    """

    def __init__(self, path: Path, level: str, pages: int, notes: "Notes") -> None:
        super().__init__(path, durability="fsync" if level == "fsync" else "os")
        self._notes = notes
        with self._writer.shared.exclusive() as db:
            db.execute(f"PRAGMA wal_autocheckpoint = {pages}")
            if level == "off":
                db.execute("PRAGMA synchronous = OFF")

    def append(self, stream: str, prepared: Sequence[Prepared], *, expected: Head | None) -> Head:
        """Append, and note it."""
        number = self._notes.begun()
        head = super().append(stream, prepared, expected=expected)
        self._notes.done(number, self, stream, head)
        return head

    def fork(self, parent: str, child: str, *, at: int, prepared: Prepared) -> Head:
        """Fork, and note it."""
        number = self._notes.begun()
        head = super().fork(parent, child, at=at, prepared=prepared)
        self._notes.done(number, self, child, head)
        return head

    def delete(self, stream: str, prepared: Prepared) -> bool:
        """Delete, and note it."""
        number = self._notes.begun()
        super().delete(stream, prepared)
        self._notes.done(number, self, stream, None)
        return True

    def put_blob(self, data: bytes) -> str:
        """Store an attachment, and note it."""
        digest = super().put_blob(data)
        self._notes.write({"blob": digest})
        return digest


class Notes:
    """The notes of all threads. A write to the log is known by its last event's hash."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self._lock = threading.Lock()
        self._begun = 0

    def write(self, note: dict[str, Any]) -> None:
        """Add a line."""
        self._file.write(json.dumps(note).encode() + b"\n")

    def begun(self) -> int:
        """The log is asked to write; returns the number of the request."""
        with self._lock:
            self._begun += 1
            self.write({"number": self._begun})
            return self._begun

    def done(self, number: int, log: SQLiteLog, stream: str, head: Head | None) -> None:
        """The log has acknowledged; ``head`` is what it answered, None to a deletion."""
        self.write({"number": number, "stream": stream, "version": head and head.version})
        *_, last = (fact for fact in log.read_all() if fact.stream == stream)
        assert head in (None, last.head)
        self.write({"number": number, "hash": last.hash.hex(), "position": last.position})

    def close(self) -> None:
        """Nothing more is noted."""
        self._file.close()


@tool
def pay(amount: int) -> str:
    """Pay."""
    return f"paid {amount}"


def answer(request: ModelRequest) -> Scripted:
    """Two calls of a tool if the user asks for it, else text as long as the question."""
    last = request.messages[-1]
    if last.role == "user" and last.text.startswith("pay"):
        return [Call("pay", {"amount": 1}), Call("pay", {"amount": 2})]
    return Reply(text="y" * len(last.text))


def work(store: LogStore, name: str, rng: Random) -> None:
    """One thread's sessions."""
    agent = Agent(ScriptedModel(answer), store=store, tools=[pay])
    session = agent.session(name)
    session.run("hello")
    for number in range(STEPS):
        session = step(store, session, f"{name}.{number}", rng)


def step(store: LogStore, session: Session, name: str, rng: Random) -> Session:
    """Do one thing at random; the session to go on with."""
    text = "x" * rng.choice(SIZES)
    match rng.randrange(9):
        case 0 | 1:
            session.run(text)
        case 2 | 3:
            session.run(f"pay {text}")
        case 4:
            file = FilePart(Blob.of(rng.randbytes(rng.choice(SIZES))), "text/plain")
            session.run([TextPart("Here:"), file])
        case 5:
            session.add_message(Message.user(text))
            session.add_message(Message.assistant("noted"))
            session.clear()
        case 6:
            other = session.fork(session_id=name)
            other.run("go on")
            store.delete(rng.choice((session, other)).session_id)
            session = other if store.log.head(name) else session
        case 7:
            store.save(name, session.to_dict())
        case _:
            store.log.put_blob(rng.randbytes(rng.choice(SIZES)))
    return session


def main(folder: str, seed: str, level: str) -> None:
    """All lives of the program."""
    rng = Random(seed)
    notes = Notes(Path(folder, NOTES))
    failed: list[BaseException] = []
    threading.excepthook = lambda hooked: failed.append(hooked.exc_value or RuntimeError())
    for life in range(LIVES):
        pages = rng.choice(CHECKPOINTS)
        with LogStore(NotedLog(Path(folder, FILE), level, pages, notes)) as store:
            threads = [
                threading.Thread(
                    target=work, args=(store, f"{life}.{number}", Random(f"{seed} {life} {number}"))
                )
                for number in range(THREADS)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    notes.close()
    if failed:
        raise failed[0]


if __name__ == "__main__":
    main(*sys.argv[1:])
