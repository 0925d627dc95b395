"""From the bytes of an answer to what an API makes of the objects in them.

How bytes are split into objects is the same everywhere: one JSON value, server-sent events, or a
line for each object. What the objects mean is the :class:`Reading` of an API.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, cast

from agent.engine.errors import MalformedResponse
from agent.engine.providers.wire import Object, an_object, decoded, malformed
from agent.engine.sse import ServerSentEvent, SSEParser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.engine.provider import Answer, Delta
    from agent.engine.providers.origin import Origin

MOST_CALLS = 1000
"""An answer with more calls is no answer: each would be run."""

MOST_PARTS = 10_000
"""An answer with more parts that cannot be joined is no answer."""

_END = "[DONE]"
_SHOWN = 80


class Reading(ABC):
    """What an API makes of the objects of one answer. Each step raises :class:`ProviderError`.

    ``began`` says whether any of the answer has come, ``complete`` whether a body may end here,
    ``ended`` whether the answer is over, whatever may follow; ``called`` how many tool calls have
    come.
    """

    lists = False
    """Whether a whole body may be a list of what a stream's events hold."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.began = False
        self.complete = False
        self.ended = False
        self.called = 0

    @property
    def provider(self) -> str:
        """Whose answer it is, for errors."""
        return self.origin.provider

    @abstractmethod
    def whole(self, body: Object) -> Iterator[Delta]:
        """Take an answer that came in one piece."""

    @abstractmethod
    def event(self, kind: str, data: Object) -> Iterator[Delta]:
        """Take one object of a stream; ``kind`` is its event type, "message" if none was named."""

    @abstractmethod
    def answer(self) -> Answer:
        """The whole answer."""

    def check_parts(self, count: int) -> None:
        """Raise :class:`MalformedResponse` if so many parts are too many."""
        if count > MOST_PARTS:
            raise malformed(self.provider, f"more than {MOST_PARTS} parts")


def _bounded(reading: Reading, deltas: Iterator[Delta]) -> Iterator[Delta]:
    """What an object of the answer gives. Raises :class:`ProviderError`."""
    yield from deltas
    if reading.called > MOST_CALLS:
        raise malformed(reading.provider, f"more than {MOST_CALLS} tool calls")


def _answer(reading: Reading) -> Answer:
    """The answer. Raises :class:`ProviderError`."""
    try:
        return reading.answer()
    except RecursionError as error:
        raise malformed(reading.provider, "it is nested too deep") from error


class WholeParser:
    """Reads an answer that comes in one piece."""

    ended = False

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._body = bytearray()

    def feed(self, chunk: bytes) -> Iterator[Delta]:
        """Take bytes; nothing is known before the end."""
        self._body += chunk
        return iter(())

    def finish(self) -> Iterator[Delta]:
        """The body has ended: all of it is at hand. Raises :class:`ProviderError`."""
        reading = self._reading
        value = decoded(self._body, reading.provider)
        if isinstance(value, list) and reading.lists:
            for item in cast("list[object]", value):
                event = reading.event("message", an_object(item, reading.provider))
                yield from _bounded(reading, event)
        else:
            whole = reading.whole(an_object(cast("object", value), reading.provider))
            yield from _bounded(reading, whole)

    def answer(self) -> Answer:
        """The answer. Raises :class:`ProviderError`."""
        return _answer(self._reading)


class StreamParser(ABC):
    """Reads an answer that comes in objects, or whole from a server that does not stream."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._whole: WholeParser | None = None
        self._start = b""
        self._closed = False

    @property
    def ended(self) -> bool:
        """Whether the answer is over, whatever may follow."""
        return self._closed or self._reading.ended

    @abstractmethod
    def _events(self, chunk: bytes) -> Iterator[ServerSentEvent]:
        """The objects that a chunk completes."""

    @abstractmethod
    def _last_events(self) -> Iterator[ServerSentEvent]:
        """An object whose end is missing."""

    @abstractmethod
    def _is_whole(self, start: bytes) -> bool:
        """Whether a body that starts so is no stream."""

    def feed(self, chunk: bytes) -> Iterator[Delta]:
        """Take bytes; gives the deltas that they complete. Raises :class:`ProviderError`."""
        if len(self._start) < _SHOWN:
            started, self._start = bool(self._start), (self._start + chunk).lstrip()[:_SHOWN]
            if not started and self._is_whole(self._start):
                self._whole, chunk = WholeParser(self._reading), chunk.lstrip()
        if self._whole is not None:
            yield from self._whole.feed(chunk)
            return
        for event in self._events(chunk):
            yield from self._take(event)

    def finish(self) -> Iterator[Delta]:
        """The body has ended; gives what that completes. Raises :class:`ProviderError`."""
        if self._whole is not None:
            yield from self._whole.finish()
            return
        if not self.ended:
            for event in self._last_events():
                yield from self._take_last(event)

    def answer(self) -> Answer:
        """The answer. Raises :class:`ProviderError`, also for a stream that was cut."""
        if self._whole is None and not (self.ended or self._reading.complete):
            raise self._cut()
        return _answer(self._reading)

    def _cut(self) -> MalformedResponse:
        provider = self._reading.provider
        if self._reading.began:
            return malformed(provider, "the stream ended in the middle of the answer")
        start = self._start.decode(errors="replace")
        return malformed(provider, f"the stream ended before the answer: {start!r}")

    def _take_last(self, event: ServerSentEvent) -> Iterator[Delta]:
        """An event whose end is missing may itself be cut."""
        try:
            yield from self._take(event)
        except MalformedResponse as error:
            raise self._cut() from error

    def _take(self, event: ServerSentEvent) -> Iterator[Delta]:
        data = event.data
        if self.ended or not data:
            return
        if data.startswith(_END):
            self._closed = True
            return
        provider = self._reading.provider
        item = an_object(decoded(data, provider), provider)
        if event.event == "error" and not item.get("error"):
            item = {"error": item}
        yield from _bounded(self._reading, self._reading.event(event.event, item))


class EventParser(StreamParser):
    """Reads server-sent events."""

    def __init__(self, reading: Reading) -> None:
        super().__init__(reading)
        self._parser = SSEParser()

    def _events(self, chunk: bytes) -> Iterator[ServerSentEvent]:
        return self._parser.feed(chunk)

    def _last_events(self) -> Iterator[ServerSentEvent]:
        return self._parser.finish()

    def _is_whole(self, start: bytes) -> bool:
        return start.startswith((b"{", b"["))  # no line of an event stream begins so


class LineParser(StreamParser):
    """Reads an object a line. A whole answer is a stream of one line."""

    def __init__(self, reading: Reading) -> None:
        super().__init__(reading)
        self._line = bytearray()

    def _events(self, chunk: bytes) -> Iterator[ServerSentEvent]:
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            self._line += piece
            yield from self._last_events()
        self._line += rest

    def _last_events(self) -> Iterator[ServerSentEvent]:
        line = self._line.decode(errors="replace").strip()
        self._line.clear()
        if line:
            yield ServerSentEvent("message", line)

    def _is_whole(self, start: bytes) -> bool:  # noqa: ARG002 - one form for both
        return False
