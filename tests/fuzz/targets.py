"""Every target by its name."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from tests.fuzz import chat_completions, corpus, responses
from tests.fuzz.arguments import Arguments, Outputs
from tests.fuzz.bodies import Bodies, Events, Failures
from tests.fuzz.exports import Exports, Forged
from tests.fuzz.rows import Rows
from tests.fuzz.runner import Target
from tests.fuzz.turns import Turns


def _bodies(name: str, more: corpus.Recordings) -> Target:
    api, body, seeds = _BODIES[name]
    recorded = more.of(api, stream=name.endswith("stream"))
    return Bodies(name, body, (*seeds, *recorded))


_BODIES = {
    "stream": ("chat_completions", chat_completions.STREAM, corpus.STREAMS),
    "whole": ("chat_completions", chat_completions.WHOLE, corpus.WHOLES),
    "responses-stream": ("responses", responses.STREAM, responses.STREAMS),
    "responses-whole": ("responses", responses.WHOLE, responses.WHOLES),
}
"""The API, what its bodies are, and what their cases begin with."""

_MADE: dict[str, Callable[[corpus.Recordings], Target]] = {
    **{name: partial(_bodies, name) for name in _BODIES},
    "failure": lambda more: Failures((*corpus.FAILURES, *more.failures)),
    "sse": lambda more: Events((*corpus.STREAMS, *more.of("chat_completions", stream=True))),
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
