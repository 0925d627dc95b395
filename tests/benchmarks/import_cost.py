"""What an import costs above a bare interpreter."""

import resource
import subprocess
import sys
from collections.abc import Iterator

SCRIPTS = {
    "a bare interpreter": "pass",
    "import agent": "import agent",
    "an agent and a session": (
        "from agent import Agent; Agent(provider='openai', model='gpt-4o').session()"
    ),
}
RUNS = 7


def lines() -> Iterator[str]:
    """CPU of whole processes, the least of several."""
    for name, script in SCRIPTS.items():
        yield f"{name}: {min(_cpu_ms(script) for _ in range(RUNS)):.0f} ms CPU"


def _cpu_ms(script: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", script], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000
