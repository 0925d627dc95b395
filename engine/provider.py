"""What the engine asks of a model provider, and what it gets.

A provider turns messages into the bytes of its own protocol and answers into messages. It is
written once for streaming and not, and knows nothing of logs, turns or retries.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import msgspec

from agent.eventstore.messages import Message, ToolCallPart
from agent.eventstore.values import FinishReason, OutputSchema, Settings, ToolDefinition, Usage


class Prompt(msgspec.Struct, frozen=True):
    """Everything that a request says besides its messages."""

    model: str
    system: str | None
    tools: tuple[ToolDefinition, ...]
    settings: Settings
    output: OutputSchema | None
    stream: bool


class MessageContext(msgspec.Struct, frozen=True):
    """What a message's encoding may depend on besides the message.

    ``attachments`` are the bytes of its blobs by their digests; ``calls``, for a message of tool
    results, the calls that it answers by their ids.
    """

    model: str
    attachments: Mapping[str, bytes] = {}
    calls: Mapping[str, ToolCallPart] = {}


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

    ``deadline`` is how many seconds the turn has left, None for no end. ``cancelled`` says whether
    the turn is to end, so that nobody waits for the answer: :meth:`Provider.call` may then hang up.
    """

    prompt: Prompt
    digest: str
    read_body: Callable[[], bytes]
    read_messages: Callable[[], list[Message]]
    deadline: float | None = None
    cancelled: Callable[[], bool] = bool

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


class Provider(ABC):
    """A way to reach models. Subclass it to bring your own: a name and three methods make one.

    ``name`` says whose models these are and ``api`` which of the provider's protocols is spoken.
    ``encoder`` is the version of the rules that build a body: change it when the bytes change.
    All three are recorded with every request. ``default_model`` serves agents that name none.

    One provider is shared by all sessions of an agent, and by their threads.
    """

    name: str
    api: str = "chat"
    encoder: str = "1"
    default_model: str | None = None

    @abstractmethod
    def encode_message(self, message: Message, context: MessageContext) -> Sequence[bytes]:
        """The message as items of the body's list. Must depend on nothing else.

        Called once for each message of a session, not for each request.
        """

    @abstractmethod
    def encode_frame(self, prompt: Prompt) -> Frame:
        """What stands around the messages. Called for each request."""

    @abstractmethod
    def call(self, request: ModelRequest) -> Iterator[Delta | Answer]:
        """Send ``request.body``: deltas when ``request.prompt.stream``, then the answer, last.

        Nothing is read after an answer, so a second one is never heard. A generator that is
        closed half way hangs up. Raises :class:`~agent.engine.errors.ProviderError`, one that is
        ``retryable`` where another attempt may succeed.
        """

    async def call_async(self, request: ModelRequest) -> AsyncIterator[Delta | Answer]:
        """The same without blocking the event loop.

        By default :meth:`call` runs in a thread, which hangs up with the next piece that arrives
        after nobody waits any more. Override it where many calls run at once.
        """
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[Delta | Answer | None] = asyncio.Queue()
        dropped = threading.Event()

        def read() -> None:
            for item in self.call(request):
                if dropped.is_set():
                    return
                loop.call_soon_threadsafe(arrived.put_nowait, item)

        thread = ThreadPoolExecutor(1, thread_name_prefix=self.name)
        reading = loop.run_in_executor(thread, contextvars.copy_context().run, read)
        reading.add_done_callback(lambda _: arrived.put_nowait(None))
        try:
            while (item := await arrived.get()) is not None:
                yield item
            await reading
        finally:
            dropped.set()
            reading.cancel()
            thread.shutdown(wait=False)

    def close(self) -> None:  # noqa: B027 - a hook: many have nothing to close
        """Release connections."""

    async def aclose(self) -> None:
        """Release connections, those of the running event loop included."""
        self.close()
