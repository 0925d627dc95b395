"""Streams as vendors send them: an answer of so many deltas, of text or of one call's arguments."""

from __future__ import annotations

from typing import Any

import msgspec

Event = dict[str, Any]


def sse(event: Event, kind: str = "") -> bytes:
    """A server-sent event."""
    named = f"event: {kind}\n".encode() if kind else b""
    return named + b"data: " + msgspec.json.encode(event) + b"\n\n"


def words(count: int) -> list[str]:
    """Pieces of a text."""
    return [f" word{number}" for number in range(count)]


def arguments(count: int) -> list[str]:
    """Pieces of the JSON text of a call's arguments."""
    return ['{"text": "', *words(count - 2), '"}']


def chat_text(count: int) -> bytes:
    """Chat Completions, text."""
    return _chat([{"content": word} for word in words(count)], "stop")


def chat_call(count: int) -> bytes:
    """Chat Completions, a call."""
    first: Event = {"index": 0, "id": "call_1", "type": "function"}
    begun = {"tool_calls": [{**first, "function": {"name": "write", "arguments": ""}}]}
    pieces = (
        {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]}
        for piece in arguments(count)
    )
    return _chat([begun, *pieces], "tool_calls")


def _chat(deltas: list[Event], finish: str) -> bytes:
    def chunk(delta: Event, reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return sse(
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

    return b"".join((*map(chunk, deltas), chunk({}, finish), b"data: [DONE]\n\n"))


def responses_text(count: int) -> bytes:
    """Responses, text."""
    said = "".join(words(count))
    part: Event = {"type": "output_text", "text": said, "annotations": [], "logprobs": []}
    item: Event = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed"}
    place: Event = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    inner: list[Event] = [
        {"type": "response.content_part.added", **place, "part": {**part, "text": ""}},
        *(
            {"type": "response.output_text.delta", **place, "delta": word, "logprobs": []}
            for word in words(count)
        ),
        {"type": "response.output_text.done", **place, "text": said, "logprobs": []},
        {"type": "response.content_part.done", **place, "part": part},
    ]
    return _responses({**item, "content": []}, inner, {**item, "content": [part]})


def responses_call(count: int) -> bytes:
    """Responses, a call."""
    item: Event = {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "write"}
    place: Event = {"item_id": "fc_1", "output_index": 0}
    whole = "".join(arguments(count))
    inner: list[Event] = [
        *(
            {"type": "response.function_call_arguments.delta", **place, "delta": piece}
            for piece in arguments(count)
        ),
        {"type": "response.function_call_arguments.done", **place, "arguments": whole},
    ]
    done = {**item, "arguments": whole, "status": "completed"}
    return _responses({**item, "arguments": ""}, inner, done)


def _responses(begun: Event, inner: list[Event], done: Event) -> bytes:
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
    completed = {**response, "status": "completed", "output": [done]}
    events: list[Event] = [
        {"type": "response.created", "response": {**response, "status": "in_progress"}},
        {
            "type": "response.output_item.added",
            "output_index": 0,
            "item": {**begun, "status": "in_progress"},
        },
        *inner,
        {"type": "response.output_item.done", "output_index": 0, "item": done},
        {"type": "response.completed", "response": completed},
    ]
    numbered = ({**event, "sequence_number": number} for number, event in enumerate(events))
    return b"".join(sse(event, event["type"]) for event in numbered)


def messages_text(count: int) -> bytes:
    """Messages, text."""
    deltas: list[Event] = [{"type": "text_delta", "text": word} for word in words(count)]
    return _messages({"type": "text", "text": ""}, deltas, "end_turn")


def messages_call(count: int) -> bytes:
    """Messages, a call."""
    block: Event = {"type": "tool_use", "id": "toolu_1", "name": "write", "input": {}}
    deltas: list[Event] = [
        {"type": "input_json_delta", "partial_json": piece} for piece in arguments(count)
    ]
    return _messages(block, deltas, "tool_use")


def _messages(block: Event, deltas: list[Event], reason: str) -> bytes:
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
    ended: Event = {"stop_reason": reason, "stop_sequence": None}
    events: list[Event] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": block},
        *({"type": "content_block_delta", "index": 0, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": ended, "usage": {"output_tokens": len(deltas)}},
        {"type": "message_stop"},
    ]
    return b"".join(sse(event, event["type"]) for event in events)


def gemini_text(count: int) -> bytes:
    """Gemini, text: its calls come whole, in one event."""

    def event(text: str, **more: str) -> bytes:
        content = {"parts": [{"text": text}], "role": "model"}
        return sse(
            {
                "candidates": [{"content": content, "index": 0, **more}],
                "usageMetadata": {"promptTokenCount": 10, "totalTokenCount": 10},
                "modelVersion": "gemini-3-pro",
                "responseId": "J3dHapyWENS3g8UPyrefuAE",
            }
        )

    return b"".join((*map(event, words(count)), event(".", finishReason="STOP")))
