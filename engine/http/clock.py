"""The time limits of an exchange: of each silence, and of the whole."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import httpcore
import httpx

from agent.engine.errors import ConnectionFailed, ProviderTimeout
from agent.engine.http import limits

if TYPE_CHECKING:
    from agent.engine.http.exchange import Exchange

_HARDLY_ANY = 0.001

_GLANCE = 0.1
"""Seconds after which a read in a thread looks whether its turn was cancelled."""


class Clock:
    """How long an exchange may take. ``silence`` is what it may wait for one sign of life.

    ``stale`` says that it goes over a connection that was kept, and which may have been closed at
    the other end meanwhile: until a new one is made for it, or the answer begins.
    """

    def __init__(self, exchange: Exchange, silence: float) -> None:
        self._provider = exchange.provider
        silence = min(silence, threading.TIMEOUT_MAX)
        self._longest = max(silence, limits.LONGEST_CALL)
        self._deadline = exchange.deadline
        self._cancelled = exchange.cancelled
        limit = self._longest if self._deadline is None else min(self._deadline, self._longest)
        self._end = time.monotonic() + limit
        self.silence = min(silence, max(limit, _HARDLY_ANY))
        self.timeout = httpx.Timeout(self.silence, connect=min(self.silence, limits.CONNECT_WAIT))
        self.connection: Any = None
        self.stale = True

    @property
    def left(self) -> float:
        """Seconds until the exchange has to end."""
        return self._end - time.monotonic()

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return self.left <= 0

    def check(self) -> None:
        """Raise :class:`ProviderTimeout` when the time is up, or what ends a cancelled call."""
        if self._cancelled():
            raise ConnectionFailed(
                f"{self._provider} was hung up on: the turn was cancelled", provider=self._provider
            )
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

    def start(self) -> None:
        """What is read from here on, in this thread or task, is read for this exchange."""
        _reading.set(self)

    def next(self, chunks: Iterator[bytes]) -> bytes | None:
        """The next piece of a body, None at its end. Raises :class:`ProviderTimeout`."""
        self.start()
        chunk = next(chunks, None)
        self.check()
        return chunk

    async def next_async(self, chunks: AsyncIterator[bytes]) -> bytes | None:
        """The same on an event loop."""
        self.start()
        chunk = await anext(chunks, None)
        self.check()
        return chunk

    def bound(self, timeout: float | None) -> float:
        """The seconds that one read may take. Raises :class:`ProviderTimeout`."""
        self.check()
        left = max(self.left, _HARDLY_ANY)
        return left if timeout is None else min(timeout, left)


_reading: ContextVar[Clock] = ContextVar("reading")

# httpx bounds the silence before each piece, which never ends a server that drips headers. A
# request's ``trace`` is told of each new connection, whose reads are then bounded by the clock.
_CONNECTED = ("connect_tcp.complete", "start_tls.complete")


def on_trace(name: str, info: dict[str, Any]) -> None:
    """Bound the reads of a new connection."""
    if name.endswith(_CONNECTED):
        stream = info["return_value"]
        stream.read = functools.partial(_read, stream.read)
        _reading.get().stale = False


async def on_trace_async(name: str, info: dict[str, Any]) -> None:
    """Bound the reads of a new connection of an event loop."""
    clock = _reading.get()
    if name.endswith(_CONNECTED):
        clock.connection = stream = info["return_value"]
        stream.read = functools.partial(_read_async, stream.read)
        clock.stale = False
    elif name.endswith("start_tls.failed"):
        # httpcore leaves the socket of a cancelled handshake to the event loop, which keeps it.
        await clock.connection.aclose()


def _read(
    read: Callable[[int, float], bytes], max_bytes: int, timeout: float | None = None
) -> bytes:
    clock = _reading.get()
    while (bound := clock.bound(timeout)) > _GLANCE:
        try:
            return read(max_bytes, _GLANCE)
        except httpcore.ReadTimeout:
            timeout = None if timeout is None else max(timeout - _GLANCE, _HARDLY_ANY)
    return read(max_bytes, bound)


async def _read_async(
    read: Callable[[int, float], Awaitable[bytes]], max_bytes: int, timeout: float | None = None
) -> bytes:
    return await read(max_bytes, _reading.get().bound(timeout))
