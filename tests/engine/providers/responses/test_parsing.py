import json
from collections.abc import Callable
from typing import Any

import pytest

from agent.engine.errors import (
    BadRequest,
    MalformedResponse,
    ProviderError,
    QuotaExceeded,
    RateLimited,
    ServerFailed,
)
from agent.engine.provider import ReasoningDelta, TextDelta
from agent.eventstore.messages import (
    OpaquePart,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
)
from agent.eventstore.values import Usage
from tests.engine.providers.reading import Read
from tests.engine.providers.responses.given import (
    ORIGIN,
    Item,
    call,
    delta,
    done,
    end,
    event,
    reasoning,
    refusal,
    response,
    searched,
    streamed,
    text,
    thought,
    whole,
    whole_parser,
)

USAGE = {
    "input_tokens": 20,
    "input_tokens_details": {"cached_tokens": 16, "cache_write_tokens": 3},
    "output_tokens": 7,
    "output_tokens_details": {"reasoning_tokens": 5},
}
CREATED = event("response.created", response=response(status="in_progress"))


def at_end(*output: Item, **more: Any) -> Read:
    """The answer of a stream that says everything in its last event."""
    return streamed(CREATED, end(*output, **more))


BOTH = pytest.mark.parametrize("read", [whole, at_end])
"""A response by itself, and at the end of a stream."""


@BOTH
def test_an_answer(read: Callable[..., Read]) -> None:
    """Text, finish reason, usage, model and id."""
    read_ = read(text("Hello"), usage=USAGE)
    answer = read_.answer
    assert read_.deltas == [TextDelta("Hello")]
    assert answer.message.text == "Hello"
    assert (answer.finish_reason, answer.raw_finish_reason) == ("stop", "completed")
    assert answer.usage == Usage(20, 7, 16, 3, 5)
    assert (answer.model, answer.response_id) == ("gpt-5-2025-08-07", "resp_1")


@BOTH
def test_items_are_kept_in_their_order(read: Callable[..., Read]) -> None:
    """Each part keeps the whole item that it came from; what we have no part for stays as it is."""
    items = [reasoning("Hm", "So"), searched(), text("Hi"), call("f", '{"x": 1}')]
    opaque = [ORIGIN.opaque(item) for item in items]
    assert read(*items).answer.message.parts == (
        ReasoningPart("Hm\nSo", opaque[0]),
        OpaquePart(opaque[1]),
        TextPart("Hi", opaque[2]),
        ToolCallPart("call_a", "f", '{"x": 1}', opaque=opaque[3]),
    )


def test_what_our_parts_say_is_not_kept_twice() -> None:
    """An item without anything else needs no copy of itself."""
    said = {
        "type": "message",
        "role": "assistant",
        "content": [{"type": "output_text", "text": "a"}],
    }
    asked = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    parts = whole(said, asked).answer.message.parts
    assert parts == (TextPart("a"), ToolCallPart("c", "f", "{}"))


def test_the_pieces_of_a_message() -> None:
    """Each is a part, and the first of them keeps the item; several messages join to one text."""
    mixed = text(
        content=[
            {"type": "output_text", "text": "a"},
            {"type": "output_audio", "data": "x"},
            {"type": "refusal", "refusal": "no"},
        ]
    )
    message = whole(mixed, text("b", "c")).answer.message
    assert message.text == "abc"
    kept = ORIGIN.opaque(mixed), ORIGIN.opaque(text("b", "c"))
    assert message.parts == (
        TextPart("a", kept[0]),
        RefusalPart("no"),
        TextPart("b", kept[1]),
        TextPart("c"),
    )


def test_a_message_of_nothing_that_we_know() -> None:
    """It is kept as it is."""
    item = text(content=[])
    assert whole(item).answer.message.parts == (OpaquePart(ORIGIN.opaque(item)),)


@pytest.mark.parametrize(
    ("output", "more", "finish", "raw"),
    [
        ([text("a")], {}, "stop", "completed"),
        ([refusal("no")], {}, "refusal", "completed"),
        ([call()], {}, "tool_calls", "completed"),
        ([text("a"), call()], {"status": "incomplete"}, "tool_calls", "incomplete"),
        ([], {"status": "queued"}, "other", "queued"),
        ([], {"status": "in_progress"}, "other", "in_progress"),
        ([], {"status": "cancelled"}, "other", "cancelled"),
        ([text("a")], {"status": None}, "other", None),
        ([text("a")], {"status": "incomplete"}, "other", "incomplete"),
    ],
)
def test_why_it_ended(output: list[Item], more: Any, finish: str, raw: str | None) -> None:
    """Calls and refusals decide; else the status does."""
    answer = whole(*output, **more).answer
    assert (answer.finish_reason, answer.raw_finish_reason) == (finish, raw)


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("max_output_tokens", "length"),
        ("content_filter", "content_filter"),
        ("steered", "other"),
    ],
)
def test_why_it_is_incomplete(reason: str, finish: str) -> None:
    """The server's reason is kept."""
    more = {"incomplete_details": {"reason": reason}}
    for read in (
        whole(text("a"), status="incomplete", **more),
        streamed(delta("a"), end(text("a"), kind="incomplete", **more)),
    ):
        assert (read.answer.finish_reason, read.answer.raw_finish_reason) == (finish, reason)


def test_custom_tools_take_free_text() -> None:
    """Their input is what the tool is called with."""
    item = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c", "name": "f", "input": "a b"}
    (part,) = whole(item).answer.message.parts
    assert part == ToolCallPart("c", "f", "a b", opaque=ORIGIN.opaque(item))


def test_arguments_of_other_servers() -> None:
    """Objects become text, and nothing becomes nothing."""
    read = whole(call(arguments={"x": 1}), call(arguments=None))
    assert [part.arguments for part in read.answer.message.tool_calls] == ['{"x":1}', ""]


def test_the_server_says_what_it_dropped() -> None:
    """That is kept with the message, and is no item."""
    changes = [{"id": "rs_0", "type": "reasoning", "action": "removed", "reason": "turn_boundary"}]
    parts = whole(text("a"), input_transformations=changes).answer.message.parts
    assert parts[1:] == (OpaquePart(ORIGIN.opaque({"input_transformations": changes})),)


# Streams


def test_text_is_shown_as_it_comes() -> None:
    """The answer is that of the last event."""
    read = streamed(
        CREATED, delta("He"), delta(""), delta("llo"), done(text("Hello")), end(text("Hello"))
    )
    assert read.texts == ["He", "llo"]
    assert read.answer == whole(text("Hello")).answer


def test_reasoning_is_shown_as_it_comes() -> None:
    """Pieces of a summary, and reasoning before and after a call, stand in lines of their own."""
    items = [reasoning("Hm", "So"), searched(), reasoning("Now"), text("a")]
    read = streamed(
        thought("H"),
        thought("m"),
        thought("So", summary_index=1),
        thought("Now", output_index=2),
        delta("a", output_index=3),
        end(*items),
    )
    assert read.reasonings == ["H", "m", "\nSo", "\nNow"]
    assert read.reasoning == "Hm\nSo\nNow"
    assert read.answer.message == whole(*items).answer.message


def test_reasoning_in_full() -> None:
    """Where there is no summary, it is shown itself."""
    content = [{"type": "reasoning_text", "text": "I think"}]
    item = reasoning(content=content)
    piece = event("response.reasoning_text.delta", delta="I think", item_id="rs_1")
    read = streamed(piece, end(item, text("a")))
    assert read.reasonings == ["I think"]
    assert read.answer.message == whole(item, text("a")).answer.message


def test_a_summary_is_shown_instead_of_all() -> None:
    """A server that sends both is not heard twice."""
    content = [{"type": "reasoning_text", "text": "I think"}]
    item = reasoning("Hm", content=content)
    piece = event("response.reasoning_text.delta", delta="I think", item_id="rs_1")
    read = streamed(thought("Hm"), piece, end(item, text("a")))
    assert read.reasoning == "Hm"
    assert read.answer.message == whole(item, text("a")).answer.message


def test_reasoning_that_ends_in_other_words() -> None:
    """What was shown stays; the item goes back as it is."""
    read = streamed(thought("Hm"), end(reasoning("Well"), text("a")))
    assert (read.reasonings, read.reasoning) == (["Hm"], "Hm")
    assert read.answer.message.parts[1] == ReasoningPart("", ORIGIN.opaque(reasoning("Well")))


def test_what_was_not_shown_is_shown_at_the_end() -> None:
    """Some servers send no deltas, or not all."""
    read = streamed(delta("He"), end(reasoning("Hm"), text("Hello")))
    assert read.deltas == [TextDelta("He"), ReasoningDelta("Hm"), TextDelta("llo")]


def test_items_stand_in_for_an_empty_end() -> None:
    """In the order of their places, or as they came where those are left out."""
    read = streamed(done(text("a"), 1), done(reasoning(), 0), end())
    assert read.answer.message == whole(reasoning(), text("a")).answer.message
    unplaced = [
        event("response.output_item.done", item=item) for item in (reasoning(), text("a"), call())
    ]
    read = streamed(*unplaced, end())
    assert read.answer.message == whole(reasoning(), text("a"), call()).answer.message


def test_deltas_stand_in_for_items() -> None:
    """Words that were shown are never lost."""
    read = streamed(thought("Hm"), delta("a"), end())
    assert read.answer.message.parts == (ReasoningPart("Hm"), TextPart("a"))


def test_events_without_a_name() -> None:
    """The type inside of the data is enough."""
    last = json.dumps({"type": "response.completed", "response": response(text("a"))})
    assert streamed(f"data: {last}\n\n".encode()).answer.message.text == "a"


def test_nothing_is_read_after_the_end() -> None:
    """The answer is over, whatever follows."""
    assert streamed(end(text("a")), b"data: rubbish\n\n").answer.message.text == "a"


def test_a_server_that_does_not_stream() -> None:
    """A whole response is one, whatever was asked for."""
    body = json.dumps(response(text("a"))).encode()
    assert streamed(body).deltas == [TextDelta("a")]


# What is no answer


@pytest.mark.parametrize(
    "events",
    [
        (CREATED,),
        (CREATED, delta("a")),
        (delta("a"), done(text("a"))),
        (delta("a"), end(text("a"))[:-20]),
    ],
)
def test_a_stream_without_its_end(events: tuple[bytes, ...]) -> None:
    """It was cut, and another attempt may do better."""
    with pytest.raises(MalformedResponse, match="in the middle of the answer") as caught:
        streamed(*events)
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ((delta("a"), end(text("b"))), "not what came before"),
        ((done(call())[:60].partition(b"\n\n")[0], b""), "before the answer|in the middle"),
        (
            (event("response.output_item.added", item={"type": "function_call"}), end()),
            "an item has no end",
        ),
        ((event("response.output_text.delta", delta=1),), "a delta cannot be a int"),
        ((event("response.output_item.done", item=None),), "an object was expected"),
        ((event("response.completed"),), "an object was expected"),
    ],
)
def test_a_stream_that_makes_no_sense(events: tuple[bytes, ...], words: str) -> None:
    """It is refused rather than half understood."""
    with pytest.raises(MalformedResponse, match=words):
        streamed(*events)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "no output"),
        ({"choices": []}, "no output"),
        ({"output": []}, "says nothing, and not why"),
        ({"output": "a", "status": "completed"}, "output cannot be a str"),
        ({"output": ["a"], "status": "completed"}, "an object was expected"),
        (response(text(content=None)), "a message without content"),
        (response(text(content=[{"type": "output_text"}])), "a piece of a message whose text"),
        (response(call(name="")), "a tool call without a name"),
        (response(call(arguments=1)), "arguments are no text"),
    ],
)
def test_a_response_that_makes_no_sense(body: Any, words: str) -> None:
    """It is refused rather than half understood."""
    with pytest.raises(MalformedResponse, match=words):
        Read(whole_parser(), json.dumps(body).encode())


DEEP = b"[" * 200 + b"]" * 200


@pytest.mark.parametrize("deep", [DEEP, b"[" * 900 + b"]" * 900])
def test_an_item_that_no_log_could_hold(deep: bytes) -> None:
    """It is refused before anything is recorded of it."""
    body = json.dumps(response(text("a", more="deep"))).encode().replace(b'"deep"', deep)
    with pytest.raises(MalformedResponse):
        Read(whole_parser(), body)


@pytest.mark.parametrize("kind", [90, [], {"a": 1}])
def test_an_item_of_a_strange_type(kind: Any) -> None:
    """It is kept, whatever it is."""
    item = {**text("a"), "type": kind}
    assert whole(item).answer.message.parts == (OpaquePart(ORIGIN.opaque(item)),)


ERRORS = [
    ({"code": "server_error", "message": "m"}, ServerFailed),
    ({"code": "rate_limit_exceeded", "message": "m"}, RateLimited),
    ({"code": "insufficient_quota", "message": "m"}, QuotaExceeded),
    ({"code": "invalid_prompt", "message": "m"}, BadRequest),
    ({"code": "image_file_not_found", "message": "m"}, BadRequest),
    ({"code": "bio_policy", "message": "m"}, BadRequest),
]


@pytest.mark.parametrize(("error", "cls"), ERRORS)
def test_a_failure_after_the_beginning(error: Any, cls: type[ProviderError]) -> None:
    """In a response, in the last event, or as an event of its own: the error is the same."""
    bare = {**error, "type": "error", "param": None, "sequence_number": 3}
    for read in (
        lambda: whole(status="failed", error=error),
        lambda: streamed(CREATED, delta("a"), end(kind="failed", error=error)),
        lambda: streamed(CREATED, event("error", **error, param=None)),
        lambda: streamed(CREATED, event("error", error={**error, "type": "t"})),
        lambda: streamed(CREATED, f"data: {json.dumps(bare)}\n\n".encode()),
        lambda: streamed(f"data: {json.dumps({'error': error})}\n\n".encode()),
    ):
        with pytest.raises(ProviderError, match="broke off with an error: m") as caught:
            read()
        assert type(caught.value) is cls
        assert caught.value.code == error["code"]


def test_a_failure_without_words() -> None:
    """It is one all the same, also where only the event's name says so."""
    with pytest.raises(ServerFailed, match="the response failed"):
        whole(status="failed")
    nameless = event("response.failed", response={"output": []})
    with pytest.raises(ServerFailed, match="the response failed"):
        streamed(delta("a"), nameless, end(text("b")))
