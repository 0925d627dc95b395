"""A local fake of Gemini's `generateContent`, strict about what it is sent.

It takes nothing that the types of Google's own client do not know, wants every call answered in
the content that follows, by name and as an object, and a signature on the first call of an answer.
"""

import json
import re
from collections import deque
from typing import Any

from google.genai import types

from tests.fakes.chat_server import Request
from tests.fakes.endpoint import Endpoint, Sent

KEY = "AIzaSy0123456789"
SIGNED = "c2lnbmVk"
_PATH = re.compile(
    r"/v1beta/models/gemini-3-(?:pro|flash):(generateContent|streamGenerateContent\?alt=sse)"
)
_TOP = {
    *("contents", "systemInstruction", "tools", "toolConfig", "generationConfig"),
    *("serviceTier", "safetySettings", "cachedContent", "labels"),
}


class Refused(Exception):
    """The API would answer 400, for this reason."""


def check_body(body: dict[str, Any]) -> None:
    """Raise :class:`Refused`, or pydantic's error, for a body that the API does not take."""
    if body.keys() - _TOP:
        raise Refused(f"unknown fields {body.keys() - _TOP}")
    for content in body["contents"]:
        _check_content(content)
    _check_calls(body["contents"])
    if "systemInstruction" in body:
        types.Content.model_validate(body["systemInstruction"])
    if "generationConfig" in body:
        types.GenerationConfig.model_validate(body["generationConfig"])
    if "toolConfig" in body:
        types.ToolConfig.model_validate(body["toolConfig"])
    for tool in body.get("tools", ()):
        types.Tool.model_validate(tool)


def _check_content(content: dict[str, Any]) -> None:
    types.Content.model_validate(content)
    if content["role"] not in ("user", "model") or not content["parts"]:
        raise Refused("a content needs a role and parts")
    for part in content["parts"]:
        if len(part.keys() - {"thought", "thoughtSignature"}) != 1:
            raise Refused(f"a part holds one thing, not {list(part)}")


def _check_calls(contents: list[dict[str, Any]]) -> None:
    open_calls: list[dict[str, Any]] = []
    for content in contents:
        results = _of(content, "functionResponse")
        if [call["name"] for call in open_calls] != [result["name"] for result in results]:
            raise Refused("function responses must be those of the calls before")
        for call, result in zip(open_calls, results, strict=True):
            if call.get("id") != result.get("id") or not isinstance(result["response"], dict):
                raise Refused("a function response has the id of its call, and an object")
        open_calls = _of(content, "functionCall")
        signed = [part for part in content["parts"] if "functionCall" in part]
        if signed and "thoughtSignature" not in signed[0]:
            raise Refused("Function call is missing a thought_signature in functionCall parts")
    if open_calls:
        raise Refused("calls without responses")


def _of(content: dict[str, Any], key: str) -> list[dict[str, Any]]:
    return [part[key] for part in content["parts"] if key in part]


def error(status: int, words: str, name: str = "INVALID_ARGUMENT", *details: Any) -> Sent:
    """An error in the API's shape."""
    said = {"code": status, "message": words, "status": name, "details": list(details)}
    return Sent(status, [json.dumps({"error": said}).encode()])


class GeminiServer(Endpoint):
    """Answers with scripted parts; without any, repeats what it was told."""

    def __init__(self) -> None:
        super().__init__(self._reply)
        self.script: deque[list[dict[str, Any]] | Sent] = deque()

    @property
    def base_url(self) -> str:
        """The address to give to a client."""
        return f"{self.url}/v1beta"

    def _reply(self, request: Request) -> Sent:
        if not _PATH.fullmatch(request.path):
            return error(404, f"no {request.path}", "NOT_FOUND")
        if request.headers.get("x-goog-api-key") != KEY:
            reason = {"reason": "API_KEY_INVALID"}
            return error(400, "API key not valid", "INVALID_ARGUMENT", reason)
        try:
            check_body(request.json)
        except (Refused, ValueError) as reason:
            return error(400, str(reason))
        scripted = self.script.popleft() if self.script else _echo(request.json)
        if isinstance(scripted, Sent):
            return scripted
        return _answer(scripted, stream="stream" in request.path)


def _echo(body: dict[str, Any]) -> list[dict[str, Any]]:
    said = "".join(part.get("text", "") for part in body["contents"][-1]["parts"])
    words = f"I see {len(body['contents'])} contents. You said: {said}"
    return [{"text": words}, {"text": "", "thoughtSignature": SIGNED}]


def _answer(parts: list[dict[str, Any]], *, stream: bool) -> Sent:
    if not stream:
        return Sent(200, [json.dumps(_response(parts, "STOP")).encode()])
    pieces = [piece for part in parts for piece in _pieces(part)]
    events = [_response([piece], None) for piece in pieces[:-1]]
    events.append(_response(pieces[-1:], "STOP"))
    sent = [b"data: " + json.dumps(event).encode() + b"\r\n\r\n" for event in events]
    return Sent(200, sent, "text/event-stream")


def _pieces(part: dict[str, Any]) -> list[dict[str, Any]]:
    """Text comes in many parts, whatever bears a signature in one."""
    if "text" not in part or "thoughtSignature" in part:
        return [part]
    return [{**part, "text": part["text"][i : i + 9]} for i in range(0, len(part["text"]), 9)]


def _response(parts: list[dict[str, Any]], finish: str | None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    usage = {"promptTokenCount": 20, "candidatesTokenCount": 5, "thoughtsTokenCount": 2}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-3-pro"}
