"""A local fake of Ollama's `/api/chat`, which takes nothing that Ollama's own client cannot say."""

import base64
import json
from collections import deque
from typing import Any

import ollama

from tests.fakes.chat_server import Request
from tests.fakes.endpoint import Endpoint, Sent

_TOP = {"model", "messages", "stream", "tools", "format", "think", "options", "keep_alive"}
_MESSAGE = {"role", "content", "images", "thinking", "tool_calls", "tool_name", "tool_call_id"}


def check_body(body: dict[str, Any]) -> None:
    """Raise ``ValueError`` for a body that the API does not take, or would not heed."""
    if body.keys() - _TOP:
        raise ValueError(f"unknown fields {body.keys() - _TOP}")
    for message in body["messages"]:
        if message.keys() - _MESSAGE or message["role"] not in _ROLES:
            raise ValueError(f"not a message: {message}")
        for image in message.get("images", ()):
            base64.b64decode(image, validate=True)
        ollama.Message.model_validate({**message, "images": None})
    for tool in body.get("tools", ()):
        ollama.Tool.model_validate(tool)
    options = body.get("options", {})
    if options.keys() - ollama.Options.model_fields.keys():
        raise ValueError(f"unknown options {options}")
    ollama.Options.model_validate(options, strict=True)
    think = body.get("think", True)
    if not isinstance(think, bool) and think not in ("low", "medium", "high", "max"):
        raise ValueError(f"invalid think {think!r}")


MODELS = ("llama3.2", "qwen3")
_ROLES = ("system", "user", "assistant", "tool")


class OllamaServer(Endpoint):
    """Answers with scripted messages; without any, repeats what it was told."""

    def __init__(self) -> None:
        super().__init__(self._reply)
        self.script: deque[dict[str, Any] | Sent] = deque()

    def _reply(self, request: Request) -> Sent:
        try:
            check_body(request.json)
        except ValueError as reason:
            return Sent(400, [json.dumps({"error": str(reason)}).encode()])
        if request.json["model"] not in MODELS:
            return Sent(404, [b'{"error":"model not found"}'])
        scripted = self.script.popleft() if self.script else _echo(request.json)
        if isinstance(scripted, Sent):
            return scripted
        said = _pieces(scripted) if request.json["stream"] else [scripted]
        messages = [{"role": "assistant", "content": "", **piece} for piece in said]
        lines = [{"model": "llama3.2", "message": one, "done": False} for one in messages]
        lines[-1] |= {"done": True, "done_reason": "stop"}
        lines[-1] |= {"prompt_eval_count": 20, "eval_count": 3}
        sent = [json.dumps(line).encode() + b"\n" for line in lines]
        return Sent(200, sent, "application/x-ndjson")


def _echo(body: dict[str, Any]) -> dict[str, Any]:
    said = body["messages"][-1]["content"]
    return {"content": f"I see {len(body['messages'])} messages. You said: {said}"}


def _pieces(message: dict[str, Any]) -> list[dict[str, Any]]:
    texts = [
        {key: message[key][start : start + 7]}
        for key in ("thinking", "content")
        for start in range(0, len(message.get(key, "")), 7)
    ]
    calls = [{"tool_calls": [call]} for call in message.get("tool_calls", ())]
    return [*texts, *calls, {}]
