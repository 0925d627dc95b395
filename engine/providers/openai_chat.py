"""OpenAI Chat Completions, and every server that speaks it.

Source: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from agent.engine.errors import ConfigurationError, MissingAPIKey
from agent.engine.http import Exchange
from agent.engine.provider import Provider
from agent.engine.providers import chat_encoding
from agent.engine.providers.chat_failures import Asked, read_failure
from agent.engine.providers.chat_parsing import StreamParser, WholeParser
from agent.eventstore.lazy import cached_property

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from agent.engine.http.transport import HTTPTransport
    from agent.engine.provider import Answer, Delta, Frame, ModelRequest, Prompt
    from agent.eventstore.messages import Message

_OFFICIAL = "https://api.openai.com/v1"
_OFFICIAL_HOSTS = (".openai.com", ".openai.azure.com")
_KEY_VARIABLE = "OPENAI_API_KEY"
_URL_VARIABLE = "OPENAI_BASE_URL"


class OpenAIChat(Provider):
    """``POST {base_url}/chat/completions``.

    ``base_url`` and ``api_key`` default to OPENAI_BASE_URL and OPENAI_API_KEY. Only OpenAI's own
    servers need a key. ``timeout`` (seconds) bounds the silence between two pieces of an answer;
    a whole answer may take an hour, or ``timeout`` if that is more. Raises
    :class:`ConfigurationError`.
    """

    name = "openai"
    api = "chat_completions"

    def __init__(
        self, *, base_url: str | None = None, api_key: str | None = None, timeout: float = 600.0
    ) -> None:
        url = base_url or os.environ.get(_URL_VARIABLE) or _OFFICIAL
        self.base_url = url.strip().rstrip("/")
        official = _host(self.base_url).endswith(_OFFICIAL_HOSTS)
        self._api_key = _sendable(api_key or os.environ.get(_KEY_VARIABLE) or "")
        self._timeout = timeout
        self._needs_key = official
        self._dialect = chat_encoding.OFFICIAL if official else chat_encoding.COMPATIBLE
        self.encoder = self._dialect.encoder

    @cached_property
    def _transport(self) -> HTTPTransport:
        from agent.engine.http.transport import HTTPTransport  # noqa: PLC0415 - slow to import

        return HTTPTransport(self._timeout)

    def encode_message(
        self,
        message: Message,
        model: str,  # noqa: ARG002 - all models of this protocol take the same messages
        attachments: Mapping[str, bytes],
    ) -> Sequence[bytes]:
        """The message as items of ``messages``: one, or one for each tool result."""
        return chat_encoding.encode_message(message, attachments)

    def encode_frame(self, prompt: Prompt) -> Frame:
        """Everything but the messages."""
        return chat_encoding.encode_frame(prompt, self._dialect)

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
            raise MissingAPIKey(self.name, _KEY_VARIABLE)

    def _exchange(self, request: ModelRequest) -> Exchange:
        self.check_key()
        headers = {"content-type": "application/json"}
        if self._api_key:
            headers["authorization"] = f"Bearer {self._api_key}"
        parser = StreamParser(self.name) if request.prompt.stream else WholeParser(self.name)
        asked = Asked(self.name, request.prompt.model, self.base_url, _KEY_VARIABLE)
        return Exchange(
            self.name,
            f"{self.base_url}/chat/completions",
            headers,
            request.body,
            parser,
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


def _sendable(key: str) -> str:
    """The key without the white space of a file. Raises :class:`ConfigurationError`."""
    key = key.strip()
    if not (key.isascii() and key.isprintable()):
        raise ConfigurationError(f"api_key or {_KEY_VARIABLE} holds characters that no key has")
    return key
