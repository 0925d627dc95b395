"""What the engine asks of a model provider, and what it gets.

A provider turns messages into the bytes of its own protocol and answers into messages. It is
written once for streaming and not, and knows nothing of logs, turns or retries.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Literal, Protocol, runtime_checkable

import msgspec

from agent.eventstore.messages import Message
from agent.eventstore.values import FinishReason, OutputSchema, Settings, ToolDefinition, Usage


class Prompt(msgspec.Struct, frozen=True):
    """Everything that a request says besides its messages."""

    model: str
    system: str | None
    tools: tuple[ToolDefinition, ...]
    settings: Settings
    output: OutputSchema | None
    stream: bool


class Frame(msgspec.Struct, frozen=True):
    """What stands around the messages in a body.

    The body is ``start``, then ``leading`` and the encoded messages separated by commas, then
    ``end``. What varies from turn to turn belongs in ``end``: ``start`` and ``leading`` may only
    depend on the system prompt and the model.
    """

    start: bytes
    leading: tuple[bytes, ...]
    end: bytes


class ModelRequest(msgspec.Struct, frozen=True):
    """One request to a model, with the SHA-256 (hex) of its exact body.

    ``deadline`` is how many seconds the turn has left, None for no end.
    """

    prompt: Prompt
    digest: str
    read_body: Callable[[], bytes]
    read_messages: Callable[[], list[Message]]
    deadline: float | None = None

    @property
    def body(self) -> bytes:
        """The exact bytes; joined each time they are asked for."""
        return self.read_body()

    @property
    def messages(self) -> list[Message]:
        """The messages that the body encodes."""
        return self.read_messages()


class TextDelta(msgspec.Struct, frozen=True):
    """A piece of the answer's text, as it arrives."""

    text: str
    type: Literal["text_delta"] = "text_delta"


class ReasoningDelta(msgspec.Struct, frozen=True):
    """A piece of the model's visible reasoning, as it arrives."""

    text: str
    type: Literal["reasoning_delta"] = "reasoning_delta"


Delta = TextDelta | ReasoningDelta


class Answer(msgspec.Struct, frozen=True):
    """A whole answer. Its tool calls carry the provider's ids; the engine names them anew."""

    message: Message
    finish_reason: FinishReason
    raw_finish_reason: str | None = None
    usage: Usage = Usage()
    model: str | None = None
    response_id: str | None = None


@runtime_checkable
class Provider(Protocol):
    """A way to reach models. Implement it to bring your own."""

    @property
    def name(self) -> str:
        """Whose models these are."""
        ...

    @property
    def api(self) -> str:
        """Which of the provider's protocols is spoken."""
        ...

    @property
    def encoder(self) -> str:
        """The version of the rules that build a body; raise it when the bytes change."""
        ...

    @property
    def default_model(self) -> str | None:
        """The model of an agent that names none."""
        ...

    def encode_message(
        self, message: Message, model: str, attachments: Mapping[str, bytes]
    ) -> Sequence[bytes]:
        """The message as items of the body's list. Must depend on nothing else."""
        ...

    def encode_frame(self, prompt: Prompt) -> Frame:
        """What stands around the messages."""
        ...

    def call(self, request: ModelRequest) -> Iterator[Delta | Answer]:
        """Ask the model: deltas when ``request.prompt.stream``, then the answer, last.

        Raises :class:`~agent.engine.errors.ProviderError`.
        """
        ...

    def call_async(self, request: ModelRequest) -> AsyncIterator[Delta | Answer]:
        """The same without blocking the event loop."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...

    async def aclose(self) -> None:
        """Release connections, those of the running event loop included."""
        ...
