import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.engine.errors import (
    BadRequest,
    MalformedResponse,
    ProviderError,
    QuotaExceeded,
    RateLimited,
    ServerFailed,
)
from agent.engine.provider import Answer, ReasoningDelta, TextDelta
from agent.eventstore.messages import (
    Message,
    OpaquePart,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
)
from agent.eventstore.values import Usage
from tests.engine.providers.chat_completions.given import (
    DONE,
    ORIGIN,
    call,
    chunk,
    completion,
    sse,
    stream_parser,
    streamed,
    whole,
    whole_parser,
)
from tests.engine.providers.reading import Read, cut

USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": 7,
    "prompt_tokens_details": {"cached_tokens": 16, "cache_write_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 5},
}
COUNTED = Usage(20, 7, 16, 4, 5)


def both(message: dict[str, Any], *, finish: Any = "stop", **more: Any) -> list[Read]:
    """The same answer in one piece and as a stream of one chunk."""
    stream = sse(chunk(message, finish=finish, **more)) + DONE
    return [whole(completion(message, finish=finish, **more)), streamed(stream)]


# Whole answers


def test_a_whole_answer() -> None:
    """Text, finish reason, usage, model and id are found; the whole text is one delta."""
    read = whole(completion({"role": "assistant", "content": "Hello"}, usage=USAGE))
    assert read.deltas == [TextDelta("Hello")]
    assert read.answer == Answer(
        Message("assistant", (TextPart("Hello"),)), "stop", "stop", COUNTED, "gpt-4o", "chatcmpl-1"
    )


def test_everything_at_once() -> None:
    """Reasoning comes first, then text, refusal and calls."""
    said = {
        "content": "Hm",
        "refusal": "No",
        "reasoning": "Let me see",
        "tool_calls": [call("f", "{}", id="a", index=0)],
    }
    kept = ORIGIN.opaque({"message": {"reasoning": "Let me see"}})
    parts = (
        ReasoningPart("Let me see", kept),
        TextPart("Hm"),
        RefusalPart("No"),
        ToolCallPart("a", "f", "{}"),
    )
    for read in both(said):
        assert read.answer.message == Message("assistant", parts)
        assert read.deltas == [ReasoningDelta("Let me see"), TextDelta("Hm")]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": None}, ""),
        ({"content": ""}, ""),
        ({"content": []}, ""),
        ({}, ""),
        ({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, "ab"),
        ({"content": [{"text": "a"}, "b", None, {"type": "image_url"}]}, "a"),
    ],
)
def test_content_of_every_kind(message: dict[str, Any], text: str) -> None:
    """Content may be missing, null, empty, or a list of parts."""
    assert [read.answer.message.text for read in both(message)] == [text, text]


def test_content_nested_deep() -> None:
    """However deep the lists of parts are nested, their text is found, in its order."""
    content: Any = "b"
    for _ in range(400):
        content = [{"type": "text", "text": content}]
    message = {"content": [{"text": "a"}, *content, {"text": "c"}]}
    assert [read.answer.message.text for read in both(message)] == ["abc", "abc"]


@pytest.mark.parametrize(
    "said",
    [
        {"reasoning_content": "Hm", "content": "Yes"},
        {"reasoning": "Hm", "content": "Yes"},
        {"reasoning": "Hm", "reasoning_content": "Hm", "content": "Yes"},
        {"reasoning": None, "reasoning_content": "Hm", "content": "Yes"},
        {
            "reasoning": "Hm",
            "reasoning_details": [{"type": "reasoning.text", "text": "Hm"}],
            "content": "Yes",
        },
        {
            "reasoning_details": [
                {"type": "reasoning.summary", "summary": "H"},
                {"type": "reasoning.text", "text": "m", "signature": "x"},
                {"type": "reasoning.encrypted", "data": "x"},
            ],
            "content": "Yes",
        },
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]},
                {"type": "text", "text": "Yes"},
            ]
        },
        {"content": [{"type": "thinking", "thinking": "Hm"}, {"type": "text", "text": "Yes"}]},
    ],
)
def test_reasoning_under_every_name(said: dict[str, Any]) -> None:
    """Reasoning is told apart from the answer and never said twice."""
    for read in both(said):
        assert read.deltas == [ReasoningDelta("Hm"), TextDelta("Yes")]
        assert read.reasoning == "Hm"
        assert read.answer.message.text == "Yes"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        ("stop", "stop"),
        ("STOP", "stop"),
        ("eos", "stop"),
        ("length", "length"),
        ("model_length", "length"),
        ("max_tokens", "length"),
        ("content_filter", "content_filter"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("martian", "other"),
    ],
)
def test_finish_reasons(raw: str, reason: str) -> None:
    """Each has one of our names, and keeps its own."""
    for read in both({"content": "x"}, finish=raw):
        assert (read.answer.finish_reason, read.answer.raw_finish_reason) == (reason, raw)


@pytest.mark.parametrize("raw", ["stop", "length", "", None])
def test_calls_make_a_tool_turn(raw: str | None) -> None:
    """The finish reason does not decide it: servers say "stop", "" or nothing."""
    for read in both({"tool_calls": [call("f", "{}", id="a", index=0)]}, finish=raw):
        assert read.answer.finish_reason == "tool_calls"
        assert read.calls == [("a", "f", "{}")]


def test_a_refusal_is_a_reason() -> None:
    """Content is null and the refusal says why."""
    for read in both({"content": None, "refusal": "I cannot"}):
        assert read.answer.finish_reason == "refusal"
        assert read.answer.message == Message("assistant", (RefusalPart("I cannot"),))


def test_a_filtered_choice_has_no_message() -> None:
    """Azure leaves the message out."""
    body = {"choices": [{"index": 0, "finish_reason": "content_filter"}]}
    read = whole(json.dumps(body).encode())
    assert read.answer.finish_reason == "content_filter"
    assert read.answer.message == Message("assistant", ())


def test_only_the_first_choice_counts() -> None:
    """Choices are known by their index, not by their place."""
    choices = [
        {"index": 1, "message": {"content": "B"}, "finish_reason": "length"},
        {"index": 0, "message": {"content": "A"}, "finish_reason": "stop"},
    ]
    assert whole(json.dumps({"choices": choices}).encode()).answer.message.text == "A"
    body = sse(
        {"choices": [{"index": 1, "delta": {"content": "B"}}]},
        {"choices": [{"index": 0, "delta": {"content": "A"}, "finish_reason": "stop"}]},
        {"choices": [{"index": 1, "delta": {"content": "C"}, "finish_reason": "length"}]},
    )
    assert streamed(body).answer.message.text == "A"


# Usage


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        (USAGE, COUNTED),
        ({"prompt_tokens": 3, "completion_tokens": 4}, Usage(3, 4)),
        ({"prompt_tokens": 3, "prompt_tokens_details": None}, Usage(3)),
        ({"prompt_tokens": 3.0, "completion_tokens": -1}, Usage(3)),
        ({"prompt_tokens": "3", "completion_tokens": None}, Usage()),
        ({"prompt_tokens": 9, "prompt_cache_hit_tokens": 8}, Usage(9, 0, 8)),
        ({"prompt_tokens": 9, "cached_tokens": 8}, Usage(9, 0, 8)),
        (None, Usage()),
        ([], Usage()),
    ],
)
def test_usage(usage: Any, counted: Usage) -> None:
    """Details may be missing, and so may all of it."""
    assert [read.answer.usage for read in both({"content": "x"}, usage=usage)] == [counted] * 2


@pytest.mark.parametrize(
    "last",
    [
        {"choices": [], "usage": USAGE},
        {"choices": None, "usage": USAGE},
        {"usage": USAGE},
        {"choices": [{"index": 0, "delta": {}, "usage": USAGE}]},
        {"choices": [{"index": 0, "delta": {}}], "usage": USAGE},
        {"choices": [{"index": 0, "delta": {}}], "x_groq": {"usage": USAGE}},
    ],
)
def test_usage_in_odd_places(last: dict[str, Any]) -> None:
    """It comes with or without a choice, in the choice, or in an extension."""
    body = sse(chunk({"content": "x"}, finish="stop"), last) + DONE
    assert streamed(body).answer.usage == COUNTED


def test_the_last_usage_counts() -> None:
    """A server that repeats its usage has counted once more, not twice."""
    body = sse(
        chunk({"content": "x"}, usage={"prompt_tokens": 3, "completion_tokens": 1}),
        chunk({"content": "y"}, usage=None),
        chunk(finish="stop", usage={"prompt_tokens": 3, "completion_tokens": 2}),
    )
    assert streamed(body).answer.usage == Usage(3, 2)


# Streams


def test_a_stream() -> None:
    """Each piece is a delta; role, empty pieces and prompt filters are none."""
    body = sse(
        {"choices": [], "id": "", "model": "", "prompt_filter_results": []},
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "Hel"}),
        chunk({"content": None}),
        chunk(),
        chunk({"content": "lo"}),
        chunk(finish="stop"),
        {"id": "chatcmpl-1", "model": "gpt-4o", "choices": [], "usage": USAGE},
    )
    read = streamed(body + DONE)
    assert read.deltas == [TextDelta("Hel"), TextDelta("lo")]
    assert read.answer == Answer(
        Message("assistant", (TextPart("Hello"),)), "stop", "stop", COUNTED, "gpt-4o", "chatcmpl-1"
    )


@pytest.mark.parametrize(
    "body",
    [
        sse(chunk({"content": "x"}, finish="stop")),
        sse(chunk({"content": "x"})) + DONE,
        sse(chunk({"content": "x"})) + b"data: [DONE]",
        sse(chunk({"content": "x"})) + b"data:[DONE] \r\n\r\n",
        sse(chunk({"content": "x"}, finish="stop")).rstrip(b"\n"),
        sse(chunk({"content": "x"}), chunk(finish="stop")).rstrip(b"\n"),
        b": PROCESSING\n\n" + sse(chunk({"content": "x"})) + b": PING\n\ndata:\n\n" + DONE,
        b"event: completion\n" + sse(chunk({"content": "x"}, finish="stop")),
        sse(chunk({"content": "x"}, finish="stop")) + DONE + sse(chunk({"content": "y"})) + b"junk",
        sse({"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}]}),
        sse(chunk({"content": "x"}, finish="stop"), {"choices": [None, 3]}, {}) + DONE,
    ],
)
def test_a_stream_may_end_and_pause_in_many_ways(body: bytes) -> None:
    """[DONE] or a finish reason ends it; comments, empty events and what follows are nothing."""
    read = streamed(body)
    assert read.texts == ["x"]
    assert read.answer.message == Message("assistant", (TextPart("x"),))


def test_a_refusal_comes_in_pieces() -> None:
    """They are joined, and are no text."""
    body = sse(chunk({"refusal": "I "}), chunk({"refusal": "cannot"}), chunk(finish="stop"))
    read = streamed(body)
    assert read.deltas == []
    assert read.answer.message.refusal == "I cannot"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\n\n",
        b": PROCESSING\n\n",
        sse(chunk({"content": "x"})),
        sse(chunk({"content": "Grüße"}))[:-14],
        sse(chunk({"content": "x"}), chunk({"tool_calls": [call("f", '{"a', index=0)]})),
        DONE,
        sse({"choices": []}) + DONE,
        b"data: \xe4\xb8\n\n" + DONE,
        b"data: hello\n\n" + DONE,
        b"data: 3\n\n" + DONE,
        b"data: [1]\n\n" + DONE,
        b"data: " + b"[" * 100_000 + b"\n\n",
        b"<p>Gateway</p>",
        sse(chunk({"tool_calls": [call(None, "{}", id="a", index=0)]}, finish="stop")),
    ],
)
def test_a_stream_that_is_no_answer(body: bytes) -> None:
    """A cut, empty or senseless stream is malformed, and worth another attempt."""
    with pytest.raises(MalformedResponse) as caught:
        streamed(body)
    assert caught.value.retryable
    assert caught.value.provider == "openai"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"\xff",
        b"method=POST",
        b"{}",
        b'{"choices": []}',
        b'{"choices": [null]}',
        b'{"choices": {"message": {}}}',
        b'{"object": "list", "data": []}',
        completion({"tool_calls": [call("", "{}", id="a")]}),
        completion({"content": None}, finish="tool_calls"),
        completion({"tool_calls": {"name": "f"}}, finish="tool_calls"),
        completion({"content": 5}),
        completion({"content": {"text": "x"}}),
        completion({"content": None, "tool_calls": "f"}),
        completion("Hello"),
        completion(None, finish=None),
        completion({"content": None}, finish=None),
        completion({"tool_calls": [call(f"f{n}", "{}", id=f"{n}") for n in range(1001)]}),
    ],
)
def test_a_body_that_is_no_answer(body: bytes) -> None:
    """A body without choices, or without the calls it announces, is worth another attempt."""
    with pytest.raises(MalformedResponse) as caught:
        whole(body)
    assert caught.value.retryable


def test_a_malformed_answer_shows_its_beginning() -> None:
    """The words help to find the server that sent it."""
    with pytest.raises(MalformedResponse, match=r"'Not found'; try again, and check base_url"):
        whole(b"Not found")


def test_a_server_that_does_not_stream() -> None:
    """A whole answer to a stream is read all the same, and its text is one delta."""
    body = completion({"content": "Hello"}, usage=USAGE)
    read = streamed(b"\n ", body[:10], body[10:])
    assert read.deltas == [TextDelta("Hello")]
    assert read.answer == whole(body).answer


@pytest.mark.parametrize("blank", [b"\n", b"\x0b", b" \r\n"])
def test_blanks_before_a_whole_answer_are_no_part_of_it(blank: bytes) -> None:
    """Whether they come in a piece of their own or not, the answer or error is the same."""
    body = completion({"content": "Hello"})
    assert streamed(blank + body).answer == streamed(blank, body).answer
    errors: list[str] = []
    for pieces in ([blank + b'{"cut'], [blank, b'{"cut']):
        with pytest.raises(MalformedResponse) as caught:
            streamed(*pieces)
        errors.append(str(caught.value))
    assert errors[0] == errors[1]


def test_half_characters_do_not_end_a_turn() -> None:
    """A server that cuts text between UTF-16 units loses the character, not the answer."""
    body = (
        b'data: {"choices":[{"delta":{"content":"a\\ud83d"}}]}\n\n'
        b'data: {"choices":[{"delta":{"content":"\\ude00b \\ud83d\\ude00"}}]}\n\n'
    )
    assert streamed(body + DONE).texts == ["a\ufffd", "\ufffdb 😀"]


def test_half_characters_leave_escaped_backslashes_alone() -> None:
    r"""Only the half is replaced: after an escaped backslash, `ud83d` is plain text."""
    half, other, backslash = b"\\ud83d", b"\\ude00", b"\\\\"
    text = b" ".join((backslash + b"ud83d", backslash + half, half + half + other, b"\\n"))
    body = b'{"choices":[{"message":{"content":"%b"}}]}' % text
    assert whole(body).answer.message.text == "\\ud83d \\\ufffd \ufffd😀 \n"


# Errors inside


ERRORS: list[tuple[Any, type[ProviderError], bool, str | None]] = [
    ({"message": "m", "type": "server_error"}, ServerFailed, True, None),
    ({"message": "m", "type": "overloaded_error"}, ServerFailed, True, None),
    ({"message": "m", "type": "rate_limit_exceeded"}, RateLimited, True, None),
    ({"message": "m", "code": 429}, RateLimited, True, "429"),
    ({"message": "m", "code": "429"}, RateLimited, True, "429"),
    ({"message": "m", "code": 502}, ServerFailed, True, "502"),
    ({"message": "m", "code": "4" * 5000}, ServerFailed, True, "4" * 5000),
    ({"message": "m", "code": "0429"}, ServerFailed, True, "0429"),
    ({"message": "m", "code": 400}, BadRequest, False, "400"),
    ({"message": "m", "code": "insufficient_quota"}, QuotaExceeded, False, "insufficient_quota"),
    (
        {"message": "m", "type": "invalid_request_error", "code": "tool_use_failed"},
        BadRequest,
        False,
        "tool_use_failed",
    ),
    ("m", ServerFailed, True, None),
]


@pytest.mark.parametrize(("error", "cls", "retryable", "code"), ERRORS)
def test_an_error_inside_of_an_answer(
    error: Any, cls: type[ProviderError], retryable: bool, code: str | None
) -> None:
    """An error object in a 200 answer is raised, classed by its own words."""
    bodies = [
        (whole_parser, json.dumps({"error": error}).encode()),
        (whole_parser, json.dumps({"choices": [{"error": error, "message": {}}]}).encode()),
        (stream_parser, sse(chunk({"content": "x"}), {"error": error})),
        (stream_parser, sse(chunk(finish="error", error=error)) + DONE),
        (stream_parser, b"event: error\n" + sse({"error": error})),
        (stream_parser, json.dumps({"error": error}).encode()),
    ]
    for parser, body in bodies:
        with pytest.raises(ProviderError) as caught:
            Read(parser(), body)
        assert type(caught.value) is cls
        assert str(caught.value).startswith("openai broke off with an error: m")
        assert str(caught.value).endswith("; try again") is retryable
        assert (caught.value.retryable, caught.value.code) == (retryable, code)
        assert (caught.value.status, caught.value.provider) == (200, "openai")


def test_an_error_event_needs_no_wrapping() -> None:
    """The event's name says that its data is an error."""
    body = b'event: error\ndata: {"message": "m", "type": "rate_limit_error"}\n\n'
    with pytest.raises(RateLimited, match="m"):
        streamed(body)


@pytest.mark.parametrize("reason", ["error", "insufficient_system_resource"])
def test_an_answer_that_the_server_broke_off(reason: str) -> None:
    """A finish reason that means failure does not make a short answer a whole one."""
    with pytest.raises(ServerFailed) as caught:
        whole(completion({"content": "Once upon"}, finish=reason))
    assert caught.value.retryable


def test_what_arrived_before_an_error_was_given() -> None:
    """Deltas before the error reach the caller."""
    parser = stream_parser()
    deltas = parser.feed(sse(chunk({"content": "x"}), {"error": "m"}))
    assert next(deltas) == TextDelta("x")
    with pytest.raises(ServerFailed):
        next(deltas)


# Cuts

SAID = st.one_of(
    st.builds(lambda text: {"content": text}, st.text(max_size=8)),
    st.builds(lambda text: {"reasoning": text}, st.text(max_size=8)),
    st.builds(lambda text: {"refusal": text}, st.text(max_size=8)),
    st.builds(
        lambda index, arguments: {"tool_calls": [call("f", arguments, index=index)]},
        st.integers(0, 2),
        st.text(max_size=4),
    ),
)


@given(st.lists(SAID, max_size=6), st.lists(st.integers(0, 5000)), st.booleans(), st.booleans())
def test_any_cut_gives_the_same_answer(
    said: list[dict[str, Any]], places: list[int], escaped: bool, crlf: bool
) -> None:
    """A stream may be cut at any byte: the answer and the joined deltas are the same."""
    chunks = [*(chunk(delta) for delta in said), chunk(finish="stop", usage=USAGE)]
    body = b"".join(
        b"data: " + json.dumps(one, ensure_ascii=escaped).encode(errors="replace") + b"\n\n"
        for one in chunks
    )
    body = (body + DONE).replace(b"\n", b"\r\n" if crlf else b"\n")
    uncut, pieces = streamed(body), streamed(*cut(body, places))
    assert pieces.answer == uncut.answer
    assert pieces.deltas == uncut.deltas
    assert "".join(pieces.texts) == pieces.answer.message.text
    assert "".join(pieces.reasonings) == pieces.reasoning


@given(st.integers(1, 10_000))
def test_a_stream_cut_short_is_never_a_whole_answer(length: int) -> None:
    """Without its finish reason and [DONE] nothing passes for an answer."""
    body = sse(chunk({"content": "Grüße, 世界"}), chunk({"content": "!"}))
    with pytest.raises(MalformedResponse):
        streamed(body[: length % len(body)])


def test_a_field_that_grows_too_deep() -> None:
    """Pieces of a field are put together: that is bounded too, and never a RecursionError."""
    levels = 900
    deep = ('{"a":' * levels + "1" + "}" * levels).encode()
    piece = sse(chunk({"content": "Hi", "x": "HERE"})).replace(b'"HERE"', deep)
    with pytest.raises(MalformedResponse, match="nested"):
        streamed(piece + piece + DONE)


def test_what_no_log_can_keep() -> None:
    """A field that is nested too deep makes the answer malformed: it could not come back."""
    deep: Any = 1
    for _ in range(150):
        deep = {"a": deep}
    for reader in (
        lambda: whole(completion({"content": "Hi", "x": deep})),
        lambda: streamed(sse(chunk({"content": "Hi", "x": deep}, finish="stop")), DONE),
    ):
        with pytest.raises(MalformedResponse, match="nested deeper"):
            reader()


def test_nesting_that_can_be_kept() -> None:
    """A field that is nested less deep goes back."""
    (part,) = whole(completion({"x": {"a": {"b": 1}}})).answer.message.parts
    assert part == OpaquePart(ORIGIN.opaque({"message": {"x": {"a": {"b": 1}}}}))
