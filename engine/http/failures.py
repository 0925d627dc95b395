"""What can go wrong on the way, as errors that say what to do and keep the key to themselves."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.request import getproxies

import httpx

from agent.engine.errors import (
    ConnectionFailed,
    MalformedResponse,
    ProviderError,
    ProviderTimeout,
)

if TYPE_CHECKING:
    from agent.engine.http.clock import Clock
    from agent.engine.http.exchange import Exchange

_BROKEN = (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)
"""What a connection that was kept and is closed ends in: the next attempt need not wait for it."""

_SHORTEST_SECRET = 4
_TELLING = 8
_SHOWN = 2000
_SHOWN_WORD = 200


@contextmanager
def translated(exchange: Exchange, clock: Clock) -> Generator[None]:
    """Raise what goes wrong inside as a :class:`ProviderError` that shows no secret."""
    try:
        yield
    except ProviderError as error:
        _tidy(error, exchange.secret)
        raise
    except httpx.HTTPError as error:
        found = clock.late() if clock.over else _network_error(error, exchange, clock)
        found.__cause__ = error
        _tidy(found, exchange.secret)
        raise found  # noqa: B904 - its cause is set, or kept back
    except httpx.InvalidURL as error:
        raise ConnectionFailed(f"check base_url: {error}", provider=exchange.provider) from error


def status_error(exchange: Exchange, response: httpx.Response, body: bytes) -> ProviderError:
    """The error for an answer whose status is not that of success."""
    provider, status = exchange.provider, response.status_code
    if response.is_error:
        return exchange.failure(status, response.headers, body)
    to = response.headers.get("location")
    if to is None:
        words = f"answered with status {status}, which is none of this protocol: check base_url"
        return MalformedResponse(f"{provider} {words}", provider=provider, status=status)
    words = f"redirects to {to[:_SHOWN_WORD]}, where the key is not sent: correct base_url"
    return ConnectionFailed(f"{provider} {words}", provider=provider, status=status)


def check_type(exchange: Exchange, response: httpx.Response) -> None:
    """Raise :class:`MalformedResponse` for a web page."""
    found = response.headers.get("content-type", "")
    if found.startswith("text/html"):
        raise MalformedResponse(
            f"{exchange.provider} answered with a web page ({found[:_SHOWN_WORD]}): check base_url",
            provider=exchange.provider,
            status=response.status_code,
        )


def _network_error(error: httpx.HTTPError, exchange: Exchange, clock: Clock) -> ProviderError:
    provider, retryable = exchange.provider, True
    cls: type[ProviderError] = ConnectionFailed
    match error:
        case httpx.ConnectTimeout():
            cls, words = ProviderTimeout, "could not be reached in time; check base_url and network"
        case httpx.PoolTimeout():
            cls, words = ProviderTimeout, "has too many calls under way; make fewer at once"
        case httpx.TimeoutException():
            words = f"said nothing for {clock.silence:g} s; raise timeout=... to wait longer"
            cls = ProviderTimeout
        case httpx.UnsupportedProtocol() | httpx.LocalProtocolError():
            retryable, words = False, "cannot be sent this request; check base_url and api_key"
        case httpx.ConnectError():
            retryable, words = _unreachable(error)
        case httpx.ProxyError():
            words = f"could not be reached: the proxy said {error}; check HTTPS_PROXY and its like"
        case _:
            words = (
                f"broke the connection: {str(error) or type(error).__name__}; try again, "
                "and check base_url (http or https?) if it stays so"
            )
    at_once = 0.0 if clock.stale and isinstance(error, _BROKEN) else None
    return cls(f"{provider} {words}", provider=provider, retryable=retryable, retry_after=at_once)


def _unreachable(error: httpx.ConnectError) -> tuple[bool, str]:
    """Whether it may be otherwise next time, and the words for it."""
    root = _root(error)
    match root:
        case ssl.SSLCertVerificationError():
            return False, (
                f"has a certificate that is not trusted: {root.verify_message}; check base_url, "
                "or name the file of your own authority in SSL_CERT_FILE"
            )
        case ssl.SSLError() if not isinstance(root, ssl.SSLEOFError):
            return False, f"does not speak TLS here: {root}; check base_url (http or https?)"
        case socket.gaierror():
            return True, f"could not be found: {root}; check the host in base_url, and the network"
        case _:
            proxy = ", and the proxy (HTTPS_PROXY and its like)" if _proxies() else ""
            return True, f"could not be reached; check base_url and network{proxy}: {root}"


def _root(error: BaseException) -> BaseException:
    """The error of the operating system that stands behind one of httpx."""
    while not isinstance(error, OSError) and (behind := error.__cause__ or error.__context__):
        error = behind
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _proxies() -> bool:
    return bool(getproxies().keys() & {"http", "https", "all"})


def _tidy(error: ProviderError, secret: str) -> None:
    """Cut what is endless and take out the key: servers repeat what they were sent."""
    error.args = tuple(_without(secret, str(said))[:_SHOWN] for said in error.args)
    for name in ("code", "type", "request_id"):
        value = getattr(error, name)
        setattr(error, name, value and _without(secret, value)[:_SHOWN_WORD])
    behind = error.__cause__
    while behind is not None:
        if str(behind) != _without(secret, str(behind)):
            error.__cause__, error.__suppress_context__ = None, True
        behind = behind.__cause__ or behind.__context__


def _without(secret: str, text: str) -> str:
    """The text without the key, also where it was cut inside of the key."""
    if len(secret) < _SHORTEST_SECRET:
        return text
    for end in range(len(secret), min(_TELLING, len(secret)) - 1, -1):
        text = text.replace(secret[:end], "[key]")
    return text
