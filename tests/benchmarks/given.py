"""Sessions of a chosen length, and CPU time."""

import statistics
import time
from collections.abc import Callable

from agent import Agent
from agent.stores import SQLiteStore
from agent.testing import ScriptedModel

QUESTION, ANSWER = "x" * 600, "y" * 600


def parrot() -> ScriptedModel:
    """A model that answers at once, with 600 characters."""
    return ScriptedModel(lambda _: ANSWER)


def filled(store: SQLiteStore, key: str, turns: int) -> None:
    """Put a session of so many plain turns into a store."""
    session = Agent(parrot()).session(key)
    for _ in range(turns):
        session.run(QUESTION)
    if turns:
        store.save(key, session.to_dict())


def cpu_ms(work: Callable[[], object], times: int = 1) -> float:
    """CPU milliseconds of one call, the mean of so many."""
    start = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - start) / times * 1000


def spread(samples: list[float]) -> str:
    """The median, and in brackets the least and the most."""
    return f"{statistics.median(samples):.3f} ({min(samples):.3f}-{max(samples):.3f})"
