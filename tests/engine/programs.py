"""Programs that run in an interpreter of their own, and end there."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

PRELUDE = """
import asyncio, atexit, faulthandler, gc, os, signal, sys, threading, time
faulthandler.dump_traceback_later(50, exit=True)

from agent import Agent, Message, Session
from agent.eventstore.backends.memory import MemoryLog
from agent.stores import LogStore, MemoryStore, SessionStore, SQLiteStore
from agent.testing import Call, Reply, ScriptedModel

def answer(request):
    text = request.messages[-1].text
    return Call(text) if text in TOOLS else Reply(text="one two three", delay=0.005)

began = threading.Event()

def slow() -> str:
    '''Take long.'''
    began.set()
    time.sleep(60)
    return "late"

async def slow_async() -> str:
    '''Take long.'''
    began.set()
    await asyncio.sleep(60)
    return "late"

async def quick() -> str:
    '''Take a moment.'''
    await asyncio.sleep(0)
    return "done"

TOOLS = {tool.__name__: tool for tool in (slow, slow_async, quick)}

def agent_on(store, url=""):
    if url:
        how = dict(provider="openai", model="gpt-4o", base_url=url, api_key="sk-test")
    else:
        how = dict(provider=ScriptedModel(answer), model="m")
    return Agent(store=store, tools=list(TOOLS.values()), **how)

def in_child(function):
    '''The status of a child that calls the function; one that hangs is ended.'''
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        try:
            function()
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]
"""


class Ended(NamedTuple):
    """How a program ended. A clean one has printed and returned nothing but what it should."""

    code: int
    out: str
    errors: str


def run_program(source: str, *args: str | Path, env: dict[str, str] | None = None) -> Ended:
    """Run a program after the prelude; warnings are errors, and one that hangs says where."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-W", FORKING, "-c", PRELUDE + source, *map(str, args)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **(env or {})},
    )
    return Ended(done.returncode, done.stdout.strip(), done.stderr)


def printed(source: str, *args: str | Path) -> str:
    """What a program printed that ended without complaint."""
    ended = run_program(source, *args)
    assert (ended.code, ended.errors) == (0, ""), ended.errors
    return ended.out


FORKING = "ignore:This process"
"""Python 3.12 and later warn of forks beside other threads: what some programs are about."""

KILLED, INTERRUPTED = -signal.SIGTERM, -signal.SIGINT
