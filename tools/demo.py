"""``agent demo``: a tool, a fork, a look back, a replay, a rerun and a verified export.

The model is a script. Everything else is real: the turns, the tool, the SQLite file, and every
figure on the screen.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.padding import Padding
from rich.text import Text

from agent.engine.agent import Agent
from agent.engine.provider import TextDelta
from agent.engine.scripted import Call, Reply, ScriptedModel
from agent.engine.session import Session
from agent.engine.stores import SQLiteStore
from agent.engine.stream import ToolCallEvent, ToolResultEvent
from agent.engine.tools import tool
from agent.eventstore.errors import InvalidExport
from agent.eventstore.version import library_version
from agent.tools.terminal import clipped, console
from agent.tools.words import summary

if TYPE_CHECKING:
    from rich.console import Console

_SECONDS_PER_WORD = 0.06
_WIDEST = 80
_REAL_MODEL = (
    "from agent import Agent",
    'agent = Agent(provider="openai", model="gpt-4o")',
    'print(agent.session().run("Hello").text)',
    '# a local server: Agent(..., base_url="http://localhost:8080/v1")',
)
_WEATHER: dict[str, dict[str, object]] = {"Kyoto": {"sky": "sunny", "celsius": 24}}


@tool
def get_weather(city: str) -> dict[str, object]:
    """Get the weather in a city."""
    return _WEATHER[city]


def _script(delay: float) -> list[Call | Reply]:
    return [
        Call("get_weather", {"city": "Kyoto"}),
        Reply(text="Sunny and 24 degrees: good for a walk.", delay=delay),
        Reply(text="At Fushimi Inari, before the crowds come.", delay=delay),
        Reply(text="Begin at Osaka Castle, then stay for dinner.", delay=delay),
        Reply(text="Rain: begin under a roof."),
    ]


@click.command()
@click.option(
    "--db",
    type=click.Path(dir_okay=False, path_type=Path),
    help="SQLite file to use; each run adds its own sessions.  [default: a new temporary one]",
)
def demo(db: Path | None) -> None:
    """Show what a session can do; needs no key and no network.

    The answers come from a script. Everything else is real, and every figure is computed.
    """
    screen = console(sys.stdout)
    screen.width = min(screen.width, _WIDEST)
    path = db or Path(tempfile.mkdtemp(prefix="agent-demo-")) / "sessions.db"
    model = ScriptedModel(_script(_SECONDS_PER_WORD if screen.is_terminal else 0.0))
    with SQLiteStore(path) as store, Agent(model, tools=[get_weather], store=store) as agent:
        session = agent.session(_free_name(store), system="You are a travel guide.")
        _Demo(screen, path, agent, session).show()


def _free_name(store: SQLiteStore) -> str:
    """``trip``, or ``trip-2`` and so on where earlier runs have left theirs."""
    taken = set(store.list_sessions())
    name, number = "trip", 1
    while name in taken:
        number += 1
        name = f"trip-{number}"
    return name


class _Demo:
    """The steps, in the order in which they are shown."""

    def __init__(self, screen: Console, path: Path, agent: Agent, session: Session) -> None:
        self._screen = screen
        self._path = path
        self._agent = agent
        self._session = session

    def show(self) -> None:
        """Show everything."""
        self._title()
        self._head("Talk", "streamed, and on the disk before anything depends on it")
        self._turn(self._session, "How is the weather in Kyoto?")
        settled = self._session.version
        self._turn(self._session, "Where do we begin?")
        fork = self._fork(settled)
        self._look_back(settled)
        self._take_again()
        self._export()
        self._log(settled, fork)
        self._end()

    def _title(self) -> None:
        words = ": a conversation is a log of events, and nothing else"
        self._screen.print(Text.assemble((f"agent-sessions {library_version()}", "bold"), words))
        self._screen.print(f"The log: {self._path}", soft_wrap=True)

    def _head(self, name: str, words: str) -> None:
        self._screen.print(Text.assemble((f"\n{name}: ", "bold cyan"), words))

    def _line(self, text: str, style: str = "") -> None:
        self._screen.print(Padding(Text(text, style), (0, 0, 0, 2), expand=False))

    def _turn(self, session: Session, prompt: str) -> None:
        self._line(f"> {prompt}")
        pieces = 0
        for event in session.stream(prompt):
            match event:
                case TextDelta(text=text):
                    self._piece(text if pieces else f"  {text}", "green")
                    pieces += 1
                case ToolCallEvent():
                    self._piece(f"  tool: {event.name}({event.arguments})", "yellow")
                case ToolResultEvent():
                    self._piece(f" = {event.text}\n", "yellow")
                case _:
                    pass
        self._piece(f"  ({pieces} pieces)\n", "dim")

    def _piece(self, text: str, style: str) -> None:
        self._screen.print(text, style=style, end="", soft_wrap=True)
        self._screen.file.flush()

    def _fork(self, at: int) -> Session:
        session = self._session
        fork = session.fork(f"{session.session_id}-osaka", at=at)
        (own,) = (fact for fact in fork.events() if fact.version > at)
        size = len(own.payload)
        self._head(
            "Fork", f"at version {at}, for 1 event of {size} bytes; what was before is shared"
        )
        self._turn(fork, "We changed our mind: Osaka instead!")
        for one in (session, fork):
            last = clipped(one.messages[-1].text, 46)
            self._line(f'{one.session_id}: {len(one.messages)} messages, ends "{last}"')
        return fork

    def _look_back(self, at: int) -> None:
        then, now = self._session.at(at).messages, self._session.messages
        words = f"session.at({at}) has {len(then)} of the {len(now)} messages, as it was then"
        self._head("Look back", words)

    def _take_again(self) -> None:
        session = self._session
        self._head("Take it again", "by today's code, or with a model; the session stays as it is")
        self._line(f"replay: {session.replay(self._agent)}")
        other = session.replay(self._agent, system="You are a poet.").divergence
        self._line(f"replay, as a poet: {str(other).partition(chr(10))[0]}")
        (result,) = (fact.version for fact in session.events() if fact.type == "tool.returned")
        rain, name = {"sky": "rain", "celsius": 9}, f"{session.session_id}-rain"
        taken = session.rerun(edit={result: rain}, session_id=name)
        said = taken.response.text if taken.response else str(taken.error)
        self._line(f'rerun, had it rained, in the fork {name}: "{said}"')

    def _export(self) -> None:
        session = self._session
        text = json.dumps(session.to_dict())
        self._head("Export", f"session.to_dict() is {len(text):,} bytes of JSON")
        copy = Session.from_dict(json.loads(text), Agent(ScriptedModel([])))
        same = "the same" if copy.messages == session.messages else "other"
        self._line(f"read back: {copy.version} events, every hash checked, {same} messages")
        edited = text.replace("sunny", "funny", 1)
        try:
            Session.from_dict(json.loads(edited), Agent(ScriptedModel([])))
        except InvalidExport as error:
            refused = f"event {error.version}: {error.reason}"
            self._line(f"sunny changed to funny: refused, {refused}", "red")

    def _log(self, at: int, fork: Session) -> None:
        events = list(self._session.events())
        self._head("The log", f"the {len(events)} events of {self._session.session_id}")
        for fact in events:
            branch = f"{fork.session_id} branches off here" if fact.version == at else ""
            row = Text.assemble(
                (f"{fact.version:4}  ", "dim"),
                (f"{fact.type:17}", "cyan"),
                clipped(branch or summary(fact.event), _WIDEST),
            )
            row.rstrip()
            self._screen.print(row, no_wrap=True, overflow="ellipsis")

    def _end(self) -> None:
        self._head("With a real model", "set OPENAI_API_KEY, and run agent chat, or in Python:")
        for line in _REAL_MODEL:
            self._line(line, "green")
