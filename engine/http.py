"""HTTP: the only module that knows httpx.

A provider describes an exchange without I/O; this module carries it out, sync or async, and turns
what can go wrong on the way into :class:`~agent.engine.errors.ProviderError`.
"""

from __future__ import annotations

import asyncio
import functools
import os
import socket
import sys
import threading
import time
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

from agent.engine.errors import (
    ConnectionFailed,
    MalformedResponse,
    ProviderError,
    ProviderTimeout,
)

if TYPE_CHECKING:
    import ssl

    import httpx

    from agent.engine.provider import Answer, Delta

_CONNECT_TIMEOUT = 10.0
_CONNECTIONS = 1000
_KEPT_CONNECTIONS = 100
_SHORTEST_SECRET = 4


class Parser(Protocol):
    """Makes sense of a response body, piece by piece. Each step raises :class:`ProviderError`."""

    def feed(self, chunk: bytes) -> Iterator[Delta]:
        """Take bytes; gives what they add to the answer."""
        ...

    def finish(self) -> Iterator[Delta]:
        """The body has ended; gives what that adds to the answer."""
        ...

    def answer(self) -> Answer:
        """The whole answer."""
        ...


class FailureReader(Protocol):
    """Turns an error response into an error."""

    def __call__(self, status: int, headers: Mapping[str, str], body: bytes, /) -> ProviderError:
        """The error that a status stands for."""
        ...


class Exchange(msgspec.Struct, frozen=True):
    """One POST: what is sent, how the answer is read, what an error status means.

    ``deadline`` bounds the whole of it, in seconds. ``secret`` is never shown in an error, even
    when the server repeats it.
    """

    provider: str
    url: str
    headers: dict[str, str]
    body: bytes
    parser: Parser
    failure: FailureReader
    deadline: float | None = None
    secret: str = ""


class HTTPTransport:
    """Connections to one server, shared by threads, kept apart by process and event loop.

    ``timeout`` (seconds) bounds the silence between two pieces of an answer.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._begin()
        _transports.add(self)

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None
        self._closing: weakref.finalize[..., Any] | None = None
        self._kept: dict[asyncio.AbstractEventLoop, _Kept] = {}

    def send(self, exchange: Exchange) -> Iterator[Delta | Answer]:
        """Carry out an exchange."""
        clock = _Clock(exchange, self._timeout)
        with _translated(exchange, clock):
            with (
                self._sync_client().stream(**_request(exchange, clock)) as response,
                clock.watching(response, _in_thread),
            ):
                if not response.is_success:
                    raise _failure(exchange, response, response.read())
                _check_type(exchange, response)
                for chunk in response.iter_bytes():
                    clock.check()
                    yield from exchange.parser.feed(chunk)
                clock.check()
            yield from exchange.parser.finish()
            yield exchange.parser.answer()

    async def send_async(self, exchange: Exchange) -> AsyncIterator[Delta | Answer]:
        """Carry out an exchange without blocking the event loop.

        To be read in one task, whose cancellation ends it: an async generator that is dropped
        half way gives its connection back only when the event loop comes to it.
        """
        clock = _Clock(exchange, self._timeout)
        client = await self._async_client()
        with _translated(exchange, clock):
            async with client.stream(**_request(exchange, clock)) as response:
                with clock.watching(response, asyncio.get_running_loop().call_later):
                    if not response.is_success:
                        raise _failure(exchange, response, await response.aread())
                    _check_type(exchange, response)
                    async for chunk in response.aiter_bytes():
                        clock.check()
                        for delta in exchange.parser.feed(chunk):
                            yield delta
                    clock.check()
            for delta in exchange.parser.finish():
                yield delta
            yield exchange.parser.answer()

    def _sync_client(self) -> httpx.Client:
        import httpx  # noqa: PLC0415 - slow to import

        with self._lock:
            if self._client is None:
                self._client = httpx.Client(verify=_tls(), limits=_limits())
                self._closing = weakref.finalize(self, self._client.close)
            return self._client

    async def _async_client(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        if not _tls.cache_info().currsize:
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
        _inherited.append((self._client, self._kept))
        self._begin()


_transports: weakref.WeakSet[HTTPTransport] = weakref.WeakSet()
_inherited: list[object] = []
"""What came from a parent process, kept alive because closing it could wait for ever."""


def _after_fork() -> None:
    for transport in list(_transports):
        transport.after_fork()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_after_fork)


class _Kept(NamedTuple):
    """The client of an event loop, and what closes it.

    An event loop closes the async generators that were started on it when it ends: the one end of
    a loop's life that a library gets to see.
    """

    client: httpx.AsyncClient
    guard: AsyncGenerator[None, None]


def _keep() -> _Kept:
    import httpx  # noqa: PLC0415 - slow to import

    client = httpx.AsyncClient(verify=_tls(), limits=_limits())
    return _Kept(client, _closing_at_the_end(client))


async def _closing_at_the_end(client: httpx.AsyncClient) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await client.aclose()


@functools.cache
def _tls() -> ssl.SSLContext:
    """Made once: loading the certificates takes longer than all else about a client."""
    import httpx  # noqa: PLC0415 - slow to import

    return httpx.create_ssl_context()


def _limits() -> httpx.Limits:
    import httpx  # noqa: PLC0415 - slow to import

    return httpx.Limits(max_connections=_CONNECTIONS, max_keepalive_connections=_KEPT_CONNECTIONS)


def _request(exchange: Exchange, clock: _Clock) -> dict[str, Any]:
    return {
        "method": "POST",
        "url": exchange.url,
        "headers": exchange.headers,
        "content": exchange.body,
        "timeout": clock.timeout,
    }


def _failure(exchange: Exchange, response: httpx.Response, body: bytes) -> ProviderError:
    if response.is_error:
        return exchange.failure(response.status_code, response.headers, body)
    to = response.headers.get("location", "nowhere")
    return ConnectionFailed(
        f"{exchange.provider} redirects to {to}, where the key is not sent: correct base_url",
        provider=exchange.provider,
        status=response.status_code,
    )


def _check_type(exchange: Exchange, response: httpx.Response) -> None:
    found = response.headers.get("content-type", "")
    if found.startswith("text/html"):
        raise MalformedResponse(
            f"{exchange.provider} answered with a web page ({found}): check base_url",
            provider=exchange.provider,
            status=response.status_code,
        )


# Time


class _Cancellable(Protocol):
    def cancel(self) -> object: ...


class _Clock:
    """The time limits of an exchange: of each silence, and of the whole."""

    def __init__(self, exchange: Exchange, silence: float) -> None:
        import httpx  # noqa: PLC0415 - slow to import

        self._provider = exchange.provider
        limit = exchange.deadline
        self._end = None if limit is None else time.monotonic() + limit
        self.silence = silence if limit is None else min(silence, max(limit, 0.001))
        self.timeout = httpx.Timeout(self.silence, connect=min(self.silence, _CONNECT_TIMEOUT))

    @property
    def over(self) -> bool:
        """Whether the deadline has passed."""
        return self._end is not None and time.monotonic() >= self._end

    def check(self) -> None:
        """Raise :class:`ProviderTimeout` past the deadline."""
        if self.over:
            raise self.late()

    def late(self) -> ProviderTimeout:
        """The error for the deadline."""
        return ProviderTimeout(
            f"{self._provider} had not answered at the turn's deadline; raise deadline=... to wait",
            provider=self._provider,
        )

    @contextmanager
    def watching(
        self,
        response: httpx.Response,
        later: Callable[[float, Callable[[], object]], _Cancellable],
    ) -> Generator[None]:
        """Hang up at the deadline: a server that drips would never be silent for long enough."""
        if self._end is None:
            yield
            return
        stream = response.extensions["network_stream"]
        hang_up = functools.partial(_hang_up, stream.get_extra_info("socket"))
        watch = later(max(self._end - time.monotonic(), 0), hang_up)
        try:
            yield
        finally:
            watch.cancel()


def _in_thread(seconds: float, function: Callable[[], object]) -> threading.Timer:
    timer = threading.Timer(seconds, function)
    timer.daemon = True
    timer.start()
    return timer


def _hang_up(connection: socket.socket) -> None:
    """End a connection that another thread may be reading; a duplicate knows nothing of TLS."""
    try:
        with socket.socket(fileno=os.dup(connection.fileno())) as duplicate:
            duplicate.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


# Errors


@contextmanager
def _translated(exchange: Exchange, clock: _Clock) -> Generator[None]:
    import httpx  # noqa: PLC0415 - slow to import

    provider = exchange.provider
    try:
        yield
    except ProviderError as error:
        _hide(exchange.secret, error)
        raise
    except httpx.HTTPError as error:
        raise (clock.late() if clock.over else _network_error(error, exchange, clock)) from error
    except httpx.InvalidURL as error:
        raise ConnectionFailed(f"check base_url: {error}", provider=provider) from error


def _network_error(error: httpx.HTTPError, exchange: Exchange, clock: _Clock) -> ProviderError:
    import httpx  # noqa: PLC0415 - slow to import

    provider, retryable = exchange.provider, True
    cls: type[ProviderError] = ConnectionFailed
    match error:
        case httpx.ConnectTimeout():
            cls, words = ProviderTimeout, "could not be reached in time; check base_url and network"
        case httpx.PoolTimeout():
            cls, words = ProviderTimeout, f"has {_CONNECTIONS} calls under way; make fewer at once"
        case httpx.TimeoutException():
            words = f"said nothing for {clock.silence:g} s; raise timeout=... to wait longer"
            cls = ProviderTimeout
        case httpx.UnsupportedProtocol() | httpx.LocalProtocolError():
            retryable, words = False, "cannot be sent this request; check base_url and api_key"
        case httpx.DecodingError():
            cls, words = MalformedResponse, f"sent an answer that does not decode: {error}"
        case httpx.ConnectError():
            words = f"could not be reached; check base_url and network: {error}"
        case _:
            words = f"broke the connection: {str(error) or type(error).__name__}"
    return cls(f"{provider} {words}", provider=provider, retryable=retryable)


def _hide(secret: str, error: ProviderError) -> None:
    """Take a key out of an error: servers repeat what they were sent."""
    if len(secret) < _SHORTEST_SECRET:
        return
    error.args = tuple(str(said).replace(secret, "[key]") for said in error.args)
    for name in ("code", "type", "request_id"):
        value = getattr(error, name)
        setattr(error, name, value and value.replace(secret, "[key]"))
