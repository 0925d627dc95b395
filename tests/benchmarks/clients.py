"""A streamed event, beside the vendor's own client on the same bytes.

Both are given what a socket would give, without a network, and are read to their end. Ours is the
parser alone, which makes deltas and an answer that the log can hold. Theirs is read in two ways:
``events`` is the bare iterator of typed events, ``whole`` the helper that also makes the final
message. Around both lies their client, on a transport without a network; its cost is that of one
request, spread over all events.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import anthropic
import httpx2
import openai
from google import genai
from google.genai import types

from agent.engine.provider import Prompt
from agent.engine.providers import protocol_of
from agent.eventstore.values import Settings
from tests.benchmarks import streams
from tests.benchmarks.given import Figure, cpu_ms

EVENTS, ROUNDS, PIECE = 2000, 7, 1400
BAR = 1 / 3

Read = Callable[[], None]
ASKED: Any = [{"role": "user", "content": "Go"}]


class Streamed(NamedTuple):
    """A provider, what it says, the body, and how its client reads it in one way and another."""

    provider: str
    what: str
    body: bytes
    clients: Mapping[str, Callable[[bytes], Read]]


def figures() -> Iterator[Figure]:
    """CPU an event, ours and theirs: the least of several rounds, taken in turns."""
    for streamed in STREAMS:
        name = f"{streamed.provider}, {streamed.what}"
        readers = [_reader(streamed), *(made(streamed.body) for made in streamed.clients.values())]
        rounds = [[cpu_ms(read) for read in readers] for _ in range(ROUNDS)]
        gc.collect()
        mine, *others = (min(column) / EVENTS * 1000 for column in zip(*rounds, strict=True))
        yield Figure(f"{name}: an event", mine, "µs CPU")
        for way, other in zip(streamed.clients, others, strict=True):
            yield Figure(f"{name}: in the client, {way}", other, "µs CPU")
            yield Figure(f"{name}: ours beside that", mine / other, "", BAR)


def _reader(streamed: Streamed) -> Read:
    made, vendor = protocol_of(streamed.provider)
    provider = made(vendor, api_key="unused")
    prompt = Prompt("m", None, (), Settings(), None, stream=True)
    pieces = _pieces(streamed.body)

    def read() -> None:
        parser = provider.parser(prompt)
        deltas = sum(1 for piece in pieces for _ in parser.feed(piece))
        deltas += sum(1 for _ in parser.finish())
        message = parser.answer().message
        assert (deltas >= EVENTS and message.text) or message.tool_calls

    return read


def _pieces(body: bytes) -> list[bytes]:
    return [body[start : start + PIECE] for start in range(0, len(body), PIECE)]


class _Bytes(httpx2.SyncByteStream):
    def __init__(self, body: bytes) -> None:
        self._pieces = _pieces(body)

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces


def _http(body: bytes) -> httpx2.Client:
    def answer(_: httpx2.Request) -> httpx2.Response:
        headers = {"content-type": "text/event-stream"}
        return httpx2.Response(200, headers=headers, stream=_Bytes(body))

    return httpx2.Client(transport=httpx2.MockTransport(answer))


# Chat Completions


def _chat_events(body: bytes) -> Read:
    chat: Any = openai.OpenAI(api_key="unused", http_client=_http(body)).chat.completions

    def read() -> None:
        events = chat.create(model="m", messages=ASKED, stream=True)
        assert sum(1 for _ in events) >= EVENTS

    return read


def _chat_whole(body: bytes) -> Read:
    chat: Any = openai.OpenAI(api_key="unused", http_client=_http(body)).chat.completions

    def read() -> None:
        with chat.stream(model="m", messages=ASKED) as stream:
            for _ in stream:
                pass
            message = stream.get_final_completion().choices[0].message
            assert message.content or message.tool_calls

    return read


# Responses


def _responses_events(body: bytes) -> Read:
    responses: Any = openai.OpenAI(api_key="unused", http_client=_http(body)).responses

    def read() -> None:
        events = responses.create(model="m", input="Go", stream=True)
        assert sum(1 for _ in events) >= EVENTS

    return read


def _responses_whole(body: bytes) -> Read:
    responses: Any = openai.OpenAI(api_key="unused", http_client=_http(body)).responses

    def read() -> None:
        with responses.stream(model="m", input="Go") as stream:
            for _ in stream:
                pass
            assert stream.get_final_response().output

    return read


# Messages


def _messages_events(body: bytes) -> Read:
    messages: Any = anthropic.Anthropic(api_key="unused", http_client=_http(body)).messages

    def read() -> None:
        events = messages.create(model="m", max_tokens=4000, messages=ASKED, stream=True)
        assert sum(1 for _ in events) >= EVENTS

    return read


def _messages_whole(body: bytes) -> Read:
    messages: Any = anthropic.Anthropic(api_key="unused", http_client=_http(body)).messages

    def read() -> None:
        with messages.stream(model="m", max_tokens=4000, messages=ASKED) as stream:
            for _ in stream:
                pass
            assert stream.get_final_message().content

    return read


# generateContent


def _gemini_events(body: bytes) -> Read:
    options = types.HttpOptions(httpx_client=_http(body))
    models: Any = genai.Client(api_key="unused", http_options=options).models

    def read() -> None:
        parts = [part.text for part in models.generate_content_stream(model="m", contents="Go")]
        assert "".join(parts)

    return read


_CHAT = {"events": _chat_events, "whole": _chat_whole}
_RESPONSES = {"events": _responses_events, "whole": _responses_whole}
_MESSAGES = {"events": _messages_events, "whole": _messages_whole}

STREAMS = (
    Streamed("openai", "text", streams.chat_text(EVENTS), _CHAT),
    Streamed("openai", "a call", streams.chat_call(EVENTS), _CHAT),
    Streamed("openai-responses", "text", streams.responses_text(EVENTS), _RESPONSES),
    Streamed("openai-responses", "a call", streams.responses_call(EVENTS), _RESPONSES),
    Streamed("anthropic", "text", streams.messages_text(EVENTS), _MESSAGES),
    Streamed("anthropic", "a call", streams.messages_call(EVENTS), _MESSAGES),
    Streamed("gemini", "text", streams.gemini_text(EVENTS), {"events": _gemini_events}),
)
