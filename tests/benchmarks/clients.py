"""A streamed event, beside the vendor's own client on the same bytes.

Both are given what a socket would give, without a network, and are read to their end: our parser
makes deltas and an answer that the log can hold, the client its own events and, where it has one,
its final message. What surrounds an answer (the turn, the log) is measured elsewhere.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import anthropic
import httpx2
import msgspec
import openai
from google import genai
from google.genai import types

from agent.engine.provider import Prompt
from agent.engine.providers import protocol_of
from agent.eventstore.values import Settings
from tests.benchmarks.given import Figure, cpu_ms

EVENTS, ROUNDS, PIECE = 2000, 7, 1400
BAR = 1 / 3

Event = dict[str, Any]


class Streamed(NamedTuple):
    """A provider, the body of a stream of so many deltas, and how its client reads it."""

    provider: str
    body: bytes
    client: Callable[[bytes], Callable[[], None]]


def figures() -> Iterator[Figure]:
    """CPU an event, ours and theirs: the least of several rounds, taken in turns."""
    for streamed in STREAMS:
        ours, theirs = _reader(streamed), streamed.client(streamed.body)
        samples = [(cpu_ms(ours), cpu_ms(theirs)) for _ in range(ROUNDS)]
        gc.collect()
        mine, other = (min(column) / EVENTS * 1000 for column in zip(*samples, strict=True))
        yield Figure(f"{streamed.provider}: an event", mine, "µs CPU")
        yield Figure(f"{streamed.provider}: an event in the client", other, "µs CPU")
        yield Figure(f"{streamed.provider}: ours beside theirs", mine / other, "", BAR)


def _reader(streamed: Streamed) -> Callable[[], None]:
    made, vendor = protocol_of(streamed.provider)
    provider = made(vendor, api_key="unused")
    prompt = Prompt("m", None, (), Settings(), None, stream=True)
    pieces = _pieces(streamed.body)

    def read() -> None:
        parser = provider.parser(prompt)
        deltas = sum(1 for piece in pieces for _ in parser.feed(piece))
        deltas += sum(1 for _ in parser.finish())
        assert deltas >= EVENTS
        assert parser.answer().message.text

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


def _sse(event: Event, kind: str = "") -> bytes:
    named = f"event: {kind}\n".encode() if kind else b""
    return named + b"data: " + msgspec.json.encode(event) + b"\n\n"


# Chat Completions


def _chat() -> bytes:
    def chunk(delta: Event, finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        return _sse(
            {
                "id": "chatcmpl-CQ5nXyLm0wTzV3pQ8rK1sD7uFhGjA",
                "object": "chat.completion.chunk",
                "created": 1760000000,
                "model": "gpt-4o-2024-08-06",
                "service_tier": "default",
                "system_fingerprint": "fp_eb3c3cb84d",
                "choices": [choice],
                "usage": None,
            }
        )

    deltas = (chunk({"content": f" word{n}"}) for n in range(EVENTS))
    return b"".join((*deltas, chunk({}, "stop"), b"data: [DONE]\n\n"))


def _openai_chat(body: bytes) -> Callable[[], None]:
    client = openai.OpenAI(api_key="unused", http_client=_http(body))

    def read() -> None:
        chat: Any = client.chat.completions
        with chat.stream(model="m", messages=[{"role": "user", "content": "Go"}]) as stream:
            for _ in stream:
                pass
            assert stream.get_final_completion().choices[0].message.content

    return read


# Responses


def _responses() -> bytes:
    said = "".join(f" word{n}" for n in range(EVENTS))
    part: Event = {"type": "output_text", "text": said, "annotations": [], "logprobs": []}
    item: Event = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed"}
    response: Event = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1760000000,
        "model": "gpt-5",
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }
    place: Event = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    begun = {**item, "status": "in_progress", "content": []}
    events: list[Event] = [
        {"type": "response.created", "response": {**response, "status": "in_progress"}},
        {"type": "response.output_item.added", "output_index": 0, "item": begun},
        {"type": "response.content_part.added", **place, "part": {**part, "text": ""}},
        *(
            {"type": "response.output_text.delta", **place, "delta": f" word{n}", "logprobs": []}
            for n in range(EVENTS)
        ),
        {"type": "response.output_text.done", **place, "text": said, "logprobs": []},
        {"type": "response.content_part.done", **place, "part": part},
        {
            "type": "response.output_item.done",
            "output_index": 0,
            "item": {**item, "content": [part]},
        },
        {
            "type": "response.completed",
            "response": {
                **response,
                "status": "completed",
                "output": [{**item, "content": [part]}],
            },
        },
    ]
    numbered = ({**event, "sequence_number": number} for number, event in enumerate(events))
    return b"".join(_sse(event, event["type"]) for event in numbered)


def _openai_responses(body: bytes) -> Callable[[], None]:
    client = openai.OpenAI(api_key="unused", http_client=_http(body))

    def read() -> None:
        responses: Any = client.responses
        with responses.stream(model="m", input="Go") as stream:
            for _ in stream:
                pass
            assert stream.get_final_response().output_text

    return read


# Messages


def _messages() -> bytes:
    usage = {"input_tokens": 1007, "output_tokens": 1, "cache_read_input_tokens": 0}
    message: Event = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage,
    }
    events: list[Event] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        *(
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "text_delta", "text": f" word{n}"},
            }
            for n in range(EVENTS)
        ),
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": EVENTS},
        },
        {"type": "message_stop"},
    ]
    return b"".join(_sse(event, event["type"]) for event in events)


def _anthropic(body: bytes) -> Callable[[], None]:
    client = anthropic.Anthropic(api_key="unused", http_client=_http(body))

    def read() -> None:
        messages: Any = client.messages
        asked = [{"role": "user", "content": "Go"}]
        with messages.stream(model="m", max_tokens=4000, messages=asked) as stream:
            for _ in stream:
                pass
            assert stream.get_final_text()

    return read


# generateContent


def _gemini() -> bytes:
    def event(text: str, **more: str) -> bytes:
        content = {"parts": [{"text": text}], "role": "model"}
        return _sse(
            {
                "candidates": [{"content": content, "index": 0, **more}],
                "usageMetadata": {"promptTokenCount": 10, "totalTokenCount": 10},
                "modelVersion": "gemini-3-pro",
                "responseId": "J3dHapyWENS3g8UPyrefuAE",
            }
        )

    deltas = (event(f" word{n}") for n in range(EVENTS))
    return b"".join((*deltas, event(".", finishReason="STOP")))


def _google(body: bytes) -> Callable[[], None]:
    options = types.HttpOptions(httpx_client=_http(body))
    client = genai.Client(api_key="unused", http_options=options)

    def read() -> None:
        models: Any = client.models
        parts = [part.text for part in models.generate_content_stream(model="m", contents="Go")]
        assert "".join(parts)

    return read


STREAMS = (
    Streamed("openai", _chat(), _openai_chat),
    Streamed("openai-responses", _responses(), _openai_responses),
    Streamed("anthropic", _messages(), _anthropic),
    Streamed("gemini", _gemini(), _google),
)
