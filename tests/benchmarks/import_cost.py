"""What an import costs above a bare interpreter."""

import resource
import subprocess
import sys
from collections.abc import Iterator

from tests.benchmarks.given import Figure

SCRIPTS = {
    "import agent": ("import agent", 60),
    "an agent and a session": (
        "from agent import Agent; Agent(provider='openai', model='gpt-4o').session()",
        200,
    ),
}
RUNS = 9


def figures() -> Iterator[Figure]:
    """CPU of whole processes, the least of several, above that of a bare interpreter."""
    bare = min(_cpu_ms("pass") for _ in range(RUNS))
    yield Figure("a bare interpreter", bare, "ms CPU")
    for name, (script, bar) in SCRIPTS.items():
        more = min(_cpu_ms(script) for _ in range(RUNS)) - bare
        yield Figure(name, more, "ms CPU more", bar)


def _cpu_ms(script: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", script], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000
