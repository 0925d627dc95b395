"""Ollama's ``/api/chat``.

Source: https://github.com/ollama/ollama/blob/main/docs/api.md
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, ClassVar

from agent.engine.providers.ollama_chat import decoding, encoding
from agent.engine.providers.ollama_chat.parsing import OllamaReading
from agent.engine.providers.parsers import LineParser
from agent.engine.providers.served import ServedProvider
from agent.engine.providers.vendors import Dialect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.engine.provider import Frame, MessageContext, Prompt
    from agent.engine.providers.origin import Origin
    from agent.engine.providers.parsers import StreamParser
    from agent.engine.providers.transcript import Transcript
    from agent.engine.providers.wire import Object
    from agent.eventstore.messages import Message

_PORT = 11434
_EVERYWHERE = re.compile(r"^(?P<scheme>https?://)(?P<host>0\.0\.0\.0|\[::\])(?=[:/]|$)")


class OllamaChat(ServedProvider[Dialect]):
    """``POST {base_url}/api/chat``. A key is only needed, and only sent unasked, to ollama.com."""

    streams: ClassVar[type[StreamParser]] = LineParser

    @staticmethod
    def address(given: str) -> str:
        """The base URL that ``OLLAMA_HOST`` means.

        The server reads it too: it may lack the scheme or the port, or stand for every interface.
        """
        given = given.strip("\"' ").rstrip("/")
        if "://" not in given:
            port = "" if re.search(r":\d+$", given) else f":{_PORT}"
            given = f"http://{given}{port}"
        local = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - nothing is bound here
        return _EVERYWHERE.sub(lambda found: found["scheme"] + local[found["host"]], given)

    def encode_message(self, message: Message, context: MessageContext) -> Sequence[bytes]:
        """The message as items of ``messages``: one, or one for each tool result."""
        return encoding.encode_message(message, context, self.origin(context.model))

    def encode_frame(self, prompt: Prompt) -> Frame:
        """Everything but the messages."""
        return encoding.encode_frame(prompt, self.name)

    def read_body(self, body: Object, origin: Origin) -> Transcript:
        """The conversation that a request body holds."""
        return decoding.read_body(body, origin)

    def path(self, prompt: Prompt) -> str:  # noqa: ARG002 - one for all
        """Where a request goes."""
        return "/api/chat"

    def reading(self, origin: Origin) -> OllamaReading:
        """What reads one answer."""
        return OllamaReading(origin)
