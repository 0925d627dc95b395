"""Every target by its name."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

from tests.fuzz import corpus
from tests.fuzz.arguments import Arguments, Outputs
from tests.fuzz.bodies import Bodies, Events, Failures
from tests.fuzz.exports import Exports, Forged
from tests.fuzz.rows import Rows
from tests.fuzz.runner import Target
from tests.fuzz.turns import Turns

_MADE: dict[str, Callable[[corpus.Recordings], Target]] = {
    "stream": lambda more: Bodies("stream", (*corpus.STREAMS, *more.streams)),
    "whole": lambda more: Bodies("whole", (*corpus.WHOLES, *more.wholes)),
    "failure": lambda more: Failures((*corpus.FAILURES, *more.failures)),
    "sse": lambda more: Events((*corpus.STREAMS, *more.streams)),
    "arguments": lambda _: Arguments(),
    "output": lambda _: Outputs(),
    "export": lambda _: Exports(),
    "forged": lambda _: Forged(),
    "rows": lambda _: Rows(),
    "turn": lambda _: Turns(),
}
NAMES = tuple(_MADE)

SLOW = {"rows": 20, "turn": 10}
"""Targets of which one in so many cases is tried."""


@cache
def target(name: str, recorded: Path | None = None) -> Target:
    """A target, made once in a process. Bodies begin with recordings too, if there are any."""
    more = corpus.recordings(recorded) if recorded else corpus.Recordings()
    return _MADE[name](more)
