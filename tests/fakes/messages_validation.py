"""What Anthropic's API checks of a request: the shape by the SDK's own types, and the pairing."""

import re
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError, with_config

SAMPLING = {"temperature": (0, 1), "top_p": (0, 1), "top_k": (0, 500)}
"""The types are of a later version of the API, which has dropped these."""
ID = re.compile(r"[a-zA-Z0-9_-]+")


class Refused(Exception):
    """The API would answer 400."""


@cache
def _shapes() -> dict[bool, TypeAdapter[Any]]:
    """By whether a stream is asked for."""
    from anthropic.types import message_create_params as params

    plain = with_config({"extra": "forbid", "arbitrary_types_allowed": True})
    return {
        True: TypeAdapter(plain(params.MessageCreateParamsStreaming)),
        False: TypeAdapter(plain(params.MessageCreateParamsNonStreaming)),
    }


def check_body(body: Any) -> None:
    """Raise :class:`Refused` for a body that the API would refuse."""
    for name, (least, most) in SAMPLING.items():
        if not least <= body.get(name, least) <= most:
            raise Refused(f"{name}: out of range")
    body = {key: value for key, value in body.items() if key not in SAMPLING}
    try:
        _read_through(_shapes()["stream" in body].validate_python(body))
    except ValidationError as error:
        raise Refused(str(error)) from error
    check_pairing(body["messages"])
    budget = body.get("thinking", {}).get("budget_tokens", 0)
    if budget >= body["max_tokens"]:
        raise Refused("max_tokens must be greater than thinking.budget_tokens")


def _read_through(value: Any) -> None:
    """What the types call iterable is validated only when it is read."""
    if isinstance(value, str | bytes | int | float | None):
        return
    for inner in value.values() if isinstance(value, dict) else value:
        _read_through(inner)


def check_pairing(messages: list[Any]) -> None:
    """Each call is answered first thing in the next message of the user; no text is blank."""
    if not messages:
        raise Refused("messages: at least one message is required")
    waiting: list[str] = []
    for message in messages:
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if not blocks:
            raise Refused("content: at least one block is required")
        _check_text(blocks)
        results = [one["tool_use_id"] for one in blocks if one["type"] == "tool_result"]
        if sorted(results) != sorted(waiting):
            raise Refused(f"tool_use ids {waiting} are answered by {results}")
        if any(one["type"] != "tool_result" for one in blocks[: len(results)]):
            raise Refused("tool_result blocks come first")
        waiting = [one["id"] for one in blocks if one["type"] == "tool_use"]
        if waiting and message["role"] != "assistant":
            raise Refused("tool_use blocks can only be in assistant messages")
        if not all(ID.fullmatch(call) for call in waiting):
            raise Refused("tool_use.id: String should match pattern")
    if waiting:
        raise Refused(f"tool_use ids {waiting} are without tool_result")


def _check_text(blocks: list[Any]) -> None:
    for block in blocks:
        if block["type"] == "text" and not block["text"].strip():
            raise Refused("text content blocks must contain non-whitespace text")
        if block["type"] == "tool_result" and not isinstance(block.get("content", ""), str):
            _check_text(block["content"])
        if block.get("is_error") and not block.get("content"):
            raise Refused("content cannot be empty if is_error is true")
