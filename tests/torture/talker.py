"""A process that converses, with tools that touch the world outside, until it is killed.

It goes on from whatever the process before it has left: looks at what never ended, finds out in the
journal outside what was really done, decides, resumes, and takes turns of its own.
"""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from agent import Agent, Session, Tool, ToolContext
from agent.engine.provider import ModelRequest
from agent.eventstore.backends.failing import die
from agent.stores import LogStore, SQLiteStore
from agent.testing import Call, FailingLog, ScriptedModel

NAMES = ("pay", "send", "look", "sign")
TURNS, STEPS, MOST_CALLS, DAWDLING = 20, 3, 3, 0.004


class Line(NamedTuple):
    """What a tool has noted outside: which call, under which key, and whether it began or ended."""

    tool: str
    call_id: str
    key: str
    what: str


class Journal:
    """The world outside: a file that every tool writes to when it begins and when it is done."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def note(self, *words: str) -> None:
        """Write a line, whole or not at all."""
        line = " ".join(words).encode() + b"\n"
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(file, line)
        os.close(file)

    def lines(self) -> list[Line]:
        """Everything that was written."""
        text = self.path.read_text() if self.path.exists() else ""
        return [Line(*line.split()) for line in text.splitlines()]


def tools(journal: Journal, rng: random.Random, kill_inside: int) -> list[Tool[..., Any]]:
    """Four tools that touch the world outside.

    Two may run once, one of them if a person allows it; one may run again under its key, and one
    only looks. In the ``kill_inside``-th run of any, the process dies half way; never for 0.
    """
    left = [kill_inside]

    def made(name: str) -> Callable[..., str]:
        def act(context: ToolContext) -> str:
            journal.note(name, context.call_id, context.idempotency_key, "began")
            left[0] -= 1
            if left[0] == 0:
                die()
            time.sleep(rng.uniform(0, DAWDLING))
            journal.note(name, context.call_id, context.idempotency_key, "done")
            return f"{name} done"

        act.__name__ = name
        return act

    pay, send, look, sign = map(made, NAMES)
    return [
        *(Tool(pay), Tool(send, idempotent=True), Tool(look, retry_safe=True)),
        Tool(sign, requires_approval=True),
    ]


def model(rng: random.Random) -> ScriptedModel:
    """Asks for up to three tools at once, a few times, and then answers."""

    def answer(request: ModelRequest) -> Any:
        time.sleep(rng.uniform(0, DAWDLING) / 2)
        roles = [message.role for message in request.messages]
        since = roles[::-1].index("user")
        if since >= 2 * STEPS or rng.random() < 0.1:
            return "Done."
        return [Call(rng.choice(NAMES)) for _ in range(rng.randint(1, MOST_CALLS))]

    return ScriptedModel(answer)


def go_on(session: Session, journal: Journal) -> None:
    """Finish what never ended: what the world outside says was begun is taken for done.

    Of the calls that wait for a person some are allowed, one after another, and some are not.
    """
    while (unfinished := session.unfinished_turn) is not None:
        begun = {line.call_id for line in journal.lines()}
        if unfinished.waiting_for == "decision":
            for call in unfinished.calls:
                if call.state == "unknown" and call.tool in ("pay", "sign"):
                    if call.call_id in begun:
                        session.resolve(call.call_id, result="found to be done")
                    else:
                        session.resolve(call.call_id, retry=True)
        for waiting in session.pending_approvals[:1]:
            if waiting.call_id.endswith("2"):
                session.reject(waiting.call_id)
            else:
                session.approve(waiting.call_id, digest=waiting.digest)
        session.resume()


def talk(db: Path, journal: Journal, key: str, rng: random.Random, told: TextIO) -> None:
    """Take turns, and say of each event when it is acknowledged."""
    inside = rng.choice([0, 0, rng.randint(1, 6)])
    append = None if inside else rng.choice([None, rng.randint(1, 12)])
    when = "after" if rng.random() < 0.5 else "before"
    log = FailingLog(SQLiteStore(db).log, fail_at=append, when=when, how="kill")
    with LogStore(log) as store:
        agent = Agent(model(rng), "m", store=store, tools=tools(journal, rng, inside))
        session = agent.session(key)
        print("ready", file=told, flush=True)
        go_on(session, journal)
        print("version", session.version, file=told, flush=True)
        for _ in range(TURNS):
            for event in session.stream("Go on"):
                if event.type == "tool_call":
                    print("tool.called", event.call_id, file=told, flush=True)
                elif event.type == "tool_result":
                    print("tool.returned", event.call_id, file=told, flush=True)
            go_on(session, journal)
            print("version", session.version, file=told, flush=True)
