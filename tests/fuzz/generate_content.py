"""What a body of Gemini's protocol is, for the fuzzer."""

import json
from typing import Any

from tests.engine.providers.generate_content.given import (
    body,
    call,
    items,
    response,
    sse,
    stream_parser,
    whole_parser,
)
from tests.fuzz.bodies import Body
from tests.fuzz.corpus import WORDS

_SIGNED = {"thoughtSignature": "c2lnbmVk"}
_USAGE = {
    "promptTokenCount": 20,
    "cachedContentTokenCount": 16,
    "candidatesTokenCount": 3,
    "thoughtsTokenCount": 5,
    "toolUsePromptTokenCount": 1,
}
_RAN: list[dict[str, Any]] = [
    {"executableCode": {"language": "PYTHON", "code": "1", "id": "x"}, **_SIGNED},
    {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
    {"toolCall": {"id": "t", "toolType": "GOOGLE_SEARCH_WEB"}, **_SIGNED},
]
_DRAWN = {"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}, **_SIGNED}


def _stream(*parts: Any, **more: Any) -> bytes:
    events = [response(part, finish=None) for part in parts]
    return sse(*events, response(usageMetadata=_USAGE, **more))


STREAMS = (
    _stream({"text": "Hi"}, {"text": ""}),
    _stream(*({"text": word} for word in WORDS.split(" ")), {"text": "", **_SIGNED}),
    _stream({"text": "Let me ", "thought": True}, {"text": "see", "thought": True}, {"text": "x"}),
    _stream({**call("add", {"a": 1, "b": [2]}), **_SIGNED}, call("look_up", {"key": "Zo\xeb"})),
    _stream({"functionCall": {"name": "add", "id": "x"}}, finish="MAX_TOKENS"),
    _stream(*_RAN, {"text": "1"}, _DRAWN, {"newThing": [1]}),
    sse({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": _USAGE}),
    sse({"candidates": [{"finishReason": "SAFETY", "index": 0}]}),
    sse(response({"text": "a"}, finish=None), {"error": {"code": 503, "message": "overloaded"}}),
    json.dumps([response({"text": "a"}, finish=None), response({"text": "b"})]).encode(),
    body({"text": "whole, though a stream was asked for"}),
)

WHOLES = (
    body({"text": "Hello"}, usageMetadata=_USAGE),
    body({"text": "Hm", "thought": True, **_SIGNED}, {"text": WORDS}, {"text": "", **_SIGNED}),
    body({**call("add", {"a": 1}), **_SIGNED}, {"functionCall": {"name": "now"}}),
    body(*_RAN, _DRAWN, {"fileData": {"fileUri": "gs://a", "mimeType": "image/png"}}),
    body(finish="MALFORMED_FUNCTION_CALL", usageMetadata=_USAGE),
    STREAMS[-2],
    b'{"candidates":[{"content":{"parts":[{"text":"\\ud83c"}]}}]}',
    b'{"error":{"code":429,"message":"slow down","status":"RESOURCE_EXHAUSTED"}}',
    b'{"promptFeedback":{"blockReason":"OTHER"}}',
    b'{"candidates":[],"usageMetadata":{"promptTokenCount":1.0}}',
)

STREAM = Body(stream_parser, items, STREAMS)
WHOLE = Body(whole_parser, items, WHOLES)
