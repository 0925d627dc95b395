"""Every target by its name."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from tests.fuzz import corpus
from tests.fuzz.arguments import Arguments, Outputs
from tests.fuzz.bodies import Bodies, Events, Failures
from tests.fuzz.exports import Exports, Forged
from tests.fuzz.protocols import PROTOCOLS, Protocol
from tests.fuzz.rows import Rows
from tests.fuzz.runner import Target
from tests.fuzz.turns import Turns

Recorded = Callable[[str], corpus.Recordings]
"""The recordings of an API, if there are any."""


def _bodies(name: str, protocol: Protocol, *, stream: bool) -> Callable[[Recorded], Target]:
    def made(recorded: Recorded) -> Target:
        more = recorded(protocol.api)
        seeds = (*protocol.streams, *more.streams) if stream else (*protocol.wholes, *more.wholes)
        return Bodies(name, protocol, seeds, stream=stream)

    return made


def _of_protocols() -> Iterator[tuple[str, Callable[[Recorded], Target]]]:
    for prefix, protocol in PROTOCOLS.items():
        for kind in ("stream", "whole"):
            name = f"{prefix}{kind}"
            yield name, _bodies(name, protocol, stream=kind == "stream")


_MADE: dict[str, Callable[[Recorded], Target]] = {
    **dict(_of_protocols()),
    "failure": lambda more: Failures((*corpus.FAILURES, *more("chat_completions").failures)),
    "sse": lambda more: Events((*corpus.STREAMS, *more("chat_completions").streams)),
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
