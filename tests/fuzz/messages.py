"""What a body of Anthropic's protocol is, for the fuzzer."""

import json
import re
from functools import partial

from tests.engine.providers.messages.given import (
    CITATION,
    COMPACTED,
    FOUND,
    REDACTED,
    SEARCH,
    body,
    event,
    sent,
    started,
    stream,
    stream_parser,
    text,
    thinking,
    tool_use,
    whole_parser,
)
from tests.fuzz.bodies import Body, events_of
from tests.fuzz.corpus import WORDS

BLOCKS = (
    (text("Hi"),),
    (text(WORDS), text(" And so on", citations=[CITATION])),
    (thinking("Let me see"), tool_use("add", {"a": 1, "b": 2})),
    (
        REDACTED,
        tool_use("add", {}, caller={"type": "direct"}),
        tool_use("look_up", {"key": "Zo\u00eb"}, "toolu_2"),
    ),
    (text("Look:"), SEARCH, FOUND, COMPACTED),
)
STREAMS = (
    *(stream(*blocks) for blocks in BLOCKS),
    stream(text("cut"), stop="max_tokens"),
    stream(text("I"), stop="refusal", stop_details={"explanation": "Policy"}),
    started() + event("error", error={"type": "overloaded_error"}),
    body(text("whole, though a stream was asked for")),
)
WHOLES = (
    *(body(*blocks) for blocks in BLOCKS),
    body(stop="refusal"),
    body(SEARCH, stop="pause_turn"),
    b'{"type":"error","error":{"type":"invalid_request_error","message":"No such model"}}',
)


def strict_text(body: bytes, *, streamed: bool) -> str | None:
    """The text of an answer that keeps to the protocol, None for any other."""
    try:
        said = _streamed(body) if streamed else _whole(body)
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return None
    return None if said is None else re.sub("[\ud800-\udfff]", "\ufffd", said)


def _whole(body: bytes) -> str:
    blocks = json.loads(body)["content"]
    return "".join(block["text"] for block in blocks if block["type"] == "text")


def _streamed(body: bytes) -> str | None:
    said: dict[int, list[str]] = {}
    for place, (_, data) in enumerate(events_of(body)):
        event = json.loads(data)
        if not event["type"].strip() or (event["type"] == "message_start") != (place == 0):
            return None
        match event["type"]:
            case "content_block_start" if event["content_block"]["type"] == "text":
                said[event["index"]] = [event["content_block"]["text"]]
            case "content_block_delta" if event["delta"]["type"] == "text_delta":
                said[event["index"]].append(event["delta"]["text"])
            case "message_stop":
                return "".join(text for one in said.values() for text in one)
            case _:
                pass
    return None


STREAM = Body(stream_parser, sent, STREAMS, partial(strict_text, streamed=True), calling="tool_use")
WHOLE = Body(whole_parser, sent, WHOLES, partial(strict_text, streamed=False), calling="tool_use")
