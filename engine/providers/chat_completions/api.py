"""OpenAI Chat Completions, and every server that speaks it.

Source: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.engine.providers.chat_completions import decoding, encoding
from agent.engine.providers.chat_completions.messages import MessageEncoder
from agent.engine.providers.chat_completions.parsing import ChatReading
from agent.engine.providers.served import ServedProvider
from agent.engine.providers.vendors import ChatDialect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agent.engine.provider import Frame, MessageContext, Prompt
    from agent.engine.providers.origin import Origin
    from agent.engine.providers.transcript import Transcript
    from agent.engine.providers.wire import Object
    from agent.eventstore.messages import Message


class ChatCompletions(ServedProvider[ChatDialect]):
    """``POST {base_url}/chat/completions``."""

    def encode_message(self, message: Message, context: MessageContext) -> Sequence[bytes]:
        """The message as items of ``messages``: one, or one for each tool result."""
        return MessageEncoder(self.dialect, self.origin(context.model), context).encode(message)

    def encode_frame(self, prompt: Prompt) -> Frame:
        """Everything but the messages."""
        return encoding.encode_frame(prompt, self.dialect, self.name)

    def read_body(self, body: Object, origin: Origin) -> Transcript:
        """The conversation that a request body holds."""
        return decoding.read_body(body, origin)

    def path(self, prompt: Prompt) -> str:  # noqa: ARG002 - one for all
        """Where a request goes."""
        return "/chat/completions"

    def reading(self, origin: Origin) -> ChatReading:
        """What reads one answer."""
        return ChatReading(origin)
