"""A reply as the bytes of the chat completions API, whole or streamed."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.fakes.chat_replies import Error, Refusal, Stream, Text, ToolCalls

CREATED = 1_700_000_000
RESOLVED = {"gpt-4o": "gpt-4o-2024-08-06", "gpt-4o-mini": "gpt-4o-mini-2024-07-18"}
CACHE_MINIMUM = 1024
CACHE_STEP = 128
ERRORS = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "unsupported_country_region_territory"),
    404: ("invalid_request_error", "model_not_found"),
    408: ("timeout", None),
    409: ("conflict", None),
    429: ("requests", "rate_limit_exceeded"),
}


@dataclass(frozen=True)
class Completion:
    """One answer of the model: its number on the server, the request, what it says, its cost."""

    number: int
    request: dict[str, Any]
    reply: Text | ToolCalls | Refusal
    cached: int

    @property
    def finish_reason(self) -> str:
        """The reason in the API's words."""
        match self.reply:
            case Text():
                return self.reply.finish_reason
            case ToolCalls():
                return "tool_calls"
            case Refusal():
                return "stop"

    def calls(self) -> list[dict[str, Any]]:
        """Return the tool calls in the API's shape."""
        if not isinstance(self.reply, ToolCalls):
            return []
        return [
            {
                "id": call_id or f"call_{self.number:08d}_{index}",
                "type": "function",
                "function": {"name": name, "arguments": arguments},
            }
            for index, (name, arguments, call_id) in enumerate(self.reply.calls)
        ]

    def usage(self) -> dict[str, Any]:
        """Count four bytes as a token; a prefix seen before counts as cached."""
        prompt = tokens(prompt_text(self.request))
        completion = tokens(json.dumps([self.reply.text, self.calls()]))
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
            "prompt_tokens_details": {"cached_tokens": self.cached, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }

    def head(self, kind: str) -> dict[str, Any]:
        """Return the fields that a completion and its chunks share."""
        model = self.request["model"]
        return {
            "id": f"chatcmpl-{self.number:08d}",
            "object": kind,
            "created": CREATED + self.number,
            "model": RESOLVED.get(model, model),
            "service_tier": "default",
            "system_fingerprint": "fp_fake",
        }


def prompt_text(request: dict[str, Any]) -> str:
    """Return what counts as the prompt: the tools, then the messages."""
    return json.dumps([request.get("tools", []), request["messages"]])


def tokens(text: str) -> int:
    """Estimate the tokens of a text."""
    return max(1, len(text) // 4)


def cached_tokens(prompt: str, earlier: list[str]) -> int:
    """Return how much of the prompt a prompt cache would hold, in the API's steps."""
    shared = max((_shared(prompt, other) for other in earlier), default=0)
    whole_steps = tokens(prompt[:shared]) // CACHE_STEP * CACHE_STEP
    return whole_steps if whole_steps >= CACHE_MINIMUM else 0


def _shared(one: str, other: str) -> int:
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[:middle] == other[:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def error_body(error: Error) -> bytes:
    """Return the body of an error answer."""
    if isinstance(error.body, bytes):
        return error.body
    if error.body is not None:
        return json.dumps(error.body).encode()
    kind, code = ERRORS.get(error.status, ("server_error", None))
    text = f"The fake server was told to answer {error.status}."
    shape = {"message": text, "type": kind, "param": None, "code": code}
    return json.dumps({"error": shape}).encode()


def completion_body(completion: Completion) -> bytes:
    """Return the answer to a request without `stream`."""
    reply = completion.reply
    refused = isinstance(reply, Refusal)
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if refused else reply.text,
        "refusal": reply.text if refused else None,
        "annotations": [],
    }
    calls = completion.calls()
    if calls:
        message["tool_calls"] = calls
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": completion.finish_reason,
    }
    head = completion.head("chat.completion")
    return json.dumps({**head, "choices": [choice], "usage": completion.usage()}).encode()


def stream_events(completion: Completion, how: Stream) -> Iterator[bytes]:
    """Yield the server-sent events of an answer, faults included."""
    for sent, chunk in enumerate(_chunks(completion, how.piece)):
        if how.error is not None and sent == how.error_after:
            yield _event(how.error)
            return
        yield _event(chunk)
    if how.done:
        yield b"data: [DONE]\n\n"


def _event(payload: Any) -> bytes:
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


def _chunks(completion: Completion, piece: int) -> Iterator[dict[str, Any]]:
    counted = completion.request.get("stream_options", {}).get("include_usage", False)
    head = completion.head("chat.completion.chunk")
    extra = {"usage": None, "obfuscation": "x7Qd"} if counted else {"obfuscation": "x7Qd"}
    for delta, reason in _deltas(completion, piece):
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        yield {**head, "choices": [choice], **extra}
    if counted:
        yield {**head, "choices": [], "usage": completion.usage(), "obfuscation": ""}


def _deltas(completion: Completion, piece: int) -> Iterator[tuple[dict[str, Any], str | None]]:
    reply = completion.reply
    key = "refusal" if isinstance(reply, Refusal) else "content"
    opening = "" if reply.text is not None else None
    yield {"role": "assistant", "content": None, "refusal": None, key: opening}, None
    for text in _pieces(reply.text or "", piece):
        yield {key: text}, None
    for index, call in enumerate(completion.calls()):
        function = {"name": call["function"]["name"], "arguments": ""}
        yield {"tool_calls": [{"index": index, **call, "function": function}]}, None
        for text in _pieces(call["function"]["arguments"], piece):
            yield {"tool_calls": [{"index": index, "function": {"arguments": text}}]}, None
    yield {}, completion.finish_reason


def _pieces(text: str, size: int) -> Iterator[str]:
    for start in range(0, len(text), size):
        yield text[start : start + size]
