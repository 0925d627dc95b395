"""Kills: a process that converses is killed at any moment, the next goes on, and all is checked."""

import contextlib
import os
import random
import signal
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from agent import Agent, Session
from agent.eventstore import core
from agent.eventstore.events import ApprovalGranted, ToolCalled, ToolReturned
from agent.eventstore.record import Recorded
from agent.projections.pairing import Pairing
from agent.stores import SQLiteStore
from agent.testing import ScriptedModel
from tests.torture.talker import Journal, go_on, model, talk, tools

KILLS, KILLS_A_SESSION, LONGEST = 500, 20, 0.06


def main(seed: int, count: int | None) -> bool:
    """Kill so many times, and say where the kills fell and what was found."""
    with tempfile.TemporaryDirectory() as folder:
        fell = torture(Path(folder), seed, count or KILLS)
    for place, times in fell.most_common():
        print(f"  {times:5,}  {place}")
    print(f"{fell.total():,} kills, no finding")
    return True


def torture(folder: Path, seed: int, kills: int) -> Counter[str]:
    """Kill, go on, check. Raises ``AssertionError`` for whatever should not be."""
    rng, journal, fell = random.Random(seed), Journal(folder / "journal"), Counter[str]()
    # What is imported late is imported here once, or most kills would fall on imports.
    warm = Agent(model(rng), "m", tools=tools(Journal(folder / "warm"), rng, 0))
    warm.session().run("Go on")
    for number in range(kills):
        key = f"s{number // KILLS_A_SESSION}"
        told = _killed(folder / "log.db", journal, key, random.Random(f"{seed} {number}"))
        with SQLiteStore(folder / "log.db") as store:
            session = Agent(ScriptedModel([]), "m", store=store).session(key)
            check(session, told, journal)
            fell[place(session, journal)] += 1
            if (number + 1) % KILLS_A_SESSION == 0 or number + 1 == kills:
                _conclude(store, key, journal, rng)
    return fell


def _killed(db: Path, journal: Journal, key: str, rng: random.Random) -> list[str]:
    """What a process said until it was killed: by itself, or after a while."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        with os.fdopen(writing, "w") as told:
            talk(db, journal, key, rng, told)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        said = [told.readline().strip()]
        time.sleep(rng.uniform(0, LONGEST))
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        said += told.read().splitlines()
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or status == 0, f"the process failed: {status}"
    return said


def check(session: Session, told: list[str], journal: Journal) -> None:
    """Nothing acknowledged is lost, the log is whole, and nothing was done that must not be."""
    facts = list(core.verified(session.events(), stream=session.session_id))
    held = {
        (fact.type, fact.event.call_id)
        for fact in facts
        if isinstance(fact.event, ToolCalled | ToolReturned)
    }
    for words in (line.split() for line in told):
        match words:
            case ["version", version]:
                assert session.version >= int(version), "an acknowledged turn is lost"
            case ["tool.called" | "tool.returned" as kind, call_id]:
                assert (kind, call_id) in held, f"{kind} of {call_id} is lost"
            case _:
                pass
    pairing = Pairing()
    for message in session.messages:
        pairing.see(message)
    pairing.end()
    check_approved(facts)
    check_journal(journal)


def check_approved(facts: Sequence[Recorded]) -> None:
    """What a person has to allow was started once for each time that one did."""
    allowed = Counter[str]()
    for fact in facts:
        match fact.event:
            case ApprovalGranted(call_id=call_id):
                allowed[call_id] += 1
            case ToolCalled(call_id=call_id, tool="sign"):
                allowed[call_id] -= 1
                assert allowed[call_id] >= 0, "a tool was started that nobody has allowed"
            case _:
                pass


def check_journal(journal: Journal) -> None:
    """Who pays or signs does it once; who sends again sends under the same key."""
    begun = Counter((line.tool, line.key) for line in journal.lines() if line.what == "began")
    once = ("pay", "sign")
    assert [key for (tool, key), times in begun.items() if tool in once and times > 1] == []
    keys = defaultdict[str, set[str]](set)
    for line in journal.lines():
        if line.tool != "look":
            keys[line.key].add(line.call_id)
    assert [key for key, calls in keys.items() if len(calls) > 1] == []


def place(session: Session, journal: Journal) -> str:
    """Where a kill fell, as log and journal tell."""
    unfinished = session.unfinished_turn
    if unfinished is None:
        return "between two turns"
    if unfinished.waiting_for == "approval":
        return "while the turn waited for a person"
    if unfinished.waiting_for == "model":
        return "in a call of the model, or between its commits"
    lines = journal.lines()
    begun = {line.call_id for line in lines}
    done = {line.call_id for line in lines if line.what == "done"}
    unknown = {call.call_id for call in unfinished.calls if call.state == "unknown"}
    if unknown & begun - done:
        return "inside of a tool"
    if unknown & done:
        return "between a tool's end and the commit of its result"
    if unknown:
        return "between the commit of an intent and its tool"
    return "between a person's word and what comes of it"


def _conclude(store: SQLiteStore, key: str, journal: Journal, rng: random.Random) -> None:
    """Let nobody die, and look at the whole session once more."""
    agent = Agent(model(rng), "m", store=store, tools=tools(journal, rng, 0))
    session = agent.session(key)
    go_on(session, journal)
    session.run("The end")
    go_on(session, journal)
    assert session.unfinished_turn is None
    check(session, [], journal)
