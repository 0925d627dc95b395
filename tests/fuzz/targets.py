"""Every target by its name."""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

from tests.fuzz import chat_completions, corpus, generate_content, messages, ollama_chat, responses
from tests.fuzz.arguments import Arguments, Outputs
from tests.fuzz.bodies import Bodies, Body, Events, Failures
from tests.fuzz.exports import Exports, Forged
from tests.fuzz.lines import Lines
from tests.fuzz.rows import Rows
from tests.fuzz.runner import Target
from tests.fuzz.turns import Turns


def _bodies(name: str, api: str, body: Body, more: corpus.Recordings) -> Target:
    recorded = more.of(api, stream=name.endswith("stream"))
    return Bodies(name, body, (*body.seeds, *recorded))


_PROTOCOLS = {
    "": ("chat_completions", chat_completions.STREAM, chat_completions.WHOLE),
    "responses-": ("responses", responses.STREAM, responses.WHOLE),
    "messages-": ("messages", messages.STREAM, messages.WHOLE),
    "gemini-": ("generate_content", generate_content.STREAM, generate_content.WHOLE),
    "ollama-": ("ollama_chat", ollama_chat.STREAM, ollama_chat.WHOLE),
}
"""The API and its bodies, by what the names of their targets begin with."""

_MADE: dict[str, Callable[[corpus.Recordings], Target]] = {
    **{
        f"{prefix}{kind}": partial(_bodies, f"{prefix}{kind}", api, body)
        for prefix, (api, stream, whole) in _PROTOCOLS.items()
        for kind, body in (("stream", stream), ("whole", whole))
    },
    "failure": lambda more: Failures((*corpus.FAILURES, *more.failures)),
    "sse": lambda more: Events((*corpus.STREAMS, *more.of("chat_completions", stream=True))),
    "arguments": lambda _: Arguments(),
    "output": lambda _: Outputs(),
    "export": lambda _: Exports(),
    "forged": lambda _: Forged(),
    "lines": lambda _: Lines(),
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
