"""One whole run with a model that answers at once, on SQLite (FULL): does it grow with history?"""

import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from agent import Agent
from agent.stores import SQLiteStore
from tests.benchmarks.given import QUESTION, cpu_ms, filled, parrot, spread

LENGTHS = (0, 1000, 5000)
ROUNDS, RUNS = 15, 20


def lines() -> Iterator[str]:
    """CPU per run at each length, measured in turn, round after round."""
    with tempfile.TemporaryDirectory() as folder, SQLiteStore(Path(folder, "log.db")) as store:
        for turns in LENGTHS:
            filled(store, f"{turns}", turns)
        samples = _measured(store)
    base = statistics.median(samples[0])
    for turns in LENGTHS:
        ratio = statistics.median(samples[turns]) / base
        yield f"{turns:>5} turns: {spread(samples[turns])} ms CPU a run, {ratio:.2f} of at 0"


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
