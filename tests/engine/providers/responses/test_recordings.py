"""Responses as real servers speak it."""

import json
from collections import Counter
from typing import Any

import msgspec
import pytest

from agent.engine.errors import InvalidPrompt
from agent.engine.provider import Answer
from agent.engine.providers.responses.api import Responses
from agent.engine.providers.vendors import OPENAI_RESPONSES
from agent.eventstore.messages import Message, ReasoningPart
from agent.eventstore.rawjson import from_raw
from tests.engine.providers.given import body_of, prompt
from tests.engine.providers.recordings import (
    Pairs,
    Record,
    answer_pairs,
    check_recordings,
    needs_recordings,
    outcome,
    reads,
    recordings,
)
from tests.engine.providers.responses.given import ORIGIN, stream_parser, whole_parser

pytestmark = needs_recordings

Item = dict[str, Any]


def provider(record: Record) -> Responses:
    """Us, where the recording was made."""
    return Responses(OPENAI_RESPONSES, base_url=f"https://{record['request']['host']}/v1")


parser = reads(stream_parser, whole_parser)


def has_summary(message: Message) -> bool:
    """Whether reasoning was summed up: the oracle sees no other."""
    opaque = [part.opaque for part in message.parts if isinstance(part, ReasoningPart)]
    return any(from_raw(one.data).get("summary") for one in opaque if one)


def without_reasoning(message: Message) -> Message:
    """The rest of an answer."""
    parts = tuple(part for part in message.parts if not isinstance(part, ReasoningPart))
    return Message(message.role, parts)


def compared(found: Answer, expected: Record) -> Pairs:
    """Everything that the oracle says."""
    used = expected.get("usage") or {}
    if not expected["reasoning"] and not has_summary(found.message):
        found = msgspec.structs.replace(found, message=without_reasoning(found.message))
    said = {**expected, "finish_reason": expected["incomplete_reason"] or expected["finish_reason"]}
    return [
        *answer_pairs(found, said),
        ("refusal", found.message.refusal, expected.get("refusal")),
        ("input", found.usage.input_tokens, used.get("input")),
        ("output", found.usage.output_tokens, used.get("output")),
        ("cached", found.usage.cached_tokens, used.get("cached_input")),
        ("reasoned", found.usage.reasoning_tokens, used.get("reasoning")),
    ]


@pytest.mark.parametrize("cuts", [0, 1, 40, 2000])
def test_we_read_recordings_as_the_vendor_does(cuts: int) -> None:
    """Whole and cut at random bytes: text, calls, usage and errors are what its SDK sees."""
    check_recordings("responses", cuts, parser, compared, {})


def output_of(record: Record) -> list[Item]:
    """The items of a recorded response."""
    body = record["response"]["body"]
    if not record["stream"]:
        return json.loads(body)["output"]
    events = [json.loads(line[5:]) for line in body.splitlines() if line.startswith("data:")]
    (last,) = [event["response"] for event in events if event["type"] == "response.completed"]
    return last["output"]


def items(us: Responses, message: Message) -> list[Item]:
    """The items that a message is on the wire."""
    return body_of(us, [message], prompt(ORIGIN.model))["input"]


def readable(us: Responses, items: list[Item]) -> bool:
    """Whether all reasoning can be read again, and led to something."""
    plain = us.dialect.plain_reasoning
    return all(
        item.get("encrypted_content") or (plain and item.get("content"))
        for item in items
        if item["type"] == "reasoning"
    ) and (not items or items[-1]["type"] != "reasoning")


def test_answers_go_back_as_they_came() -> None:
    """Every item of an answer, whole or streamed, is in the next request what it was."""
    seen = Counter[str]()
    for record, expected in recordings("responses"):
        if expected is None or expected["kind"] != "ok":
            continue
        found = outcome(record, parser(record), [])
        assert isinstance(found, Answer)
        us, output = provider(record), output_of(record)
        sent = items(us, found.message)
        if readable(us, output):
            assert sent == output
            seen.update(item["type"] for item in output)
            continue
        seen["unreadable"] += 1
        assert readable(us, sent)
    assert seen["message"] > 100
    assert seen["reasoning"] > 50
    assert seen["function_call"] > 50
    assert seen["unreadable"] < 15


# Requests


def pieces(content: Any) -> list[Item]:
    """Content as pieces, neighbouring texts joined."""
    listed = [{"type": "text", "text": content}] if isinstance(content, str) else content
    joined: list[Item] = []
    for one in listed:
        piece = dict(one)
        if piece["type"] in ("input_text", "output_text"):
            piece["type"] = "text"
        if piece.get("annotations") == []:
            del piece["annotations"]
        plain = piece.keys() == {"type", "text"}
        if plain and joined and joined[-1].keys() == {"type", "text"}:
            joined[-1]["text"] += piece["text"]
        elif not plain or piece["text"]:
            joined.append(piece)
    return joined


def meaning(item: Item) -> Item:
    """An item without what may be said in two ways."""
    item = {key: value for key, value in item.items() if value is not None}
    if "role" in item and "content" in item:
        item["type"] = "message"
        item["content"] = pieces(item["content"])
    elif "output" in item:
        item["output"] = pieces(item["output"])
    return item


def request_of(record: Record) -> Item:
    """The body of a recorded request."""
    body = record["request"]["body"]
    return json.loads(body) if isinstance(body, str) else body


def given(body: Item) -> tuple[str, list[Item]]:
    """The system prompt and the items of a request."""
    listed = body["input"]
    if isinstance(listed, str):
        listed = [{"role": "user", "content": listed}]
    system = [body.get("instructions") or ""]
    while listed and listed[0].get("role") in ("system", "developer") and "content" in listed[0]:
        system.append(listed[0]["content"])
        listed = listed[1:]
    items = [meaning(item) for item in listed]
    return "\n\n".join(filter(None, system)), [item for item in items if not is_empty(item)]


def is_empty(item: Item) -> bool:
    """Whether an answer says nothing: we leave it out."""
    return item.get("role") == "assistant" and not item.get("content", True)


def test_requests_are_read_and_written_back() -> None:
    """What a request says of its conversation is what we would say."""
    seen = Counter[str]()
    for record, _ in recordings("responses"):
        us, body = provider(record), request_of(record)
        if body.get("previous_response_id") or body.get("conversation"):
            with pytest.raises(InvalidPrompt, match="the server keeps the history"):
                us.read_body(body, ORIGIN)
            seen["kept at the server"] += 1
            continue
        transcript = us.read_body(body, ORIGIN)
        system, expected = given(body)
        asked = prompt(ORIGIN.model, system=transcript.system)
        sent = body_of(us, transcript.messages, asked)
        assert (sent.get("instructions") or "") == system
        assert [meaning(item) for item in sent["input"]] == expected
        seen["read"] += 1
    assert seen["read"] > 200
    assert seen["kept at the server"] < 20
