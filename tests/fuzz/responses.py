"""What a body of Responses is, for the fuzzer, and what its cases begin with."""

import json
import re
from collections.abc import Iterator
from typing import Any

from agent.engine.provider import MessageContext
from agent.engine.providers.responses.encoding import encode_message
from agent.engine.providers.vendors import OPENAI_RESPONSES
from agent.eventstore.messages import Message
from tests.engine.providers.responses.given import (
    ORIGIN,
    call,
    delta,
    done,
    end,
    event,
    reasoning,
    refusal,
    response,
    searched,
    stream_parser,
    text,
    thought,
    whole_parser,
)
from tests.fuzz.bodies import Body, events_of
from tests.fuzz.corpus import WORDS

USAGE = {
    "input_tokens": 20,
    "input_tokens_details": {"cached_tokens": 16},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 5},
}
CREATED = event("response.created", response=response(status="in_progress"))
THOUGHT = [{"type": "reasoning_text", "text": "Hm"}]

STREAMS = (
    b"".join(
        (CREATED, delta("Hel"), delta("lo"), done(text("Hello")), end(text("Hello"), usage=USAGE))
    ),
    b"".join((*(delta(piece) for piece in WORDS), end(text(WORDS)))),
    b"".join(
        (
            CREATED,
            thought("Hm"),
            thought("So", summary_index=1),
            done(reasoning("Hm", "So")),
            done(searched(), 1),
            delta("a", output_index=2),
            delta("b", output_index=3),
            end(reasoning("Hm", "So"), searched(), text("a"), text("b"), call("add", '{"a": 1}')),
        )
    ),
    event("response.reasoning_text.delta", delta="Hm") + end(reasoning(content=THOUGHT), text("a")),
    done(reasoning()) + done(call("add", '{"a": 1, "b": 2}'), 1) + end(),
    delta("a") + end(),
    delta("cut")
    + end(text("cut"), kind="incomplete", incomplete_details={"reason": "max_output_tokens"}),
    end(refusal("I cannot"), input_transformations=[{"id": "rs_0"}]),
    delta("a") + end(kind="failed", error={"code": "server_error", "message": "m"}),
    CREATED + event("error", code="rate_limit_exceeded", message="slow down"),
    json.dumps(response(text("whole, though a stream was asked for"))).encode(),
)
WHOLES = tuple(
    json.dumps(body).encode()
    for body in (
        response(text("Hello"), usage=USAGE),
        response(reasoning("Hm", "So"), searched(), text(WORDS, "b"), refusal("no")),
        response(reasoning(), call("add", '{"a": 1}'), call("look_up", {"a": 1}, call_id="")),
        response(text("a"), status="incomplete", incomplete_details={"reason": "content_filter"}),
        response(status="queued"),
        response(status="failed", error={"code": "invalid_prompt", "message": "m"}),
        {"error": {"message": "No such model", "type": "invalid_request_error"}},
    )
)


def items(message: Message) -> list[Any]:
    """The items that a message becomes in the next request."""
    context = MessageContext(ORIGIN.model)
    encoded = encode_message(message, context, ORIGIN, OPENAI_RESPONSES.dialect)
    return [json.loads(item) for item in encoded]


def strict_stream(body: bytes) -> str | None:
    """The text in the last event of a stream."""
    try:
        for kind, data in events_of(body):
            event = json.loads(data)
            if kind != event["type"] or "error" in event:
                return None
            if kind in ("response.completed", "response.incomplete"):
                return _said(event["response"]) or None
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return None
    return None


def strict_whole(body: bytes) -> str | None:
    """The text of a response."""
    try:
        return _said(json.loads(body)) or None
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return None


def _said(value: Any) -> str:
    return re.sub("[\ud800-\udfff]", "\ufffd", "".join(_texts(value)))


def _texts(value: Any) -> Iterator[str]:
    for item in value["output"]:
        if not isinstance(item["type"], str):
            raise TypeError
        if item["type"] == "message":
            for piece in item["content"]:
                if piece["type"] == "output_text":
                    yield piece["text"]


STREAM = Body(stream_parser, items, STREAMS, strict_stream)
WHOLE = Body(whole_parser, items, WHOLES, strict_whole)
