import base64
import json
from typing import Any

import pytest

from agent.engine.errors import BadRequest, MalformedResponse, RateLimited, ServerFailed
from agent.eventstore.messages import (
    Blob,
    FilePart,
    ImagePart,
    OpaquePart,
    ReasoningPart,
    TextPart,
    ToolCallPart,
)
from agent.eventstore.values import Usage
from tests.engine.providers.generate_content.given import (
    ORIGIN,
    body,
    call,
    items,
    response,
    sse,
    stream_parser,
    streamed,
    whole,
    whole_parser,
)
from tests.engine.providers.reading import Read

SIGNED = {"thoughtSignature": "c2ln"}
PNG = base64.b64encode(b"\x89PNG").decode()
PARTS: list[dict[str, Any]] = [
    {"text": "Let me ", "thought": True},
    {"text": "see", "thought": True},
    {"text": "It "},
    {"text": ""},
    {"text": "is"},
    {"text": " so", **SIGNED},
    {"executableCode": {"language": "PYTHON", "code": "1"}, **SIGNED},
    {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
    {"inlineData": {"mimeType": "image/png", "data": PNG}, **SIGNED},
    {"newThing": {"some_key": 1}},
    {"text": "", **SIGNED},
]
JOINED = [
    {"text": "Let me see", "thought": True},
    {"text": "It is"},
    *PARTS[5:],
]


def streams(*parts: Any) -> Read:
    """Each part in an event of its own."""
    events = [response(part, finish=None) for part in parts]
    return streamed(*events[:-1], response(*parts[-1:]))


def test_an_answer_is_the_same_whole_and_streamed() -> None:
    """Neighbours of bare text are one; signatures and what we do not know stay in their places."""
    at_once, in_pieces = whole(*PARTS), streams(*PARTS)
    assert at_once.answer == in_pieces.answer
    assert at_once.answer.message.text == "It is so" == "".join(in_pieces.texts)
    assert at_once.reasoning == "Let me see" == "".join(in_pieces.reasonings)
    kinds = [type(part) for part in at_once.answer.message.parts]
    pictures = [OpaquePart, OpaquePart, ImagePart, OpaquePart, TextPart]
    assert kinds == [ReasoningPart, TextPart, TextPart, *pictures]
    (content,) = items(at_once.answer.message)
    assert content == {"role": "model", "parts": JOINED}


def test_a_long_stream_makes_one_part() -> None:
    """The log does not grow with the number of pieces."""
    read = streams(*({"text": "word "} for _ in range(500)))
    assert read.answer.message.parts == (TextPart("word " * 500),)


def test_calls_decide_what_kind_of_answer_it_is() -> None:
    """The finish reason is STOP all the same; calls have an id only if one was given."""
    read = whole(
        {**call("add", {"a": 1}), **SIGNED},
        {"functionCall": {"name": "add", "id": "x1", "args": {}}},
        {"functionCall": {"name": "now"}},
    )
    assert (read.answer.finish_reason, read.answer.raw_finish_reason) == ("tool_calls", "STOP")
    assert read.calls == [("", "add", '{"a":1}'), ("x1", "add", "{}"), ("", "now", "{}")]
    signed, named, bare = read.answer.message.tool_calls
    assert bare == ToolCallPart("", "now", "{}")
    assert named.opaque is not None
    assert signed.opaque == ORIGIN.opaque({**call("add", {"a": 1}), **SIGNED})


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("MODEL_ARMOR", "content_filter"),
        ("UNEXPECTED_TOOL_CALL", "other"),
        ("MALFORMED_FUNCTION_CALL", "other"),
        ("SOMETHING_NEW", "other"),
    ],
)
def test_a_candidate_may_have_no_parts(reason: str, finish: str) -> None:
    """Then its finish reason is the answer."""
    empty = {"candidates": [{"finishReason": reason}]}
    for read in (whole(finish=reason), Read(whole_parser(), json.dumps(empty).encode())):
        assert read.answer.message.parts == ()
        assert (read.answer.finish_reason, read.answer.raw_finish_reason) == (finish, reason)


@pytest.mark.parametrize("parser", [whole_parser, stream_parser])
def test_a_blocked_prompt_has_no_candidates(parser: Any) -> None:
    """The reason is the answer."""
    blocked = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {}}
    given = json.dumps(blocked).encode()
    if parser is stream_parser:
        given = sse(blocked, {"usageMetadata": {"promptTokenCount": 3}})
    read = Read(parser(), given)
    assert read.answer.finish_reason == "content_filter"
    assert read.answer.raw_finish_reason == "PROHIBITED_CONTENT"


def test_usage_is_that_of_the_last_event() -> None:
    """The prompt includes the cache; tool results belong to the input, thoughts to the output."""
    usage = {
        "promptTokenCount": 20,
        "cachedContentTokenCount": 16,
        "toolUsePromptTokenCount": 4,
        "candidatesTokenCount": 3,
        "thoughtsTokenCount": 5,
    }
    first = response({"text": "a"}, finish=None, usageMetadata={"promptTokenCount": 99})
    read = streamed(first, response({"text": "b"}, usageMetadata=usage))
    assert read.answer.usage == Usage(24, 8, 16, reasoning_tokens=5)
    assert (read.answer.response_id, read.answer.model) == ("r1", "gemini-3-pro")


@pytest.mark.parametrize("parser", [whole_parser, stream_parser])
def test_a_stream_may_come_as_one_list(parser: Any) -> None:
    """As servers send it that were not asked for events."""
    events = [response({"text": "a"}, finish=None), response({"text": "b"})]
    read = Read(parser(), json.dumps(events).encode())
    assert read.answer.message.text == "ab"


@pytest.mark.parametrize(
    "given",
    [
        b"",
        sse(response({"text": "Hel"}, finish=None)),
        sse(response({"text": "Hello"}))[:-40],
        sse({"candidates": []}),
    ],
)
def test_a_stream_without_its_end_is_no_answer(given: bytes) -> None:
    """The finish reason is missing."""
    with pytest.raises(MalformedResponse):
        Read(stream_parser(), given)


@pytest.mark.parametrize(
    "given",
    [b"{}", b'{"candidates":[]}', body(finish=None), body({"functionCall": {"args": {}}})],
)
def test_what_says_nothing_is_no_answer(given: bytes) -> None:
    """Neither parts nor a reason, or a call of nothing."""
    with pytest.raises(MalformedResponse):
        Read(whole_parser(), given)


@pytest.mark.parametrize(
    ("code", "error"), [(429, RateLimited), (503, ServerFailed), (400, BadRequest)]
)
def test_an_error_may_come_inside_a_stream(code: int, error: type[Exception]) -> None:
    """It is what its code says."""
    failed = {"error": {"code": code, "message": "no", "status": "X"}}
    with pytest.raises(error):
        streamed(response({"text": "Hel"}, finish=None), failed)


def test_only_the_first_candidate_was_asked_for() -> None:
    """Others are left out."""
    other = {"index": 1, "content": {"parts": [{"text": "b"}]}, "finishReason": "STOP"}
    both = response({"text": "a"})
    both["candidates"].insert(0, other)
    assert Read(whole_parser(), json.dumps(both).encode()).answer.message.text == "a"


def test_files_of_an_answer() -> None:
    """Images and files are kept by content; what is no base64 is kept as it came."""
    broken = {"inlineData": {"mimeType": "image/png", "data": "?"}}
    named = {"inlineData": {"mimeType": "audio/wav", "data": PNG, "displayName": "x"}}
    message = whole({"inlineData": {"mimeType": "image/png", "data": PNG}}, named, broken)
    image, sound, opaque = message.answer.message.parts
    assert image == ImagePart(Blob.of(b"\x89PNG"), "image/png")
    assert isinstance(sound, FilePart)
    assert isinstance(opaque, OpaquePart)
    assert items(message.answer.message)[0]["parts"][1:] == [named, broken]
