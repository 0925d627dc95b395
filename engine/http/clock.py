"""The time limits of an exchange: of each silence, and of the whole."""

from __future__ import annotations

import asyncio
import functools
import os
import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from agent.engine.errors import ProviderTimeout

if TYPE_CHECKING:
    import httpx

    from agent.engine.http.exchange import Exchange

LONGEST_CALL = 3600.0
"""A call ends after so many seconds although its answer still drips, or after ``timeout`` if that
is more."""

_CONNECT_TIMEOUT = 10.0
_HARDLY_ANY = 0.001
_calling = threading.local()


class Clock:
    """How long an exchange may take. ``silence`` is what it may wait for one sign of life."""

    def __init__(self, exchange: Exchange, silence: float) -> None:
        import httpx  # noqa: PLC0415 - slow to import

        self._provider = exchange.provider
        self._longest = max(silence, LONGEST_CALL)
        self._deadline = exchange.deadline
        limit = self._longest if self._deadline is None else min(self._deadline, self._longest)
        self._end = time.monotonic() + limit
        self.silence = min(silence, max(limit, _HARDLY_ANY))
        self.timeout = httpx.Timeout(self.silence, connect=min(self.silence, _CONNECT_TIMEOUT))

    @property
    def left(self) -> float:
        """Seconds until the exchange has to end."""
        return self._end - time.monotonic()

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return self.left <= 0

    def check(self) -> None:
        """Raise :class:`ProviderTimeout` when the time is up."""
        if self.over:
            raise self.late()

    def late(self) -> ProviderTimeout:
        """The error for that."""
        provider = self._provider
        if self._deadline is not None and self._deadline <= self._longest:
            words = "had not answered at the turn's deadline; raise deadline=... to wait"
        else:
            words = f"had not finished after {self._longest:g} s; raise timeout=... above to wait"
        return ProviderTimeout(f"{provider} {words}", provider=provider)

    def shorten(self, seconds: float) -> None:
        """Leave no more than some seconds."""
        self._end = min(self._end, time.monotonic() + seconds)

    # Sync: each read of the network takes no more than what is left

    def start(self) -> None:
        """What this thread reads from now on belongs to this exchange."""
        _calling.clock = self

    def bounding(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The chunks of a body, up to the end of the time."""
        while True:
            self.start()
            chunk = next(chunks, None)
            if chunk is None:
                return
            self.check()
            yield chunk

    # Async: a watch on the event loop

    @contextmanager
    def watching(self, response: httpx.Response) -> Generator[None]:
        """Hang up when the time is up: a server that drips is never silent for long enough."""
        stream = response.extensions["network_stream"]
        hang_up = functools.partial(_hang_up, stream.get_extra_info("socket"))
        watch = asyncio.get_running_loop().call_later(max(self.left, 0), hang_up)
        try:
            yield
        finally:
            watch.cancel()


def on_trace(name: str, info: dict[str, Any]) -> None:
    """Bound the reads of a new connection. httpx tells a request's ``trace`` of it.

    httpx bounds only the silence before each piece, which never ends a server that drips headers.
    """
    if name.endswith(("connect_tcp.complete", "start_tls.complete")):
        stream = info["return_value"]
        stream.read = functools.partial(_read, stream.read)


def _read(
    read: Callable[[int, float | None], bytes], max_bytes: int, timeout: float | None = None
) -> bytes:
    clock: Clock = _calling.clock
    clock.check()
    left = max(clock.left, _HARDLY_ANY)
    return read(max_bytes, left if timeout is None else min(timeout, left))


def _hang_up(connection: socket.socket) -> None:
    """End a connection that is being read; a duplicate knows nothing of TLS."""
    try:
        with socket.socket(fileno=os.dup(connection.fileno())) as duplicate:
            duplicate.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
