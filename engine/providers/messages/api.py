"""Anthropic Messages, and every server that speaks it.

Source: https://docs.anthropic.com/en/api/messages
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.engine.providers.messages import decoding, encoding, framing
from agent.engine.providers.messages.parsing import MessagesReading
from agent.engine.providers.served import ServedProvider
from agent.engine.providers.vendors import MessagesDialect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.engine.provider import Frame, MessageContext, Prompt
    from agent.engine.providers.origin import Origin
    from agent.engine.providers.transcript import Transcript
    from agent.engine.providers.wire import Object
    from agent.eventstore.messages import Message


class Messages(ServedProvider[MessagesDialect]):
    """``POST {base_url}/messages``.

    The API wants a ``max_tokens`` with every request. Where none is set it is 16384, which every
    current model takes and which ends before a request without streaming would time out; less for
    Claude 3 and 3.5, which take 4096 and 8192. ``reasoning_budget`` comes on top.
    """

    conversation = ("messages", "system")

    def encode_message(self, message: Message, context: MessageContext) -> Sequence[bytes]:
        """The message as an item of ``messages``; none if it says nothing that can be sent."""
        return encoding.encode_message(message, context, self.origin(context.model))

    def encode_frame(self, prompt: Prompt) -> Frame:
        """Everything but the messages."""
        return framing.encode_frame(prompt, self.dialect, self.name)

    def read_body(self, body: Object, origin: Origin) -> Transcript:
        """The conversation that a request body holds."""
        return decoding.read_body(body, origin)

    def headers(self, key: str) -> dict[str, str]:
        """The version of the API, and the key."""
        version = {"anthropic-version": self.dialect.version}
        return {**version, "x-api-key": key} if key else version

    def path(self, prompt: Prompt) -> str:  # noqa: ARG002 - one for all
        """Where a request goes."""
        return "/messages"

    def reading(self, origin: Origin) -> MessagesReading:
        """What reads one answer."""
        return MessagesReading(origin)
