"""What these tests share: the command as a process, piped or in a pseudo-terminal."""

import codecs
import fcntl
import os
import pty
import re
import select
import sqlite3
import struct
import subprocess
import sys
import termios
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Self

from agent.engine.agent import Agent
from agent.engine.errors import ProviderError
from agent.engine.scripted import Call, Reply, ScriptedModel
from agent.engine.stores import SQLiteStore
from agent.engine.tools import tool
from agent.eventstore.values import Usage

COMMAND = (sys.executable, "-m", "agent.tools.cli")
PATIENCE = 60.0
TRIES = 6
CONTROL_C, CONTROL_D = "\x03", "\x04"
COLOUR = re.compile(r"\x1b\[[\d;]*m")

_LISTEN = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored below a shell's background job
os.execv(sys.argv[1], sys.argv[1:])
"""
_LEAD = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)  # only the leader of a session may take a terminal
os.execv(sys.argv[1], sys.argv[1:])
"""
LISTENING = (sys.executable, "-c", _LISTEN, *COMMAND)


def run(*arguments: str, given: str | bytes = b"") -> subprocess.CompletedProcess[str]:
    """Run the command to its end with this standard input."""
    data = given.encode() if isinstance(given, str) else given
    done = subprocess.run(
        [*COMMAND, *arguments], input=data, capture_output=True, timeout=PATIENCE, check=False
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


def redirected(how: str, *arguments: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run the command to its end with its streams as a shell redirects them."""
    return subprocess.run(
        ["/bin/sh", "-c", f'"$@" {how}', "sh", *COMMAND, *arguments],
        input=given,
        capture_output=True,
        timeout=PATIENCE,
        check=False,
    )


def chat(*lines: str, options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run `agent chat` on these lines."""
    return run("chat", *options, given="".join(f"{line}\n" for line in lines))


def history(path: Path, session_id: str = "main") -> list[tuple[str, str]]:
    """Role and text of the messages of a stored session."""
    with SQLiteStore(path) as store:
        session = Agent(ScriptedModel([]), store=store).session(session_id)
        return [(message.role, message.text) for message in session.messages]


def event_types(path: Path, session_id: str = "main") -> list[str]:
    """The types of the events of a stored session."""
    with SQLiteStore(path) as store:
        return [fact.type for fact in store.log.read(session_id)]


def recorded_trip(path: Path) -> None:
    """Record `trip` of two turns in a log, and `trip-osaka`, forked after the first."""
    model = ScriptedModel(
        [Reply(text="Sunny."), Reply(text="At the shrine."), Reply(text="Go and see.")]
    )
    with SQLiteStore(path) as store, Agent(model, store=store) as agent:
        trip = agent.session("trip", system="You are a guide.", metadata={"title": "A trip"})
        first = trip.run("How is Kyoto?")
        trip.run("Where do we begin?")
        trip.fork("trip-osaka", at=first.version).run("Osaka instead")


def recorded_calls(path: Path) -> None:
    """Record `trip` with a call of `weather` that works, and `lost` with one that fails."""

    @tool
    def weather(city: str) -> str:
        if city == "Atlantis":
            raise LookupError("no such city")
        return f"Sunny in {city}."

    usage = Usage(1000, 200, 400, 0, 50)
    model = ScriptedModel(
        [
            Reply(calls=(Call("weather", {"city": "Zürich"}),), usage=usage),
            Reply(text="It is sunny.", usage=usage),
            Reply(calls=(Call("weather", {"city": "Atlantis"}),)),
            Reply(error=ProviderError("refused", retryable=True, retry_after=0)),
            Reply(error=ProviderError("refused")),
        ]
    )
    with SQLiteStore(path) as store, Agent(model, tools=[weather], store=store) as agent:
        agent.session("trip").run("And in Zürich?")
        with suppress(ProviderError):
            agent.session("lost").run("And in Atlantis?")


def changed(path: Path, statement: str) -> None:
    """Change a log behind its back, past the triggers that keep accidents away."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        triggers = db.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall()
        for (name,) in triggers:
            db.execute(f"DROP TRIGGER {name}")
        db.execute(statement)


class Terminal:
    """The command in a pseudo-terminal, and what it has written there."""

    def __init__(self, *arguments: str, width: int = 80, stdout: int | None = None) -> None:
        self.written = ""
        self._seen = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._end, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-c", _LEAD, *LISTENING, *arguments],
            stdin=other,
            stdout=other if stdout is None else stdout,
            stderr=other,
            start_new_session=True,
        )
        os.close(other)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._end)

    def press(self, keys: str) -> None:
        """Type without a return."""
        os.write(self._end, keys.encode())

    def enter(self, line: str) -> None:
        """Type a line."""
        self.press(f"{line}\r")

    def expect(self, text: str) -> str:
        """Wait until the command writes this; returns what it wrote up to there."""
        assert self._wait(text, PATIENCE), f"{text!r} is not in {self.written[self._seen :]!r}"
        start, self._seen = self._seen, self.written.find(text, self._seen) + len(text)
        return self.written[start : self._seen]

    def interrupt(self, text: str) -> None:
        """Press Ctrl-C until the command writes this.

        Python misses a signal that arrives just before it begins to wait for input or a socket,
        until the next one: a user presses again.
        """
        for _ in range(TRIES):
            self.press(CONTROL_C)
            if self._wait(text, PATIENCE / TRIES):
                break
        self.expect(text)

    def leave(self, key: str = "") -> int:
        """Press a key until the command ends, or just wait for it; returns the exit status."""
        for _ in range(TRIES):
            self.press(key)
            deadline = time.monotonic() + PATIENCE / TRIES
            while self._read(deadline):
                pass
            if time.monotonic() < deadline:
                break
        return self.process.wait(PATIENCE)

    def _wait(self, text: str, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while text not in self.written[self._seen :]:
            if not self._read(deadline):
                return False
        return True

    def _read(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._end], [], [], max(0.0, deadline - time.monotonic()))
        try:
            data = os.read(self._end, 65536) if ready else b""
        except OSError:  # what Linux says once the other end is closed
            data = b""
        self.written += self._decoder.decode(data).replace("\r\n", "\n")
        return bool(data)
