"""What every provider behind HTTP shares: where it is, the key, the connections, the exchange."""

from __future__ import annotations

import functools
import os
from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Generic
from urllib.parse import urlsplit

from agent.engine.errors import ConfigurationError, MissingAPIKey
from agent.engine.http import Exchange
from agent.engine.provider import Provider
from agent.engine.providers.failures import Asked, read_failure
from agent.engine.providers.origin import Origin
from agent.engine.providers.parsers import EventParser, Reading, StreamParser, WholeParser
from agent.engine.providers.vendors import D, Vendor
from agent.eventstore.lazy import cached_property

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from agent.engine.http.exchange import Parser
    from agent.engine.http.transport import HTTPTransport
    from agent.engine.provider import Answer, Delta, ModelRequest, Prompt
    from agent.engine.providers.transcript import Transcript
    from agent.engine.providers.wire import Object


class ServedProvider(Provider, Generic[D]):
    """An API of a vendor: a subclass says how requests are built and what answers mean.

    ``base_url`` and ``api_key`` default to the vendor's variables in the environment. Only the
    vendor's own servers need a key. ``timeout`` (seconds) bounds the silence between two pieces of
    an answer; a whole answer may take an hour, or ``timeout`` if that is more. ``rules`` is the
    version of the encoding, ``streams`` what reads a stream. Raises :class:`ConfigurationError`.
    """

    rules: ClassVar[str] = "1"
    conversation: ClassVar[tuple[str, ...]] = ("messages",)
    """The fields of a body that hold the conversation, that of the messages first."""

    streams: ClassVar[type[StreamParser]] = EventParser

    def __init__(
        self,
        vendor: Vendor[D],
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        timeout: float = 600.0,
    ) -> None:
        self.name, self.api = vendor.name, vendor.api
        self.base_url = self._address(vendor, base_url)
        own = f".{_host(self.base_url)}".endswith(vendor.hosts)
        self._key_variable = vendor.key_variable
        self._api_key = _sendable(api_key or _key_of(vendor, own=own), vendor)
        self._needs_key = own
        self._timeout = timeout
        self.dialect: D = vendor.dialect if own else vendor.elsewhere
        self.encoder = f"{vendor.api}/{self.rules}{self.dialect.name}"

    @cached_property
    def _transport(self) -> HTTPTransport:
        from agent.engine.http.transport import HTTPTransport  # noqa: PLC0415 - slow to import

        return HTTPTransport(self._timeout)

    def _address(self, vendor: Vendor[D], given: str | None) -> str:
        """Where the vendor is. Raises :class:`ConfigurationError` where that has to be said."""
        named = os.environ.get(vendor.url_variable, "").strip()
        url = given or (self.address(named) if named else vendor.base_url)
        url = url.strip().rstrip("/")
        if not url:
            raise ConfigurationError(
                f"{vendor.name} has no address of its own: pass base_url=... or set "
                f"{vendor.url_variable}, like {vendor.example}"
            )
        return url + vendor.path if vendor.path and not urlsplit(url).path else url

    @staticmethod
    def address(given: str) -> str:
        """The base URL that the vendor's variable means."""
        return given

    @abstractmethod
    def path(self, prompt: Prompt) -> str:
        """Where a request goes, below ``base_url``."""

    @abstractmethod
    def reading(self, origin: Origin) -> Reading:
        """What reads one answer."""

    @abstractmethod
    def read_body(self, body: Object, origin: Origin) -> Transcript:
        """The conversation that a request body of this API holds.

        What only the provider understands is kept as of ``origin``. Raises :class:`InvalidPrompt`.
        """

    def headers(self, key: str) -> dict[str, str]:
        """What a request says besides its body; ``key`` is "" where there is none."""
        return {"authorization": f"Bearer {key}"} if key else {}

    def origin(self, model: str) -> Origin:
        """Whose the answers of a model are."""
        return Origin(self.name, self.api, model)

    def parser(self, prompt: Prompt) -> Parser:
        """What reads the body of one answer."""
        reading = self.reading(self.origin(prompt.model))
        return self.streams(reading) if prompt.stream else WholeParser(reading)

    def call(self, request: ModelRequest) -> Iterator[Delta | Answer]:
        """Ask the model."""
        return self._transport.send(self._exchange(request))

    def call_async(self, request: ModelRequest) -> AsyncIterator[Delta | Answer]:
        """Ask the model without blocking the event loop."""
        return self._transport.send_async(self._exchange(request))

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    async def aclose(self) -> None:
        """Close the connections, those of this event loop included."""
        await self._transport.aclose()

    def check_key(self) -> None:
        """Raise :class:`MissingAPIKey` if the server needs a key and there is none."""
        if not self._api_key and self._needs_key:
            raise MissingAPIKey(self.name, self._key_variable)

    def _exchange(self, request: ModelRequest) -> Exchange:
        self.check_key()
        prompt = request.prompt
        asked = Asked(self.name, prompt.model, self.base_url, self._key_variable)
        return Exchange(
            self.name,
            f"{self.base_url}{self.path(prompt)}",
            {"content-type": "application/json", **self.headers(self._api_key)},
            request.body,
            self.parser(prompt),
            functools.partial(read_failure, asked),
            request.deadline,
            self._api_key,
            request.cancelled,
        )


def _host(url: str) -> str:
    """The host of a base URL. Raises :class:`ConfigurationError`.

    The URL stands in errors and must hold no secret, so none may precede an ``@`` or follow a
    ``?``; what is refused is not repeated.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host = ""
    else:
        if parts.username is not None or parts.query or parts.fragment:
            raise ConfigurationError("base_url ends with its path; a key goes into api_key=...")
        host = host if parts.scheme in ("http", "https") else ""
    if not host:
        raise ConfigurationError(
            "base_url needs a scheme and a host, like https://example.com/v1 or "
            "http://localhost:8000/v1"
        )
    return host


def _key_of(vendor: Vendor[Any], *, own: bool) -> str:
    """The key in the first of the vendor's variables that is set."""
    if not (own or vendor.key_elsewhere):
        return ""
    names = (vendor.key_variable, *vendor.more_key_variables)
    return next((key for name in names if (key := os.environ.get(name))), "")


def _sendable(key: str, vendor: Vendor[Any]) -> str:
    """The key without the white space of a file. Raises :class:`ConfigurationError`."""
    key = key.strip()
    if not (key.isascii() and key.isprintable()):
        raise ConfigurationError(
            f"api_key or {vendor.key_variable} holds characters that no key has"
        )
    return key
