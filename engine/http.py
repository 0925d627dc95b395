"""HTTP: the only module that knows httpx.

A provider describes an exchange without I/O; this module carries it out, sync or async, and turns
what can go wrong on the way into :class:`~agent.engine.errors.ProviderError`.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import msgspec

from agent.engine.errors import ConnectionFailed, MalformedResponse, ProviderTimeout

if TYPE_CHECKING:
    import httpx

    from agent.engine.errors import ProviderError
    from agent.engine.provider import Answer, Delta

_CONNECT_TIMEOUT = 10.0


class Parser(Protocol):
    """Makes sense of a response body, piece by piece."""

    def feed(self, chunk: bytes) -> Iterator[Delta]:
        """Take bytes; gives what they add to the answer."""
        ...

    def answer(self) -> Answer:
        """The body has ended. Raises :class:`ProviderError` if it is no whole answer."""
        ...


class FailureReader(Protocol):
    """Turns an error response into an error."""

    def __call__(self, status: int, headers: Mapping[str, str], body: bytes, /) -> ProviderError:
        """The error that a status stands for."""
        ...


class Exchange(msgspec.Struct, frozen=True):
    """One POST: what is sent, how the answer is read, what an error status means.

    ``deadline`` bounds the whole of it, in seconds.
    """

    provider: str
    url: str
    headers: dict[str, str]
    body: bytes
    parser: Parser
    failure: FailureReader
    deadline: float | None = None


class HTTPTransport:
    """Connections to one server, shared by threads, kept apart by process and event loop.

    ``timeout`` (seconds) bounds the silence between two pieces of an answer.
    """

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._client: httpx.Client | None = None
        self._close_client: Callable[[], object] = bool
        self._keepers: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Keeper] = (
            weakref.WeakKeyDictionary()
        )

    def send(self, exchange: Exchange) -> Iterator[Delta | Answer]:
        """Carry out an exchange."""
        clock = _Clock(exchange, self._timeout)
        with (
            _translated(exchange.provider),
            self._sync_client().stream(
                "POST",
                exchange.url,
                content=exchange.body,
                headers=exchange.headers,
                timeout=clock.timeout,
            ) as response,
        ):
            if response.is_error:
                raise exchange.failure(response.status_code, response.headers, response.read())
            for chunk in response.iter_bytes():
                yield from exchange.parser.feed(chunk)
                clock.check()
        yield exchange.parser.answer()

    async def send_async(self, exchange: Exchange) -> AsyncIterator[Delta | Answer]:
        """Carry out an exchange without blocking the event loop."""
        clock = _Clock(exchange, self._timeout)
        client = await self._async_client()
        with _translated(exchange.provider):
            async with client.stream(
                "POST",
                exchange.url,
                content=exchange.body,
                headers=exchange.headers,
                timeout=clock.timeout,
            ) as response:
                if response.is_error:
                    body = await response.aread()
                    raise exchange.failure(response.status_code, response.headers, body)
                async for chunk in response.aiter_bytes():
                    for delta in exchange.parser.feed(chunk):
                        yield delta
                    clock.check()
        yield exchange.parser.answer()

    def _sync_client(self) -> httpx.Client:
        import httpx  # noqa: PLC0415 - slow to import

        with self._lock:
            if self._process != os.getpid():
                _inherited.append(self._client)
                self._process, self._client = os.getpid(), None
            if self._client is None:
                self._client = httpx.Client()
                self._close_client = weakref.finalize(self, self._client.close)
            return self._client

    async def _async_client(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        keeper = self._keepers.get(loop)
        if keeper is None:
            keeper = self._keepers[loop] = _Keeper()
            await keeper.open()
        return keeper.client

    def close(self) -> None:
        """Close the connections of sync calls; those of an event loop close with it."""
        with self._lock:
            self._close_client()
            self._client = None

    async def aclose(self) -> None:
        """Close the connections of this event loop, and those of sync calls."""
        keeper = self._keepers.pop(asyncio.get_running_loop(), None)
        if keeper is not None:
            await keeper.close()
        self.close()


_inherited: list[object] = []
"""Clients of a parent process, kept alive: closing them would end the parent's connections."""


class _Keeper:
    """An async client that is closed when its event loop ends, or when nobody wants it any more.

    An event loop closes the async generators that were started on it: the one end of a loop's
    life that a library gets to see.
    """

    def __init__(self) -> None:
        import httpx  # noqa: PLC0415 - slow to import

        self.client = httpx.AsyncClient()
        self._guard = _closing_at_the_end(self.client)

    async def open(self) -> None:
        await anext(self._guard)

    async def close(self) -> None:
        await self._guard.aclose()


async def _closing_at_the_end(client: httpx.AsyncClient) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await client.aclose()


class _Clock:
    """The time limits of an exchange."""

    def __init__(self, exchange: Exchange, silence: float) -> None:
        import httpx  # noqa: PLC0415 - slow to import

        self._provider = exchange.provider
        limit = exchange.deadline
        self._end = None if limit is None else time.monotonic() + limit
        silence = silence if limit is None else min(silence, limit)
        self.timeout = httpx.Timeout(silence, connect=min(silence, _CONNECT_TIMEOUT))

    def check(self) -> None:
        """Raise :class:`ProviderTimeout` past the deadline."""
        if self._end is not None and time.monotonic() > self._end:
            raise ProviderTimeout(
                f"{self._provider} was still answering at the turn's deadline",
                provider=self._provider,
            )


@contextmanager
def _translated(provider: str) -> Generator[None]:
    import httpx  # noqa: PLC0415 - slow to import

    try:
        yield
    except httpx.TimeoutException as error:
        words = f"{provider} did not answer in time ({type(error).__name__})"
        raise ProviderTimeout(words, provider=provider, retryable=True) from error
    except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise ConnectionFailed(f"check base_url: {error}", provider=provider) from error
    except httpx.DecodingError as error:
        words = f"the answer of {provider} does not decode: {error}"
        raise MalformedResponse(words, provider=provider, retryable=True) from error
    except httpx.RequestError as error:
        words = f"no connection to {provider}: {error or type(error).__name__}"
        raise ConnectionFailed(words, provider=provider, retryable=True) from error
