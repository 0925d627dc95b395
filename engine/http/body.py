"""The body of an answer, unpacked and bounded: no server decides how much memory it takes."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from agent.engine.errors import MalformedResponse
from agent.engine.http import limits

if TYPE_CHECKING:
    import httpx

    from agent.engine.http.exchange import Exchange

ACCEPTED = "gzip"
"""The one encoding that is asked for: it can be unpacked piece by piece."""

_PIECE = 2**20
_GZIP = 16 + zlib.MAX_WBITS


class Body:
    """Takes a body as it comes off the wire, gives what it says."""

    def __init__(self, exchange: Exchange, response: httpx.Response) -> None:
        self._provider = exchange.provider
        self._encoding = response.headers.get("content-encoding", "").strip().lower()
        self._gzip = zlib.decompressobj(_GZIP)
        self._sent = 0
        self._unpacked = 0

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """What a chunk says. Raises :class:`MalformedResponse` for what is too long or packed."""
        self._sent += len(chunk)
        for piece in self._unpack(chunk):
            self._unpacked += len(piece)
            if max(self._sent, self._unpacked) > limits.LONGEST_ANSWER:
                raise self._malformed(
                    f"sent more than {limits.LONGEST_ANSWER >> 20} MiB for one answer; "
                    "lower max_tokens, or check base_url"
                )
            yield piece

    def _unpack(self, chunk: bytes) -> Iterator[bytes]:
        match self._encoding:
            case "" | "identity":
                yield chunk
            case "gzip" | "x-gzip":
                yield from self._gunzip(chunk)
            case other:
                raise self._malformed(
                    f"sent an answer packed as {other!r}, which was not asked for; "
                    "check base_url and what stands between"
                )

    def _gunzip(self, chunk: bytes) -> Iterator[bytes]:
        if self._gzip.eof:
            yield b""
            return
        while chunk:
            try:
                piece = self._gzip.decompress(chunk, _PIECE)
            except zlib.error as error:
                raise self._malformed(
                    f"sent an answer that does not decode: {error}; try again", retryable=True
                ) from error
            yield piece
            chunk = self._gzip.unconsumed_tail

    def _malformed(self, words: str, *, retryable: bool = False) -> MalformedResponse:
        provider = self._provider
        return MalformedResponse(f"{provider} {words}", provider=provider, retryable=retryable)
