"""Server-sent events, parsed from bytes as they come.

Lines are split before they are decoded, so a chunk may end anywhere, inside a character too. The
work and the memory grow with the bytes, whatever the size of chunks and lines.
Source of the format: WHATWG HTML, section 9.2.6 "Interpreting an event stream".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_BOM = b"\xef\xbb\xbf"
_LINE_ENDS = (b"\n", b"\r")


class ServerSentEvent(NamedTuple):
    """One event: its type ("message" if none was named) and its data."""

    event: str
    data: str


class SSEParser:
    """Feed it bytes, take out events."""

    def __init__(self) -> None:
        self._line = bytearray()
        self._began = False
        self._after_cr = False
        self._event = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> Iterator[ServerSentEvent]:
        """The events that this chunk completes."""
        for line in self._lines(chunk):
            event = self._take(line.decode("utf-8", errors="replace"))
            if event is not None:
                yield event

    def finish(self) -> Iterator[ServerSentEvent]:
        """The stream has ended: an event whose empty last line is missing counts all the same."""
        if self._line:
            yield from self.feed(b"\n")
        event = self._dispatch()
        if event is not None:
            yield event

    def _lines(self, chunk: bytes) -> list[bytes]:
        """The lines that end in this chunk; the start of the next is kept."""
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
            self._after_cr = False
        if not chunk:
            return []
        self._after_cr = chunk.endswith(b"\r")
        lines = chunk.splitlines()
        rest = None if chunk.endswith(_LINE_ENDS) else lines.pop()
        if lines:
            if self._line:
                lines[0] = bytes(self._line) + lines[0]
                self._line.clear()
            lines[0] = self._begun(lines[0])
        if rest is not None:
            self._line += rest
        return lines

    def _begun(self, line: bytes) -> bytes:
        if self._began:
            return line
        self._began = True
        return line.removeprefix(_BOM)

    def _take(self, line: str) -> ServerSentEvent | None:
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
