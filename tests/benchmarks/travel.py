"""Time travel over a session of 100,000 events: states, requests, differences, replays.

The session has plain turns and turns with one and with two parallel calls, undos, messages added by
hand, and one compaction, as an agent records them.
"""

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

from agent import Agent, Message, Session
from agent.engine.provider import ModelRequest
from agent.engine.scripted import Scripted
from agent.stores import SQLiteStore
from agent.testing import Call, ScriptedModel
from tests.benchmarks.given import ANSWER, QUESTION, Figure, cpu_ms, median

EVENTS, LOOKS = 100_000, 200
APART = (1, 10, 100, 1000)


def lookup(key: int) -> str:
    """Look something up."""
    return f"value {key}"


def reply(request: ModelRequest) -> Scripted:
    """What the model says: an answer, or calls first where the question asks for them."""
    last = request.messages[-1]
    if last.role != "user" or not last.text.endswith("!"):
        return ANSWER
    return [Call("lookup", {"key": key}) for key in range(len(last.text) % 2 + 1)]


def an_agent(store: SQLiteStore) -> Agent:
    """The agent that records the session."""
    return Agent(ScriptedModel(reply), "m", tools=[lookup], store=store)


def recorded(agent: Agent, key: str, events: int) -> Session:
    """A session of so many events."""
    session = agent.session(key, system="You look things up.")
    turn = 0
    while session.version < events:
        turn += 1
        session.run(QUESTION + "!" * (turn % 3))
        if turn % 400 == 0:
            session.undo(3)
        if turn % 400 == 200:
            session.add_message(Message.user("A note."))
            session.add_message(Message.assistant("Noted."))
        if turn == 2000:
            session.compact(keep_last=100)
    return session


def figures() -> Iterator[Figure]:
    """CPU of each, on a file."""
    with (
        tempfile.TemporaryDirectory() as folder,
        SQLiteStore(Path(folder, "log.db"), durability="os") as store,
    ):
        agent = an_agent(store)
        whole = recorded(agent, "whole", EVENTS)
        yield Figure("events", whole.version, "", EVENTS, least=True)
        opened = cpu_ms(lambda: agent.session("whole").messages)
        yield Figure("opening", opened, "ms CPU")
        yield from _looks(agent)
        yield from _requests(agent, whole)
        yield from _differences(agent, whole)
        yield from _replays(agent, whole)


def _looks(agent: Agent) -> Iterator[Figure]:
    session, chance = agent.session("whole"), random.Random(1)
    _ = session.version
    versions = [chance.randint(1, session.version) for _ in range(LOOKS)]
    times = [cpu_ms(lambda at=at: session.at(at)) for at in versions]
    yield Figure("the state at a version, median", median(times), "ms CPU", 50)
    yield Figure("the state at a version, worst", max(times), "ms CPU", 50)
    seen = cpu_ms(lambda: session.bisect(lambda view: view.version >= EVENTS // 3))
    yield Figure("bisect", seen, "ms CPU")


def _requests(agent: Agent, whole: Session) -> Iterator[Figure]:
    asked = [fact.version for fact in whole.events() if fact.type == "model.requested"]
    session, chance = agent.session("whole"), random.Random(1)
    _ = session.version
    early, late = asked[: len(asked) // 100], asked[-len(asked) // 100 :]
    for name, among in (("early", early), ("late", late)):
        versions = [chance.choice(among) for _ in range(9)]
        times = [cpu_ms(lambda at=at: session.request_at(at)) for at in versions]
        yield Figure(
            f"request_at of an {name} request".replace("an late", "a late"), median(times), "ms CPU"
        )


def _differences(agent: Agent, whole: Session) -> Iterator[Figure]:
    costs: list[float] = []
    for turns in APART:
        one, other = whole.fork(), whole.fork()
        for _ in range(turns):
            one.run(QUESTION)
            other.run(QUESTION)
        costs.append(
            median([cpu_ms(lambda one=one, other=other: one.diff(other)) for _ in range(9)])
        )
        yield Figure(f"diff of two forks {turns} turns apart", costs[-1], "ms CPU")
    yield Figure(
        "diff, each of 1,000 turns", 1000 * (costs[-1] - costs[0]) / (APART[-1] - 1), "µs CPU"
    )


def _replays(agent: Agent, whole: Session) -> Iterator[Figure]:
    for name, given in (("by an agent", agent), ("as recorded", None)):
        session = agent.session("whole")
        events = session.version
        times = [
            cpu_ms(lambda given=given, session=session: session.replay(given)) for _ in range(3)
        ]
        rate = 1000 * events / median(times)
        yield Figure(f"replay {name}", rate, "events a second of CPU", 20_000, least=True)
