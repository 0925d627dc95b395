"""Every target by its name."""

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from tests.fuzz import corpus
from tests.fuzz.arguments import Arguments, Outputs
from tests.fuzz.bodies import PROTOCOLS, Bodies, Events, Failures
from tests.fuzz.exports import Exports, Forged
from tests.fuzz.rows import Rows
from tests.fuzz.runner import Target
from tests.fuzz.turns import Turns

More = Callable[[str], corpus.Recordings]
"""Gives the recordings of an API."""


def _streams(name: str, api: str, seeds: Sequence[bytes]) -> Callable[[More], Target]:
    return lambda more: Bodies(name, PROTOCOLS[api], (*seeds, *more(api).streams), streamed=True)


def _wholes(name: str, api: str, seeds: Sequence[bytes]) -> Callable[[More], Target]:
    return lambda more: Bodies(name, PROTOCOLS[api], (*seeds, *more(api).wholes), streamed=False)


_CHAT = "chat_completions"
_MADE: dict[str, Callable[[More], Target]] = {
    "stream": _streams("stream", _CHAT, corpus.STREAMS),
    "whole": _wholes("whole", _CHAT, corpus.WHOLES),
    "messages-stream": _streams("messages-stream", "messages", corpus.MESSAGES_STREAMS),
    "messages-whole": _wholes("messages-whole", "messages", corpus.MESSAGES_WHOLES),
    "failure": lambda more: Failures((*corpus.FAILURES, *more(_CHAT).failures)),
    "sse": lambda more: Events((*corpus.STREAMS, *more(_CHAT).streams)),
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

    def more(api: str) -> corpus.Recordings:
        return corpus.recordings(recorded, api) if recorded else corpus.Recordings()

    return _MADE[name](more)
