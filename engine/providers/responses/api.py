"""OpenAI Responses, without anything kept at the server: each request says the whole history.

Source: https://platform.openai.com/docs/api-reference/responses
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.engine.providers.responses import decoding, encoding, frame
from agent.engine.providers.responses.parsing import ResponsesReading
from agent.engine.providers.served import ServedProvider
from agent.engine.providers.vendors import ResponsesDialect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.engine.provider import Frame, MessageContext, Prompt
    from agent.engine.providers.origin import Origin
    from agent.engine.providers.transcript import Transcript
    from agent.engine.providers.wire import Object
    from agent.eventstore.messages import Message


class Responses(ServedProvider[ResponsesDialect]):
    """``POST {base_url}/responses``."""

    conversation = ("input", "instructions")

    def encode_message(self, message: Message, context: MessageContext) -> Sequence[bytes]:
        """The message as items of ``input``: those that the model said as it said them."""
        return encoding.encode_message(message, context, self.origin(context.model), self.dialect)

    def encode_frame(self, prompt: Prompt) -> Frame:
        """Everything but the messages."""
        return frame.encode_frame(prompt, self.dialect, self.name)

    def read_body(self, body: Object, origin: Origin) -> Transcript:
        """The conversation that a request body holds."""
        return decoding.read_body(body, origin)

    def path(self, prompt: Prompt) -> str:  # noqa: ARG002 - one for all
        """Where a request goes."""
        return "/responses"

    def reading(self, origin: Origin) -> ResponsesReading:
        """What reads one answer."""
        return ResponsesReading(origin)
