"""Targets that read what a server sends: streams, whole answers, errors, bare events."""

import zlib
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import NamedTuple

from agent.engine.errors import ProviderError
from agent.engine.failures import failure_of
from agent.engine.http.exchange import Parser
from agent.engine.provider import Answer, Delta, ReasoningDelta, TextDelta
from agent.engine.providers.failures import Asked, read_failure
from agent.engine.sse import SSEParser
from agent.eventstore.codec import CODEC
from agent.eventstore.events import ModelFailed, ModelResponded
from agent.eventstore.messages import Message, ReasoningPart
from tests.engine.providers.reading import cut
from tests.fuzz.mutators import cut as cut_off
from tests.fuzz.mutators import mutate
from tests.fuzz.runner import Target

ASKED = Asked("openai", "m", "https://example.com/v1", "KEY")


class Body(NamedTuple):
    """The body of an API, whole or streamed: how it is read, and how its message goes back.

    ``items`` are what the message becomes in the next request, decoded; ``strict_text`` is the text
    of a body that keeps to the protocol, None for any other. ``seeds`` are bodies to begin with,
    ``calling`` is how the API says that there are calls, "" where it does not.
    """

    parser: Callable[[], Parser]
    items: Callable[[Message], object]
    seeds: tuple[bytes, ...]
    strict_text: Callable[[bytes], str | None] = lambda _: None
    calling: str = ""


class Outcome(NamedTuple):
    """What a parser made of a body: its deltas, joined, and an answer or an error."""

    text: str
    reasoning: str
    end: Answer | ProviderError

    @property
    def told(self) -> object:
        """All that a caller can see of it; an error by its class and words."""
        end = self.end
        return (*self[:2], end if isinstance(end, Answer) else (type(end), str(end)))


def pieces(body: bytes) -> list[bytes]:
    """The body in pieces; where it is cut depends on nothing but the body."""
    rng = Random(zlib.crc32(body))
    return cut(body, [rng.randint(0, len(body)) for _ in range(rng.choice((1, 3, 40)))])


def read(parser: Parser, chunks: Sequence[bytes]) -> Outcome:
    """Run a parser to its end."""
    deltas: list[Delta] = []
    end: Answer | ProviderError
    try:
        for piece in chunks:
            deltas.extend(parser.feed(piece))
        deltas.extend(parser.finish())
        end = parser.answer()
    except ProviderError as error:
        end = error
    text = "".join(delta.text for delta in deltas if isinstance(delta, TextDelta))
    reasoning = "".join(delta.text for delta in deltas if isinstance(delta, ReasoningDelta))
    return Outcome(text, reasoning, end)


def check_storable(end: Answer | ProviderError) -> None:
    """An answer, or an error, has to fit into the log."""
    if isinstance(end, ProviderError):
        CODEC.encode(ModelFailed(error=failure_of(end), elapsed=0.0))
        return
    CODEC.encode(
        ModelResponded(
            message=end.message,
            finish_reason=end.finish_reason,
            raw_finish_reason=end.raw_finish_reason,
            usage=end.usage,
            model=end.model,
            response_id=end.response_id,
            elapsed=0.0,
        )
    )


def check_sense(outcome: Outcome, calling: str) -> None:
    """The deltas are the answer, and calls decide what kind of answer it is."""
    end = outcome.end
    if not isinstance(end, Answer):
        return
    message = end.message
    assert message.text == outcome.text
    assert _reasoning(message) == outcome.reasoning
    assert not message.tool_calls or end.finish_reason == "tool_calls"
    assert all(part.name for part in message.tool_calls)
    lost = bool(calling) and end.raw_finish_reason == calling
    assert message.parts or not lost, "calls were lost silently"


def _reasoning(message: Message) -> str:
    return "".join(part.text for part in message.parts if isinstance(part, ReasoningPart))


class Bodies(Target):
    """An answer's body through a parser.

    However it is cut into pieces, the outcome is the same: an answer that the log can store and the
    next request can say, or a :class:`ProviderError`. One that breaks off is no other answer.
    """

    def __init__(self, name: str, body: Body, seeds: Sequence[bytes]) -> None:
        self.name = name
        self.seeds = seeds
        self._body = body

    def _parser(self) -> Parser:
        return self._body.parser()

    def make(self, rng: Random) -> bytes:
        """A seed that is changed; one in eight is only cut."""
        if rng.random() < 0.125:
            return cut_off(rng, rng.choice(self.seeds), ())
        return mutate(rng, self.seeds)

    def check(self, body: bytes) -> str:
        """Read it whole and in pieces."""
        outcome = read(self._parser(), [body])
        assert read(self._parser(), pieces(body)).told == outcome.told
        check_storable(outcome.end)
        check_sense(outcome, self._body.calling)
        self._check_said_again(outcome.end)
        self._check_cut(body, outcome.end)
        said = self._body.strict_text(body)
        if said is not None and isinstance(outcome.end, Answer):
            assert said == outcome.text
        return type(outcome.end).__name__

    def _check_said_again(self, end: Answer | ProviderError) -> None:
        """An answer has to fit into the next request."""
        if isinstance(end, Answer):
            self._body.items(end.message)

    def _check_cut(self, body: bytes, end: Answer | ProviderError) -> None:
        """A beginning that passes for an answer says what the whole says.

        Servers that send an error after the finish reason are not caught here: others end there.
        """
        if not isinstance(end, Answer):
            return
        for seed in self.seeds:
            if seed.startswith(body) and seed != body:
                whole = read(self._parser(), [seed]).end
                if isinstance(whole, Answer):
                    assert end.message == whole.message
                    assert end.raw_finish_reason == whole.raw_finish_reason


def events_of(body: bytes) -> Iterator[tuple[str, str]]:
    """Type and data of the events of a stream, read the slow and simple way."""
    lines = body.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    kind, data = "", []
    for line in [*lines.split(b"\n"), b""]:
        text = line.decode(errors="replace")
        field, _, value = text.partition(":")
        value = value.removeprefix(" ")
        if not text:
            if data:
                yield kind or "message", "\n".join(data)
            kind, data = "", []
        elif field == "data":
            data.append(value)
        elif field == "event":
            kind = value


class Failures(Target):
    """A status with headers and a body through the reader of errors.

    The outcome is a :class:`ProviderError` of bounded length that the log can store.
    """

    name = "failure"

    def __init__(self, seeds: Sequence[bytes]) -> None:
        self.seeds = seeds

    def make(self, rng: Random) -> bytes:
        """A status line with a header, then the body."""
        return mutate(rng, self.seeds)

    def check(self, body: bytes) -> str:
        """Read it."""
        line, _, rest = body.partition(b"\n")
        status, _, header = line.decode("latin-1").partition(" ")
        name, _, value = header.partition(":")
        number = int(status) if status.isascii() and status.isdecimal() and len(status) < 9 else 400
        error = read_failure(ASKED, number, {name: value.strip()}, rest)
        assert isinstance(error, ProviderError)
        assert len(str(error)) < 2000
        assert error.retry_after is None or 0 <= error.retry_after < float("inf")
        check_storable(error)
        return type(error).__name__


class Events(Target):
    """Bare bytes through the parser of server-sent events.

    However they are cut, the events are those that a slow and simple reader finds.
    """

    name = "sse"

    def __init__(self, seeds: Sequence[bytes]) -> None:
        self.seeds = seeds

    def make(self, rng: Random) -> bytes:
        """A stream that is changed."""
        return mutate(rng, self.seeds)

    def check(self, body: bytes) -> str:
        """Read it in pieces and compare."""
        parser = SSEParser()
        found = [event for piece in pieces(body) for event in parser.feed(piece)]
        found += parser.finish()
        assert [tuple(event) for event in found] == list(events_of(body))
        return f"{min(len(found), 9)} events"
