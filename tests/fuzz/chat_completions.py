"""What a body of Chat Completions is, for the fuzzer."""

import json
import re
from functools import partial
from typing import Any

from tests.engine.providers.chat_completions.given import items, stream_parser, whole_parser
from tests.fuzz.bodies import Body, events_of
from tests.fuzz.corpus import STREAMS, WHOLES


def strict_text(body: bytes, *, stream: bool) -> str | None:
    """The text of an answer that keeps to the protocol, None for any other."""
    said: list[str] = []
    try:
        if not stream:
            return _content(json.loads(body), "message")
        for kind, data in events_of(body):
            if data == "[DONE]":
                return "".join(said)
            said.append(_content(json.loads(data), "delta"))
            if kind != "message":
                return None
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return None
    return None


def _content(value: Any, key: str) -> str:
    (choice,) = value["choices"]
    content = choice[key]["content"]
    if choice.get("index", 0) != 0 or not isinstance(content, str):
        raise TypeError
    return re.sub("[\ud800-\udfff]", "\ufffd", content)


STREAM = Body(stream_parser, items, STREAMS, partial(strict_text, stream=True), "tool_calls")
WHOLE = Body(whole_parser, items, WHOLES, partial(strict_text, stream=False), "tool_calls")
