"""The protocols whose answers are read, each a row: its parsers, its encoder, its first bodies."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from agent.engine.http.exchange import Parser
from agent.engine.provider import MessageContext
from agent.engine.providers.chat_completions import encoding as chat_encoding
from agent.engine.providers.generate_content import encoding as gemini_encoding
from agent.engine.providers.ollama_chat import encoding as ollama_encoding
from agent.eventstore.messages import Message
from tests.engine.providers.chat_completions import given as chat
from tests.engine.providers.generate_content import given as gemini
from tests.engine.providers.ollama_chat import given as ollama
from tests.fuzz import corpus, gemini_corpus, ollama_corpus


class Protocol(NamedTuple):
    """How an API's answers are read, and sent again; bodies to begin with."""

    api: str
    stream: Callable[[], Parser]
    whole: Callable[[], Parser]
    encode: Callable[[Message], Sequence[bytes]]
    streams: tuple[bytes, ...]
    wholes: tuple[bytes, ...]


def _context(message: Message, model: str) -> MessageContext:
    return MessageContext(model, {blob.digest: blob.data or b"" for blob in message.blobs()})


PROTOCOLS = {
    "": Protocol(
        "chat_completions",
        chat.stream_parser,
        chat.whole_parser,
        lambda message: chat_encoding.encode_message(message, {}),
        corpus.STREAMS,
        corpus.WHOLES,
    ),
    "gemini-": Protocol(
        "generate_content",
        gemini.stream_parser,
        gemini.whole_parser,
        lambda message: gemini_encoding.encode_message(
            message, _context(message, gemini.ORIGIN.model), gemini.ORIGIN
        ),
        gemini_corpus.STREAMS,
        gemini_corpus.WHOLES,
    ),
    "ollama-": Protocol(
        "ollama_chat",
        ollama.stream_parser,
        ollama.whole_parser,
        lambda message: ollama_encoding.encode_message(
            message, _context(message, ollama.ORIGIN.model), ollama.ORIGIN
        ),
        ollama_corpus.STREAMS,
        ollama_corpus.WHOLES,
    ),
}
"""By what the names of their targets begin with."""
