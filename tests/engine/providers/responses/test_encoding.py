import json
from typing import Any

import msgspec
import pytest

from agent.engine.providers.origin import Origin
from agent.engine.providers.responses.encoding import encode_message
from agent.engine.providers.vendors import OPENAI_RESPONSES, ResponsesDialect
from agent.eventstore.messages import (
    FilePart,
    ImagePart,
    Link,
    Message,
    OpaquePart,
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from tests.engine.providers.chat_completions.given import completion
from tests.engine.providers.chat_completions.given import whole as chat_whole
from tests.engine.providers.given import context
from tests.engine.providers.responses.given import (
    ORIGIN,
    Item,
    call,
    reasoning,
    refusal,
    searched,
    text,
    whole,
)

replace = msgspec.structs.replace

PNG, PDF = b"\x89PNG", b"%PDF"
IMAGE = {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,iVBORw=="}
DATA = "data:application/pdf;base64,JVBERg=="
OTHER = Origin("openai-responses", "responses", "o4")


def encoded(
    message: Message,
    calls: tuple[ToolCallPart, ...] = (),
    dialect: ResponsesDialect = OPENAI_RESPONSES.dialect,
    origin: Origin = ORIGIN,
) -> list[bytes]:
    """The bytes that a message becomes."""
    known = context(message, origin.model, *calls)
    return list(encode_message(message, known, origin, dialect))


def items(message: Message, *calls: ToolCallPart, **more: Any) -> list[Item]:
    """The items that a message becomes."""
    return [json.loads(item) for item in encoded(message, calls, **more)]


def said(*output: Item) -> Message:
    """An answer as the log keeps it: the engine has named its calls."""
    parts: list[Part] = []
    for index, part in enumerate(whole(*output).answer.message.parts):
        if isinstance(part, ToolCallPart):
            parts.append(replace(part, call_id=f"call_3_{index}", provider_id=part.call_id))
        else:
            parts.append(part)
    return Message("assistant", tuple(parts))


# In words that every server understands


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            Message.user("Grüße 😀"),
            b'{"role":"user","content":"Gr\xc3\xbc\xc3\x9fe \xf0\x9f\x98\x80"}',
        ),
        (Message.user(""), b'{"role":"user","content":""}'),
        (Message.user(), b'{"role":"user","content":""}'),
        (Message.user("a", TextPart("b")), b'{"role":"user","content":"ab"}'),
        (
            Message.assistant("Yes", " and ", RefusalPart("no")),
            b'{"type":"message","role":"assistant","content":"Yes and no"}',
        ),
        (
            Message.assistant(ReasoningPart("Hm"), "Yes"),
            b'{"type":"message","role":"assistant","content":"Yes"}',
        ),
        (
            Message.assistant(ToolCallPart("call_3_0", "f", '{"x": 1}', "toolu_1")),
            (
                b'{"type":"function_call","call_id":"call_3_0","name":"f",'
                b'"arguments":"{\\"x\\": 1}"}'
            ),
        ),
        (
            Message.tool(ToolResultPart("call_3_0", (TextPart("4"), TextPart("2")))),
            b'{"type":"function_call_output","call_id":"call_3_0","output":"42"}',
        ),
    ],
)
def test_the_bytes_of_a_message(message: Message, expected: bytes) -> None:
    """Each message has one encoding, for ever: the digests in logs depend on it."""
    assert encoded(message) == [expected]


def test_an_answer_of_nothing_is_left_out() -> None:
    """The API takes no empty message of the assistant."""
    assert encoded(Message.assistant("", ReasoningPart("Hm"))) == []


def test_text_and_calls_keep_their_order() -> None:
    """Text that a call parts stays parted."""
    message = Message.assistant("a", ToolCallPart("1", "f", ""), "b", ToolCallPart("2", "g", "{}"))
    kinds = [item["type"] for item in items(message)]
    assert kinds == ["message", "function_call", "message", "function_call"]
    assert items(message)[1]["arguments"] == "{}"


def test_invalid_arguments_go_back_inside_of_an_object() -> None:
    """Servers that parse the calls of the history still take it."""
    (item,) = items(Message.assistant(ToolCallPart("call_3_0", "f", "{oops")))
    assert json.loads(item["arguments"]) == {"invalid_arguments": "{oops"}


def test_attachments() -> None:
    """Bytes travel inside, links as links."""
    parts = (
        ImagePart.from_bytes(PNG),
        ImagePart.from_url("https://example.com/a.png"),
        FilePart.from_bytes(PDF, "application/pdf", "a.pdf"),
        FilePart.from_bytes(PDF, "application/pdf"),
        FilePart(Link("https://example.com/a.pdf"), "application/pdf", "a.pdf"),
    )
    (item,) = items(Message.user("See", *parts))
    assert item["content"] == [
        {"type": "input_text", "text": "See"},
        IMAGE,
        {**IMAGE, "image_url": "https://example.com/a.png"},
        {"type": "input_file", "filename": "a.pdf", "file_data": DATA},
        {"type": "input_file", "filename": "file", "file_data": DATA},
        {"type": "input_file", "file_url": "https://example.com/a.pdf"},
    ]


def test_results_take_images() -> None:
    """One item a result, whatever is in it."""
    shown = ToolResultPart("1", (TextPart("See"), ImagePart.from_bytes(PNG)))
    first, second = items(Message.tool(shown, ToolResultPart("2", ())))
    assert first["output"] == [{"type": "input_text", "text": "See"}, IMAGE]
    assert (second["call_id"], second["output"]) == ("2", "")


def test_ids_that_are_too_long_are_shortened_alike() -> None:
    """A call that was made elsewhere and its result keep together."""
    long = ToolCallPart("x" * 65, "f", "{}")
    (asked,) = items(Message.assistant(long))
    (answered,) = items(Message.tool(ToolResultPart(long.call_id, ())), long)
    assert asked["call_id"] == answered["call_id"]
    assert len(asked["call_id"]) <= 64


# As the model said it


ANSWER = [reasoning("Hm"), searched(), text("a", "b", phase="commentary"), reasoning(), call()]


def test_an_answer_goes_back_as_it_came() -> None:
    """Item for item, also where several parts say one."""
    assert items(said(*ANSWER)) == ANSWER


def test_a_call_and_its_result_keep_the_servers_id() -> None:
    """The item goes back as it came, so the result has to be paired with the id in it."""
    answer = said(*ANSWER)
    (result,) = items(
        Message.tool(ToolResultPart("call_3_5", (TextPart("x"),))), *answer.tool_calls
    )
    assert result == {"type": "function_call_output", "call_id": "call_a", "output": "x"}


def test_ids_that_a_server_repeats() -> None:
    """Two calls of one answer cannot be told apart by them: ours can."""
    answer = said(call("f"), call("g"))
    sent = items(answer)
    results = items(
        Message.tool(*(ToolResultPart(one.call_id, ()) for one in answer.tool_calls)),
        *answer.tool_calls,
    )
    assert [item["call_id"] for item in sent] == ["call_3_0", "call_3_1"]
    assert [item["call_id"] for item in results] == ["call_3_0", "call_3_1"]


def test_an_id_that_a_server_leaves_out() -> None:
    """Ours stands in."""
    assert items(said(call(call_id="")))[0]["call_id"] == "call_3_0"


def test_arguments_that_were_cut_are_mended() -> None:
    """The rest of the item stays."""
    (item,) = items(said(call(arguments='{"x": ', status="incomplete")))
    assert json.loads(item.pop("arguments")) == {"invalid_arguments": '{"x": '}
    assert item == {k: v for k, v in call(status="incomplete").items() if k != "arguments"}


def test_a_custom_tool_gets_a_result_of_its_kind() -> None:
    """And its call goes back with the text as it was."""
    item = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c", "name": "f", "input": "a b"}
    answer = said(item)
    assert items(answer) == [item]
    (result,) = items(Message.tool(ToolResultPart("call_3_0", ())), *answer.tool_calls)
    assert (result["type"], result["call_id"]) == ("custom_tool_call_output", "c")


def test_what_was_changed_by_hand_is_not_sent_as_it_came() -> None:
    """The part says what is meant, not the item that it came from."""
    first, *rest = said(text("a", "b")).parts
    assert isinstance(first, TextPart)
    changed = Message("assistant", (replace(first, text="A"), *rest))
    assert items(changed) == [{"type": "message", "role": "assistant", "content": "Ab"}]


def test_what_the_server_dropped_is_not_sent() -> None:
    """It is a note, no item."""
    answer = whole(text("a"), input_transformations=[{"id": "rs_0"}]).answer
    assert items(answer.message) == [text("a")]


@pytest.mark.parametrize("origin", [OTHER, Origin("openai", "responses", ORIGIN.model)])
def test_another_model_gets_the_words(origin: Origin) -> None:
    """Reasoning, searches and ids are left out; calls and results still pair."""
    answer = said(*ANSWER, refusal(" no"))
    sent = items(answer, origin=origin)
    assert sent == [
        {"type": "message", "role": "assistant", "content": "ab"},
        {"type": "function_call", "call_id": "call_3_5", "name": "f", "arguments": "{}"},
        {"type": "message", "role": "assistant", "content": " no"},
    ]
    message = Message.tool(ToolResultPart("call_3_5", ()))
    (result,) = items(message, *answer.tool_calls, origin=origin)
    assert result["call_id"] == "call_3_5"


def test_an_answer_of_another_api() -> None:
    """What Chat Completions said is said again."""
    body = completion({"content": "a", "tool_calls": [{"id": "x", "function": {"name": "f"}}]})
    message = chat_whole(body).answer.message
    assert [item["type"] for item in items(message)] == ["message", "function_call"]


# Reasoning


@pytest.mark.parametrize("plain", [False, True])
def test_reasoning_that_led_to_nothing(plain: bool) -> None:
    """The API refuses it without its follower."""
    content = [{"type": "reasoning_text", "text": "x"}]
    dialect = ResponsesDialect(plain_reasoning=plain)
    message = said(text("a"), reasoning(content=content), reasoning())
    assert items(message, dialect=dialect) == [text("a")]


def test_reasoning_that_is_not_encrypted() -> None:
    """The server does not know it; what it led to goes without its name, or not at all."""
    lost = reasoning("Hm", encrypted=None)
    message = said(
        lost,
        searched(),
        text("a", phase="commentary"),
        refusal("no"),
        call(),
        reasoning(),
        text("b"),
    )
    assert items(message) == [
        {"type": "message", "role": "assistant", "content": "a", "phase": "commentary"},
        {"type": "message", "role": "assistant", "content": "no"},
        {key: value for key, value in call().items() if key != "id"},
        reasoning(),
        text("b"),
    ]


def test_reasoning_of_servers_that_do_not_encrypt() -> None:
    """It goes back in words where it has any."""
    elsewhere = OPENAI_RESPONSES.elsewhere
    content = [{"type": "reasoning_text", "text": "x"}]
    told = said(reasoning(encrypted=None, content=content), text("a"))
    assert items(told, dialect=elsewhere) == [
        reasoning(encrypted=None, content=content),
        text("a"),
    ]
    odd = text(content=["?", {"type": "output_text", "text": "a", "annotations": []}])
    assert items(said(reasoning(encrypted=None), odd))[0]["content"] == "a"
    untold = said(reasoning("Hm", encrypted=None), text("a"))
    assert len(items(untold, dialect=elsewhere)) == 1


def test_a_part_that_only_this_api_has() -> None:
    """Fields of a piece of content, and pieces of an unknown kind, go back in their place."""
    message = Message.user(
        TextPart("a", ORIGIN.opaque({"prompt_cache_breakpoint": {"mode": "explicit"}})),
        OpaquePart(ORIGIN.opaque({"type": "input_file", "file_id": "file_1"})),
    )
    (item,) = items(message)
    assert item["content"] == [
        {"type": "input_text", "text": "a", "prompt_cache_breakpoint": {"mode": "explicit"}},
        {"type": "input_file", "file_id": "file_1"},
    ]
    assert items(message, origin=OTHER) == [{"role": "user", "content": "a"}]


def test_unreadable_items_of_an_import() -> None:
    """What claims to be ours and is not makes no harm."""
    broken = ORIGIN.opaque({"type": "message", "content": None})
    message = Message("assistant", (TextPart("a", broken),))
    assert items(message) == [{"type": "message", "role": "assistant", "content": "a"}]
