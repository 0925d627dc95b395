"""Connections, and the exchanges that are carried out over them."""

from __future__ import annotations

import asyncio
import functools
import threading
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import aclosing, closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import httpx

from agent.engine.errors import ConfigurationError, ProviderError
from agent.engine.http import limits
from agent.engine.http.body import ACCEPTED, Body
from agent.engine.http.clock import Clock, on_trace, on_trace_async
from agent.engine.http.failures import check_type, status_error, translated
from agent.eventstore.processes import leave_to_parent, renewed_in_children

if TYPE_CHECKING:
    import ssl

    from agent.engine.http.exchange import Exchange
    from agent.engine.provider import Answer, Delta

_CONNECTIONS = 1000
_KEPT_CONNECTIONS = 100


class HTTPTransport:
    """Connections to one server, shared by threads, kept apart by process and event loop.

    ``timeout`` (seconds) bounds the silence between two pieces of an answer; the whole of it ends
    after :data:`~agent.engine.http.limits.LONGEST_CALL`.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._begin()
        renewed_in_children(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None
        self._closing: weakref.finalize[..., Any] | None = None
        self._kept: dict[asyncio.AbstractEventLoop, _Kept] = {}

    def send(self, exchange: Exchange) -> Iterator[Delta | Answer]:
        """Carry out an exchange."""
        clock, parser = Clock(exchange, self._timeout), exchange.parser
        with translated(exchange, clock):
            with closing(self._open(exchange, clock)) as response:
                body, chunks = Body(exchange, response), response.iter_raw()
                if not response.is_success:
                    clock.shorten(limits.ERROR_WAIT)
                    raise status_error(exchange, response, _beginning(clock, body, chunks))
                check_type(exchange, response)
                while (chunk := clock.next(chunks)) is not None:
                    for piece in body.pieces(chunk):
                        yield from parser.feed(piece)
                    if parser.ended:
                        clock.shorten(limits.END_WAIT)
                        _beginning(clock, body, chunks)
                        break
            yield from parser.finish()
            yield parser.answer()

    def _open(self, exchange: Exchange, clock: Clock) -> httpx.Response:
        client = self._sync_client()
        request = _request(client, exchange, clock, on_trace)
        clock.start()
        response = client.send(request, stream=True)
        clock.stale = False
        return response

    async def send_async(self, exchange: Exchange) -> AsyncIterator[Delta | Answer]:
        """Carry out an exchange without blocking the event loop.

        To be read in one task, whose cancellation ends it: an async generator that is dropped
        half way gives its connection back only when the event loop comes to it.
        """
        clock, parser = Clock(exchange, self._timeout), exchange.parser
        with translated(exchange, clock):
            async with (
                aclosing(await self._open_async(exchange, clock)) as response,
                aclosing(cast("AsyncGenerator[bytes]", response.aiter_raw())) as chunks,
            ):
                body = Body(exchange, response)
                if not response.is_success:
                    clock.shorten(limits.ERROR_WAIT)
                    beginning = await _beginning_async(clock, body, chunks)
                    raise status_error(exchange, response, beginning)
                check_type(exchange, response)
                while (chunk := await clock.next_async(chunks)) is not None:
                    for piece in body.pieces(chunk):
                        for delta in parser.feed(piece):
                            yield delta
                    if parser.ended:
                        clock.shorten(limits.END_WAIT)
                        await _beginning_async(clock, body, chunks)
                        break
            for delta in parser.finish():
                yield delta
            yield parser.answer()

    async def _open_async(self, exchange: Exchange, clock: Clock) -> httpx.Response:
        client = await self._async_client()
        request = _request(client, exchange, clock, on_trace_async)
        clock.start()
        try:
            response = await client.send(request, stream=True)
        finally:
            clock.connection = None
        clock.stale = False
        return response

    def _sync_client(self) -> httpx.Client:
        with self._lock:
            if self._client is None:
                with _configured():
                    self._client = httpx.Client(verify=_tls(), limits=_limits())
                self._closing = weakref.finalize(self, self._client.close)
            return self._client

    async def _async_client(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        if not _tls.cache_info().currsize:
            with _configured():
                await asyncio.to_thread(_tls)
        kept = self._kept.get(loop)
        if kept is None:
            with self._lock:
                for other in [other for other in self._kept if other.is_closed()]:
                    del self._kept[other]
                kept = self._kept[loop] = _keep()
            await anext(kept.guard)
        return kept.client

    def close(self) -> None:
        """Close the connections of sync calls; those of an event loop close with it."""
        with self._lock:
            if self._closing is not None:
                self._closing()
            self._client = self._closing = None

    async def aclose(self) -> None:
        """Close the connections of this event loop, and those of sync calls."""
        kept = self._kept.pop(asyncio.get_running_loop(), None)
        if kept is not None:
            await kept.guard.aclose()
        self.close()

    def after_fork(self) -> None:
        """Start anew in a child process. The sockets are the parent's: they are left alone."""
        if self._closing is not None:
            self._closing.detach()
        leave_to_parent((self._client, self._kept))
        self._begin()


class _Kept(NamedTuple):
    """The client of an event loop, and what closes it.

    An event loop closes the async generators that were started on it when it ends: the one end of
    a loop's life that a library gets to see.
    """

    client: httpx.AsyncClient
    guard: AsyncGenerator[None, None]


def _keep() -> _Kept:
    with _configured():
        client = httpx.AsyncClient(verify=_tls(), limits=_limits())
    return _Kept(client, _closing_at_the_end(client))


async def _closing_at_the_end(client: httpx.AsyncClient) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await client.aclose()


@contextmanager
def _configured() -> Generator[None]:
    """Raise :class:`ConfigurationError` for what the environment says of proxies and trust."""
    try:
        yield
    except (OSError, ValueError, ImportError, httpx.InvalidURL) as error:
        raise ConfigurationError(
            f"no connection can be made: {error}; check SSL_CERT_FILE, HTTPS_PROXY and its like"
        ) from error


@functools.cache
def _tls() -> ssl.SSLContext:
    """Made once: loading the certificates takes longer than all else about a client."""
    return httpx.create_ssl_context()


def _limits() -> httpx.Limits:
    return httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_KEPT_CONNECTIONS)


def _request(
    client: httpx.Client | httpx.AsyncClient,
    exchange: Exchange,
    clock: Clock,
    trace: Callable[[str, dict[str, Any]], object],
) -> httpx.Request:
    return client.build_request(
        "POST",
        exchange.url,
        headers={"accept-encoding": ACCEPTED, **exchange.headers},
        content=exchange.body,
        timeout=clock.timeout,
        extensions={"trace": trace},
    )


def _beginning(clock: Clock, body: Body, chunks: Iterator[bytes]) -> bytes:
    """What comes of a body before it is too long or too late, however it ends."""
    beginning = bytearray()
    with suppress(httpx.HTTPError, ProviderError):
        while len(beginning) < limits.LONGEST_ERROR and (chunk := clock.next(chunks)) is not None:
            for piece in body.pieces(chunk):
                beginning += piece
    return bytes(beginning[: limits.LONGEST_ERROR])


async def _beginning_async(clock: Clock, body: Body, chunks: AsyncIterator[bytes]) -> bytes:
    """The same on an event loop."""
    beginning = bytearray()
    with suppress(httpx.HTTPError, ProviderError):
        while len(beginning) < limits.LONGEST_ERROR and (
            (chunk := await clock.next_async(chunks)) is not None
        ):
            for piece in body.pieces(chunk):
                beginning += piece
    return bytes(beginning[: limits.LONGEST_ERROR])
