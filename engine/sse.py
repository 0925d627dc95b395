"""Server-sent events, parsed from bytes as they come.

Lines are split before they are decoded, so a chunk may end anywhere, inside a character too.
Source of the format: WHATWG HTML, section 9.2.6 "Interpreting an event stream".
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class ServerSentEvent(NamedTuple):
    """One event: its type ("message" if none was named) and its data."""

    event: str
    data: str


class SSEParser:
    """Feed it bytes, take out events."""

    def __init__(self) -> None:
        self._rest = b""
        self._first = True
        self._event = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> Iterator[ServerSentEvent]:
        """The events that this chunk completes."""
        *lines, self._rest = self._split(self._rest + chunk)
        for line in lines:
            event = self._line(line.decode("utf-8", errors="replace"))
            if event is not None:
                yield event

    def finish(self) -> Iterator[ServerSentEvent]:
        """The stream has ended: an event whose empty last line is missing counts all the same."""
        if self._rest:
            yield from self.feed(b"\n")
        event = self._dispatch()
        if event is not None:
            yield event

    def _split(self, buffer: bytes) -> list[bytes]:
        if self._first and len(buffer) >= len(_BOM):
            buffer = buffer.removeprefix(_BOM)
            self._first = False
        if buffer.endswith(b"\r"):
            # It may be the first half of a CRLF whose second half is still to come.
            *lines, last = _LINE_END.split(buffer[:-1])
            return [*lines, last + b"\r"]
        return _LINE_END.split(buffer)

    def _line(self, line: str) -> ServerSentEvent | None:
        if not line:
            return self._dispatch()
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
        elif field == "event":
            self._event = value
        return None

    def _dispatch(self) -> ServerSentEvent | None:
        event, data = self._event or "message", self._data
        self._event, self._data = "", []
        return ServerSentEvent(event, "\n".join(data)) if data else None
