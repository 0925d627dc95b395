"""What the cases begin with: small and realistic, with the oddities of compatible servers."""

import gzip
import json
from pathlib import Path
from typing import Any, NamedTuple

from tests.engine.providers.chat_completions.given import DONE, call, chunk, completion, sse
from tests.engine.providers.messages import given as messages

USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": 7,
    "total_tokens": 27,
    "prompt_tokens_details": {"cached_tokens": 16},
    "completion_tokens_details": {"reasoning_tokens": 5},
}
LONGEST = 20_000
"""Recordings are taken up to so many bytes."""
WORDS = 'Zoë said "tea\u2028\U0001f375" \\ and\n\tleft.'


def _stream(*chunks: Any, usage: bool = True) -> bytes:
    last = [{"id": "chatcmpl-1", "model": "gpt-4o", "choices": [], "usage": USAGE}] if usage else []
    return sse(*chunks, *last) + DONE


def _calls(*fragments: dict[str, Any]) -> list[dict[str, Any]]:
    return [chunk({"tool_calls": [fragment]}) for fragment in fragments]


STREAMS = (
    _stream(
        chunk({"role": "assistant", "content": ""}), chunk({"content": "Hi"}), chunk(finish="stop")
    ),
    _stream(*(chunk({"content": piece}) for piece in WORDS.split(" ")), chunk(finish="stop")),
    _stream(
        chunk({"role": "assistant", "content": None}),
        *_calls(
            call("add", "", id="call_a", index=0),
            call(None, '{"a": 1', index=0),
            call(None, ', "b": 2}', index=0),
            call("look_up", '{"key": "Zo\\u00eb"}', id="call_b", index=1),
        ),
        chunk(finish="tool_calls"),
    ),
    # Without indexes and ids, all at index 0, names repeated, arguments as an object.
    _stream(
        chunk({"tool_calls": [call("add", {"a": 1, "b": 2}), call("add", '{"a":3,"b":4}')]}),
        chunk(finish="stop"),
        usage=False,
    ),
    _stream(
        *_calls(
            call("add", '{"a":1,', id="x", index=0),
            call("add", '"b":2}', id="x", index=0),
            call("add", "{}", id="y", index=0),
        ),
        chunk(finish="", usage=USAGE),
    ),
    _stream(
        chunk({"reasoning_content": "Let me "}),
        chunk({"reasoning_content": "see"}),
        chunk({"content": "Yes"}, finish="stop"),
    ),
    _stream(
        chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}]}),
        chunk({"content": [{"type": "text", "text": "Yes"}]}),
        chunk({"reasoning_details": [{"type": "reasoning.text", "text": "so"}]}, finish="stop"),
    ),
    _stream(chunk({"refusal": "I "}), chunk({"refusal": "cannot"}), chunk(finish="stop")),
    _stream(chunk({"content": "cut"}), chunk(finish="length"), usage=False),
    sse(chunk({"content": "a"})) + b'data: {"error":{"message":"overloaded","code":529}}\n\n',
    b'event: error\ndata: {"message":"quota","type":"insufficient_quota"}\n\n',
    # Comments, CRLF, usage of another server in each chunk, no end.
    b": OPENROUTER PROCESSING\r\n\r\n"
    + sse(chunk({"content": "a"}, x_groq={"usage": USAGE})).replace(b"\n", b"\r\n")
    + sse(chunk({"content": "b"}, finish="eos", usage=USAGE)).replace(b"\n", b"\r"),
    b"\xef\xbb\xbf" + _stream(chunk({"content": "marked"}), chunk(finish="stop"), usage=False),
    # Halves of a character, cut between UTF-16 units.
    (
        b'data: {"choices":[{"delta":{"content":"\\ud83c"}}]}\n\n'
        b'data: {"choices":[{"delta":{"content":"\\udf75 \\\\ud83c"},"finish_reason":"stop"}]}\n\n'
    ),
    completion({"role": "assistant", "content": "whole, though a stream was asked for"}),
)

WHOLES = (
    completion({"role": "assistant", "content": "Hello"}, usage=USAGE),
    completion({"content": WORDS, "reasoning": "Hm", "refusal": None}, usage=USAGE),
    completion(
        {"content": None, "tool_calls": [call("add", '{"a": 1, "b": 2}', id="call_a")]},
        finish="tool_calls",
    ),
    completion({"tool_calls": [call("add", {"a": 1}), call("look_up", "", id="")]}, finish=None),
    completion({"content": [{"type": "text", "text": "a"}, {"type": "thinking", "thinking": "b"}]}),
    completion({"content": None, "refusal": "I cannot"}),
    completion({"content": "x"}, finish="content_filter", x_groq={"usage": USAGE}),
    b'{"choices":[{"message":{"content":"\\ud83c and \\\\ud83c"},"finish_reason":"STOP"}]}',
    b'{"error":{"message":"No such model","type":"invalid_request_error","code":"404"}}',
    b'{"choices":[{"finish_reason":"error","error":{"code":502,"message":"upstream"}}]}',
    b'{"choices":[],"usage":{"prompt_tokens":1.0}}',
)

MESSAGES_BLOCKS = (
    (messages.text("Hi"),),
    (messages.text(WORDS), messages.text(" And so on", citations=[messages.CITATION])),
    (messages.thinking("Let me see"), messages.tool_use("add", {"a": 1, "b": 2})),
    (
        messages.REDACTED,
        messages.tool_use("add", {}, caller={"type": "direct"}),
        messages.tool_use("look_up", {"key": "Zo\u00eb"}, "toolu_2"),
    ),
    (messages.text("Look:"), messages.SEARCH, messages.FOUND, messages.COMPACTED),
)
MESSAGES_STREAMS = (
    *(messages.stream(*blocks) for blocks in MESSAGES_BLOCKS),
    messages.stream(messages.text("cut"), stop="max_tokens"),
    messages.stream(messages.text("I"), stop="refusal", stop_details={"explanation": "Policy"}),
    messages.started() + messages.event("error", error={"type": "overloaded_error"}),
    messages.body(messages.text("whole, though a stream was asked for")),
)
MESSAGES_WHOLES = (
    *(messages.body(*blocks) for blocks in MESSAGES_BLOCKS),
    messages.body(stop="refusal"),
    messages.body(messages.SEARCH, stop="pause_turn"),
    b'{"type":"error","error":{"type":"invalid_request_error","message":"No such model"}}',
)

FAILURES = (
    b'429 retry-after: 2\n{"error":{"message":"Slow down","type":"requests","code":"rate_limit"}}',
    b'400 x-request-id: r\n{"error":{"message":"Bad","param":null,"code":null,"type":"invalid"}}',
    b'401 retry-after: Wed, 21 Oct 2026 07:28:00 GMT\n{"error":"Wrong key"}',
    b'404 retry-after-ms: 20.5\n[{"error":{"code":404,"message":"gone","status":"NOT_FOUND"}}]',
    b"500 x-should-retry: false\n<html><head><style>a{}</style></head><body>Bad <b>gateway</b>",
    b'502 a: b\n{"detail":[{"loc":["body"],"msg":"field required"}]}',
    b'503 a: b\n{"error":{"message":"up","metadata":{"raw":"{\\"error\\":1}"}}}',
    b'402 a: b\n{"error":{"code":"insufficient_quota","message":""}}',
    b"529 a: b\nOverloaded",
    b"500 a: b\n<script>" + b"<" * 60 + b"<script" * 20,
)

ARGUMENTS = (
    b'{"count": 3, "name": "Zo\xc3\xab"}',
    b'{"count": -1, "name": "", "ratio": 1.5, "tags": ["a", "b"], "extra": {"k": [1, null]}}',
    b'{"count": 3, "name": "x", "place": {"city": "Paris"}, "unit": "celsius"}',
    b'{"count": 3, "name": "x", "day": "2024-02-29", "pair": [1, "a"], "either": "y"}',
    b"",
    b"{}",
    b"null",
)

OUTPUTS = (
    b'{"result": [{"city": "Paris", "country": "France"}, {"city": "Rome"}]}',
    b'{"result": []}',
    b'{"city": "Zo\xc3\xab", "country": "\xf0\x9f\x8d\xb5"}',
    b'{"city": "Paris"}',
)

TURNS = (
    *(b"200 text/event-stream identity\n" + body for body in STREAMS),
    *(b"200 application/json identity\n" + body for body in WHOLES),
    *(
        b"%b application/json identity\n%b" % (body[:3], body.partition(b"\n")[2])
        for body in FAILURES
    ),
    b"200 text/event-stream gzip\n" + gzip.compress(STREAMS[0], mtime=0),
    b"200 text/html identity\n<h1>Welcome</h1>",
    b"307 application/json identity\n",
)


class Recordings(NamedTuple):
    """Bodies of real servers, to begin with besides our own."""

    streams: tuple[bytes, ...] = ()
    wholes: tuple[bytes, ...] = ()
    failures: tuple[bytes, ...] = ()


def recordings(folder: Path, api: str) -> Recordings:
    """Those of an API in ``records.jsonl.gz``: a line has ``api``, ``stream`` and ``response``."""
    streams: list[bytes] = []
    wholes: list[bytes] = []
    failures: list[bytes] = []
    with gzip.open(folder / "records.jsonl.gz", "rt") as lines:
        for record in map(json.loads, lines):
            response = record["response"]
            body = response["body"].encode()
            if record["api"] != api or len(body) > LONGEST:
                continue
            if response["status"] >= 400:
                failures.append(b"%d a: b\n%b" % (response["status"], body))
            else:
                (streams if record["stream"] else wholes).append(body)
    return Recordings(tuple(streams), tuple(wholes), tuple(failures))
