"""OpenAI Chat Completions, and every server that speaks it.

Source: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from agent.engine.errors import MissingAPIKey
from agent.engine.http import Exchange, HTTPTransport
from agent.engine.providers import chat_encoding
from agent.engine.providers.chat_failures import read_failure
from agent.engine.providers.chat_parsing import StreamParser, WholeParser

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from agent.engine.provider import Answer, Delta, Frame, ModelRequest, Prompt
    from agent.eventstore.messages import Message

_OFFICIAL = "https://api.openai.com/v1"
_KEY_VARIABLE = "OPENAI_API_KEY"
_URL_VARIABLE = "OPENAI_BASE_URL"


class OpenAIChat:
    """A :class:`~agent.engine.provider.Provider` for ``POST {base_url}/chat/completions``.

    ``base_url`` and ``api_key`` default to OPENAI_BASE_URL and OPENAI_API_KEY. The key is needed
    for OpenAI itself; other servers get one only if there is one. ``timeout`` (seconds) bounds the
    silence between two pieces of an answer.
    """

    name = "openai"
    api = "chat_completions"
    default_model = None

    def __init__(
        self, *, base_url: str | None = None, api_key: str | None = None, timeout: float = 600.0
    ) -> None:
        self.base_url = (base_url or os.environ.get(_URL_VARIABLE) or _OFFICIAL).rstrip("/")
        self._api_key = api_key or os.environ.get(_KEY_VARIABLE)
        self._transport = HTTPTransport(timeout)
        official = self.base_url == _OFFICIAL
        self._dialect = chat_encoding.OFFICIAL if official else chat_encoding.COMPATIBLE
        self.encoder = self._dialect.encoder

    def encode_message(
        self, message: Message, model: str, attachments: Mapping[str, bytes]
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

    def _exchange(self, request: ModelRequest) -> Exchange:
        if not self._api_key and self.base_url == _OFFICIAL:
            raise MissingAPIKey(self.name, _KEY_VARIABLE)
        headers = {"content-type": "application/json"}
        if self._api_key:
            headers["authorization"] = f"Bearer {self._api_key}"
        parser = StreamParser(self.name) if request.prompt.stream else WholeParser(self.name)
        return Exchange(
            self.name,
            f"{self.base_url}/chat/completions",
            headers,
            request.body,
            parser,
            read_failure,
            request.deadline,
        )
