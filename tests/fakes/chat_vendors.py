"""How vendors other than OpenAI take requests: the manners of a :class:`ChatServer`."""

import re
from typing import Any

from tests.fakes.chat_validation import ApiError

Body = dict[str, Any]
ANSWERED = ("role", "content", "name", "refusal", "audio", "tool_calls")
"""What OpenAI takes back of an answer."""


def openly(body: Body) -> Body:
    """Answers come back in whatever words they were given."""
    return {**body, "messages": [_plainer(message) for message in body["messages"]]}


def _plainer(message: Body) -> Body:
    if message.get("role") != "assistant":
        return message
    plain = {key: value for key, value in message.items() if key in ANSWERED}
    if isinstance(plain.get("content"), list):
        texts = [item for item in plain["content"] if item.get("type") == "text"]
        said = [text for item in texts if isinstance(text := item.get("text"), str)]
        plain["content"] = "".join(said) or None
        if not plain.get("tool_calls"):
            plain["content"] = plain["content"] or ""
    if "tool_calls" in plain:
        plain["tool_calls"] = [_plain_call(call) for call in plain["tool_calls"]]
    return plain


def _plain_call(call: Body) -> Body:
    function = call["function"]
    said = {"name": function["name"], "arguments": function["arguments"]}
    return {"id": call["id"], "type": "function", "function": said}


def mistral(body: Body) -> Body:
    """No unknown field; ids of nine letters and digits."""
    for name in ("stream_options", "max_completion_tokens", "seed"):
        _refuse(name in body, f"Extra inputs are not permitted: {name}")
    ids = [call["id"] for message in body["messages"] for call in message.get("tool_calls", [])]
    for call_id in ids:
        bad = not re.fullmatch("[a-zA-Z0-9]{9}", call_id)
        _refuse(bad, f"Tool call id was {call_id} but must be a-z, A-Z, 0-9, with a length of 9.")
    for message in body["messages"]:
        unknown = message.keys() - {"role", "content", "tool_calls", "tool_call_id", "prefix"}
        _refuse(bool(unknown), f"Extra inputs are not permitted: {unknown}")
    seed = {"seed": body["random_seed"]} if "random_seed" in body else {}
    return openly({key: v for key, v in body.items() if key != "random_seed"} | seed)


def deepseek(body: Body) -> Body:
    """Reasoning comes back; no schema, but JSON."""
    _older(body)
    for message in body["messages"]:
        lacks = "tool_calls" in message and "reasoning_content" not in message
        _refuse(lacks, "The reasoning_content in the thinking mode must be passed back to the API.")
    return _no_schema(body)


def zai(body: Body) -> Body:
    """No schema, but JSON."""
    _older(body)
    return _no_schema(body)


def newer(body: Body) -> Body:
    """The newer name of the token limit."""
    _refuse("max_tokens" in body, "max_tokens is deprecated")
    return openly(body)


def older(body: Body) -> Body:
    """The older name of the token limit, and `top_k`."""
    _older(body)
    return openly({key: value for key, value in body.items() if key != "top_k"})


def _older(body: Body) -> None:
    _refuse("max_completion_tokens" in body, "max_completion_tokens is unknown")


def _no_schema(body: Body) -> Body:
    kind = body.get("response_format", {}).get("type")
    _refuse(kind == "json_schema", "This response_format type is unavailable now")
    if kind == "json_object":
        last = body["messages"][-1]
        told = last["role"] == "system" and "JSON Schema" in last["content"]
        _refuse(not told, "nobody has said what JSON is wanted")
    return openly(body)


def _refuse(wrong: bool, words: str) -> None:
    if wrong:
        raise ApiError(words)
