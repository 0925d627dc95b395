"""Gemini's ``generateContent``, on Google's servers and on Vertex.

Source: https://ai.google.dev/api/generate-content
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from agent.engine.errors import ConfigurationError
from agent.engine.providers.generate_content import decoding, encoding
from agent.engine.providers.generate_content.parsing import GenerateReading
from agent.engine.providers.served import ServedProvider
from agent.engine.providers.vendors import Dialect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.engine.provider import Frame, MessageContext, Prompt
    from agent.engine.providers.origin import Origin
    from agent.engine.providers.transcript import Transcript
    from agent.engine.providers.wire import Object
    from agent.eventstore.messages import Message

_VERTEX = "aiplatform.googleapis.com"


class GenerateContent(ServedProvider[Dialect]):
    """``POST {base_url}/models/{model}:generateContent``, or ``:streamGenerateContent``.

    A base URL of Vertex ends with ``/projects/{project}/locations/{location}``; its key is an
    access token.
    """

    conversation = ("contents", "systemInstruction")

    @property
    def _on_vertex(self) -> bool:
        return (urlsplit(self.base_url).hostname or "").endswith(_VERTEX)

    def encode_message(self, message: Message, context: MessageContext) -> Sequence[bytes]:
        """The message as items of ``contents``."""
        return encoding.encode_message(message, context, self.origin(context.model))

    def encode_frame(self, prompt: Prompt) -> Frame:
        """Everything but the messages; the model stands in the path."""
        return encoding.encode_frame(prompt, self.name)

    def read_body(self, body: Object, origin: Origin) -> Transcript:
        """The conversation that a request body holds."""
        return decoding.read_body(body, origin)

    def path(self, prompt: Prompt) -> str:
        """Where a request goes. Raises :class:`ConfigurationError` for what is no model's name."""
        segments = prompt.model.split("/")
        if any(segment in ("", ".", "..") for segment in segments):
            raise ConfigurationError(f"no model of {self.name} can be named {prompt.model!r}")
        if len(segments) == 1:
            segments = [*(("publishers", "google") if self._on_vertex else ()), "models", *segments]
        model = "/".join(quote(segment, safe="") for segment in segments)
        return f"/{model}:{'streamGenerateContent?alt=sse' if prompt.stream else 'generateContent'}"

    def headers(self, key: str) -> dict[str, str]:
        """The key in the way of the server."""
        if self._on_vertex:
            return super().headers(key)
        return {"x-goog-api-key": key} if key else {}

    def reading(self, origin: Origin) -> GenerateReading:
        """What reads one answer."""
        return GenerateReading(origin)
