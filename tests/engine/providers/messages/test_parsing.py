import json
from typing import Any

import pytest

from agent.engine.errors import (
    AuthenticationFailed,
    BadRequest,
    MalformedResponse,
    ProviderError,
    QuotaExceeded,
    RateLimited,
    ServerFailed,
)
from agent.eventstore.messages import OpaquePart, ReasoningPart, RefusalPart, TextPart
from agent.eventstore.values import Usage
from tests.engine.providers.messages.given import (
    FOUND,
    SEARCH,
    block_events,
    body,
    event,
    message,
    started,
    stopped,
    stream,
    streamed,
    text,
    thinking,
    tool_use,
    whole,
)


def test_an_answer_whole_and_streamed() -> None:
    """Both give the same message, and the deltas join to it."""
    blocks = (thinking("Let me see"), text("It is "), SEARCH, FOUND, text("sunny"))
    one, two = whole(body(*blocks)), streamed(stream(*blocks))
    assert one.answer.message == two.answer.message
    assert [type(part) for part in one.answer.message.parts] == [
        ReasoningPart,
        TextPart,
        OpaquePart,
        OpaquePart,
        TextPart,
    ]
    for read in (one, two):
        assert "".join(read.texts) == read.answer.message.text == "It is sunny"
        assert "".join(read.reasonings) == read.reasoning == "Let me see"
        assert read.answer.finish_reason == "stop"
        assert (read.answer.model, read.answer.response_id) == ("claude-sonnet-4-5", "msg_1")


def test_calls_whole_and_streamed() -> None:
    """No fragment at all is an empty object."""
    blocks = (tool_use("add", {"a": 1}), tool_use("now", {}, "toolu_2"))
    for read in (whole(body(*blocks, stop="tool_use")), streamed(stream(*blocks, stop="tool_use"))):
        calls = [(id, name, json.loads(arguments)) for id, name, arguments in read.calls]  # noqa: A001 - the protocol's word
        assert calls == [("toolu_1", "add", {"a": 1}), ("toolu_2", "now", {})]
        assert read.answer.finish_reason == "tool_calls"
        assert all(part.opaque is None for part in read.answer.message.parts)


def test_a_block_that_our_parts_say_all_of() -> None:
    """It is not kept a second time; a field of null says nothing."""
    message = whole(body(text("a", citations=None), tool_use("f", {}, caller=None))).answer.message
    assert [part.opaque for part in message.parts] == [None, None]


def test_arguments_that_were_cut() -> None:
    """They are kept as they are written, without a raw item that would not be whole."""
    cut = tool_use("add", {}, caller={"type": "direct"})
    delta = {"type": "input_json_delta", "partial_json": '{"a": '}
    read = streamed(
        started(),
        event("content_block_start", index=0, content_block=cut),
        event("content_block_delta", index=0, delta=delta),
        stopped("max_tokens"),
    )
    (call,) = read.answer.message.tool_calls
    assert (call.arguments, call.opaque) == ('{"a": ', None)


@pytest.mark.parametrize(
    ("raw", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("pause_turn", "paused"),
        ("refusal", "refusal"),
        ("something_new", "other"),
    ],
)
def test_finish_reasons(raw: str, finish: str) -> None:
    """In our words, and in the server's."""
    for read in (whole(body(text("a"), stop=raw)), streamed(stream(text("a"), stop=raw))):
        assert (read.answer.finish_reason, read.answer.raw_finish_reason) == (finish, raw)


def test_a_refusal_says_why() -> None:
    """The explanation is the refusal, if there is one; it is no text."""
    details = {"type": "refusal", "category": "cyber", "explanation": "Policy"}
    for read in (
        whole(body(text("I"), stop="refusal", stop_details=details)),
        streamed(stream(text("I"), stop="refusal", stop_details=details)),
    ):
        assert (read.answer.message.text, read.answer.message.refusal) == ("I", "Policy")
    bare = whole(body(stop="refusal")).answer.message
    assert (bare.refusal, len(bare.parts), type(bare.parts[0])) == ("", 1, RefusalPart)


def test_usage() -> None:
    """The input counts the cache; what the end says replaces what the start said."""
    used = {
        "input_tokens": 10,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 1000,
        "output_tokens": 1,
    }
    last = {
        "output_tokens": 7,
        "input_tokens": None,
        "output_tokens_details": {"thinking_tokens": 4},
    }
    read = streamed(
        event("message_start", message=message(stop=None, usage=used)),
        block_events(0, text("abc")),
        event("message_delta", delta={"stop_reason": "end_turn"}, usage=last),
        event("message_stop"),
    )
    assert read.answer.usage == Usage(1110, 7, 100, 1000, 4)


def test_what_is_not_known_passes() -> None:
    """New events and new deltas say nothing of the message."""
    read = streamed(
        started(),
        event("news", index=0),
        event("content_block_start", index=0, content_block=text("a")),
        event("content_block_delta", index=0, delta={"type": "news_delta", "text": "b"}),
        event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "c"}),
        stopped(),
    )
    assert (read.answer.message.text, read.texts, read.reasonings) == ("a", ["a"], [])


@pytest.mark.parametrize(
    ("error", "cls"),
    [
        ("overloaded_error", ServerFailed),
        ("api_error", ServerFailed),
        ("rate_limit_error", RateLimited),
        ("invalid_request_error", BadRequest),
        ("request_too_large", BadRequest),
        ("authentication_error", AuthenticationFailed),
        ("permission_error", AuthenticationFailed),
        ("billing_error", QuotaExceeded),
    ],
)
def test_an_error_after_the_start(error: str, cls: type[ProviderError]) -> None:
    """It ends the answer, whole or streamed."""
    said = {"type": error, "message": "Words"}
    with pytest.raises(cls, match="Words") as caught:
        streamed(started(), block_events(0, text("abc")), event("error", error=said))
    assert caught.value.type == error
    with pytest.raises(cls, match="Words"):
        whole(json.dumps({"type": "error", "error": said}).encode())


@pytest.mark.parametrize(
    "answer",
    [
        started(),
        started() + block_events(0, text("abc")),
        block_events(0, text("abc")),
        event("message_stop"),
        b"",
    ],
)
def test_a_stream_that_was_cut(answer: bytes) -> None:
    """It is no answer."""
    with pytest.raises(MalformedResponse):
        streamed(answer)


@pytest.mark.parametrize(
    "answer",
    [
        message(stop=None),
        message(stop="tool_use"),
        message(tool_use("", {})),
        {**message(), "content": None},
        {**message(), "content": "text"},
        {"type": "message"},
    ],
)
def test_a_whole_answer_that_is_none(answer: Any) -> None:
    """Nothing is made up."""
    with pytest.raises(MalformedResponse):
        whole(json.dumps(answer).encode())


@pytest.mark.parametrize(
    "said",
    [
        event("content_block_delta", index=0, delta={"type": "text_delta", "text": "a"}),
        event("content_block_start", content_block=text("a")),
        event("content_block_start", index=0),
        block_events(0, text("a")) * 2,
        block_events(0, text("a"))
        + block_events(1, text("b"))
        + event("content_block_delta", index=0, delta={"type": "text_delta", "text": "c"}),
        event("message_start"),
    ],
)
def test_a_stream_that_is_out_of_order(said: bytes) -> None:
    """What would be lost is noticed."""
    with pytest.raises(MalformedResponse):
        streamed(started(), said, stopped())


def test_an_end_without_its_last_event() -> None:
    """The stop reason comes when all is said."""
    delta = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 5})
    assert streamed(started(), block_events(0, text("abc")), delta).answer.message.text == "abc"


def test_a_block_that_the_log_cannot_hold() -> None:
    """An answer that is nested too deep is none."""
    deep = {"type": "unheard_of", "data": json.loads("[" * 150 + "]" * 150)}
    with pytest.raises(MalformedResponse, match="nested deeper"):
        whole(body(deep))
