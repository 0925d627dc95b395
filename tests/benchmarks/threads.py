"""Eight threads, each with its own session, on one file against one: what group commit gives."""

import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from agent import Agent, Session
from agent.stores import SQLiteStore
from tests.benchmarks.given import QUESTION, Figure, median, parrot

THREADS, TURNS, ROUNDS = 8, 200, 7


def figures() -> Iterator[Figure]:
    """Turns a second of wall clock time, measured in turn."""
    rounds = [(_turns_a_second(1), _turns_a_second(THREADS)) for _ in range(ROUNDS)]
    yield Figure("one thread", median([one for one, _ in rounds]), "turns a second")
    yield Figure(f"{THREADS} threads", median([many for _, many in rounds]), "turns a second")
    ratio = median([many / one for one, many in rounds])
    yield Figure(f"{THREADS} threads", ratio, "times one thread", 2, least=True)


def _turns_a_second(threads: int) -> float:
    with tempfile.TemporaryDirectory() as folder, SQLiteStore(Path(folder, "log.db")) as store:
        agent = Agent(parrot(), store=store)
        sessions = [agent.session(f"{number}") for number in range(threads)]
        for session in sessions:
            session.run(QUESTION)
        workers = [threading.Thread(target=_work, args=(session,)) for session in sessions]
        start = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return threads * TURNS / (time.perf_counter() - start)


def _work(session: Session) -> None:
    for _ in range(TURNS):
        session.run(QUESTION)
