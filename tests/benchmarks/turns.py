"""One whole run with a model that answers at once, on SQLite (FULL): does it grow with history?"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from agent import Agent
from agent.stores import SQLiteStore
from tests.benchmarks.given import QUESTION, Figure, cpu_ms, filled, median, parrot

LENGTHS = (0, 1000, 5000)
ROUNDS, RUNS = 15, 20


def figures() -> Iterator[Figure]:
    """CPU per run at each length, measured in turn, round after round."""
    with tempfile.TemporaryDirectory() as folder, SQLiteStore(Path(folder, "log.db")) as store:
        for turns in LENGTHS:
            filled(store, f"{turns}", turns)
        samples = _measured(store)
    at = {turns: median(samples[turns]) for turns in LENGTHS}
    for turns in LENGTHS:
        yield Figure(f"a run after {turns:,} turns", at[turns], "ms CPU", 2)
    yield Figure("at 1,000 turns", at[1000] / at[0], "times at 0", 1.3)
    yield Figure("at 5,000 turns", at[5000] / at[0], "times at 0")


def _measured(store: SQLiteStore) -> dict[int, list[float]]:
    samples: dict[int, list[float]] = {turns: [] for turns in LENGTHS}
    model = parrot()
    agent = Agent(model, store=store)
    sessions = {turns: agent.session(f"{turns}") for turns in LENGTHS}
    for number in range(ROUNDS + 1):
        sessions[0] = agent.session(f"new {number}")
        for turns, session in sessions.items():
            session.run(QUESTION)
            milliseconds = cpu_ms(lambda session=session: session.run(QUESTION), RUNS)
            model.requests.clear()
            if number:
                samples[turns].append(milliseconds)
    return samples
