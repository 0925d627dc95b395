import base64
from typing import Any

import msgspec
import pytest

from agent.engine.errors import ConfigurationError
from agent.engine.provider import MessageContext
from agent.engine.providers.messages.decoding import read_body
from agent.engine.providers.messages.encoding import encode_message
from agent.engine.providers.origin import Origin
from agent.eventstore.messages import (
    FilePart,
    ImagePart,
    Link,
    Message,
    OpaquePart,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from tests.engine.providers.chat_completions import given as chat
from tests.engine.providers.messages.given import (
    CITATION,
    COMPACTED,
    FOUND,
    ORIGIN,
    REDACTED,
    SEARCH,
    Block,
    body,
    content,
    sent,
    stream,
    streamed,
    text,
    thinking,
    tool_use,
    whole,
)

PNG, PDF = b"\x89PNG", b"%PDF"
OTHER = Origin("anthropic", "messages", "claude-opus-4-5")
SAID = [
    thinking("Hm"),
    thinking("", "only a signature"),
    REDACTED,
    text("Sun", citations=[CITATION]),
    SEARCH,
    FOUND,
    COMPACTED,
    {"type": "unheard_of", "data": [1, None]},
    tool_use("add", {"a": 1}),
    tool_use("add", {}, "toolu_2", caller={"type": "direct"}),
]


@pytest.mark.parametrize("block", SAID, ids=lambda block: block["type"])
def test_a_block_goes_back_as_it_came(block: Block) -> None:
    """Whole or streamed: signatures, citations, the work of the server, what nobody knows yet."""
    for read in (whole(body(block)), streamed(stream(block))):
        assert content(read.answer.message) == [block]


def test_the_order_of_blocks_stays() -> None:
    """Reasoning stands before what it led to."""
    assert content(streamed(stream(*SAID)).answer.message) == SAID


def test_another_model_gets_what_any_model_says() -> None:
    """Text and calls with our own ids; no signatures, and nothing of the server's tools."""
    message = whole(body(*SAID)).answer.message
    assert content(message, origin=OTHER) == [
        text("Sun"),
        tool_use("add", {"a": 1}),
        tool_use("add", {}, "toolu_2"),
    ]


def test_a_result_names_the_call_as_the_call_is_sent() -> None:
    """By our id, or by that of the raw call."""
    calls = (
        ToolCallPart("call_5_0", "a", "{}", "toolu_1"),
        ToolCallPart(
            "call_5_1", "a", "{}", "toolu_2", ORIGIN.opaque(tool_use("a", {}, "toolu_2", caller={}))
        ),
        ToolCallPart("call.5:2", "a", "{}"),
    )
    results = [ToolResultPart(call.call_id, (TextPart("r"),)) for call in calls]
    asked = [block["id"] for block in content(Message("assistant", calls))]
    answered = [block["tool_use_id"] for block in content(Message.tool(*results), *calls)]
    assert asked[:2] == ["call_5_0", "toolu_2"]
    assert asked[2].startswith("call_")
    assert ":" not in asked[2]
    assert asked == answered


@pytest.mark.parametrize(
    ("arguments", "sent_as"),
    [
        ('{"a": 1}', {"a": 1}),
        ("", {}),
        ('{"a": ', {"invalid_arguments": '{"a": '}),
        ("[1]", {"invalid_arguments": "[1]"}),
        ('{"a": "\\ud83c"}', {"invalid_arguments": '{"a": "\\ud83c"}'}),
    ],
)
def test_the_input_of_a_call_is_an_object(arguments: str, sent_as: Any) -> None:
    """Whatever the model has written."""
    call = Message.assistant(ToolCallPart("c", "f", arguments))
    assert content(call)[0]["input"] == sent_as


@pytest.mark.parametrize("blank", ["", " \n"])
def test_blank_text_is_not_sent(blank: str) -> None:
    """The API refuses it; a message of nothing else is left out."""
    assert content(Message.user(blank, "a")) == [text("a")]
    assert sent(Message.assistant(blank)) == []
    assert sent(Message.user(blank)) == []


def test_a_refusal_of_another_model_is_text() -> None:
    """Our provider's own explanation is no word of the model."""
    assert content(Message.assistant(RefusalPart("No."))) == [text("No.")]
    details = {"type": "refusal", "explanation": "Policy"}
    refused = whole(body(text("I"), stop="refusal", stop_details=details)).answer.message
    assert content(refused) == [text("I")]


def test_what_another_provider_says() -> None:
    """Its reasoning is left out; its calls keep our ids."""
    answer = chat.completion(
        {
            "content": "Yes",
            "reasoning_content": "Hm",
            "tool_calls": [chat.call("add", '{"a":1}', id="call_a")],
        }
    )
    message = chat.whole(answer).answer.message
    assert isinstance(message.parts[0], ReasoningPart)
    assert content(message) == [text("Yes"), tool_use("add", {"a": 1}, "call_a")]


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (
            ImagePart.from_bytes(PNG),
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw=="},
            },
        ),
        (
            ImagePart.from_url("https://e.com/a"),
            {"type": "image", "source": {"type": "url", "url": "https://e.com/a"}},
        ),
        (
            FilePart.from_bytes(PDF, "application/pdf", "a.pdf"),
            {
                "type": "document",
                "source": {
                    "type": "base64",
                    "media_type": "application/pdf",
                    "data": base64.b64encode(PDF).decode(),
                },
                "title": "a.pdf",
            },
        ),
        (
            FilePart(Link("https://e.com/a.pdf"), "application/pdf"),
            {"type": "document", "source": {"type": "url", "url": "https://e.com/a.pdf"}},
        ),
        (
            FilePart.from_bytes("Grüße".encode(), "text/markdown"),
            {
                "type": "document",
                "source": {"type": "text", "media_type": "text/plain", "data": "Grüße"},
            },
        ),
    ],
)
def test_attachments(part: ImagePart | FilePart, block: Block) -> None:
    """Of the user and of a tool; bytes, links, PDF and text."""
    assert content(Message.user(part)) == [block]
    (result,) = content(Message.tool(ToolResultPart("c", (part,))))
    assert result["content"] == [block]


def test_a_file_that_is_no_document() -> None:
    """The user is told; a tool's result goes on without it."""
    part = FilePart.from_bytes(b"PK", "application/zip", "a.zip")
    with pytest.raises(ConfigurationError, match="PDF and text as files, not application/zip"):
        content(Message.user(part))
    (result,) = content(Message.tool(ToolResultPart("c", (part,))))
    assert result["content"] == [text("(the file a.zip)")]


@pytest.mark.parametrize(
    ("words", "failed", "more"),
    [
        ("r", False, {"content": [text("r")]}),
        ("r", True, {"content": [text("r")], "is_error": True}),
        ("", False, {}),
        ("", True, {"content": [text("error")], "is_error": True}),
    ],
)
def test_results(words: str, failed: bool, more: Block) -> None:
    """All in one message of the user; an error is one, and says something."""
    result = ToolResultPart("c", (TextPart(words),), failed)
    expected = {"type": "tool_result", "tool_use_id": "c", **more}
    assert sent(Message.tool(result, msgspec.structs.replace(result, call_id="d"))) == [
        {"role": "user", "content": [expected, {**expected, "tool_use_id": "d"}]}
    ]


def test_the_bytes_depend_on_the_message_alone() -> None:
    """The model's writing of arguments is kept."""
    arguments = '{"b": 1,\n "a": 1e3}'
    call = Message.assistant(ToolCallPart("c", "f", arguments))
    (item,) = encode_message(call, MessageContext("m"), ORIGIN)
    assert item.endswith(b'"input":' + arguments.encode() + b"}]}")


def test_a_body_is_read() -> None:
    """System, calls, results before words, attachments, and what only the API knows."""
    cached = {"cache_control": {"type": "ephemeral"}}
    asked = {
        "system": [text("S", **cached), text("T")],
        "messages": [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": [thinking("Hm"), tool_use("f", {"a": 1})]},
            {
                "role": "user",
                "content": [
                    text("And?", **cached),
                    {"type": "tool_result", "tool_use_id": "toolu_1", "content": "r", **cached},
                    {"type": "container_upload", "file_id": "f"},
                    {"type": "image", "source": {"type": "file", "file_id": "g"}},
                ],
            },
            {"role": "system", "content": "Be brief"},
        ],
    }
    read = read_body(asked, ORIGIN)
    assert read.system == "S\n\nT"
    assert [message.role for message in read.messages] == [
        "user",
        "assistant",
        "tool",
        "user",
        "user",
    ]
    results, rest = read.messages[2:4]
    assert (results.text, rest.text) == ("r", "And?")
    assert [type(part) for part in rest.parts] == [TextPart, OpaquePart, OpaquePart]
    (result,) = content(results)
    assert result["cache_control"] == {"type": "ephemeral"}
    assert content(rest)[0] == text("And?", **cached)


def test_results_in_messages_of_their_own_are_read_as_one() -> None:
    """Every call of a message is answered by the message after it."""
    results = [
        {"type": "tool_result", "tool_use_id": name, "content": name}
        for name in ("toolu_1", "toolu_2")
    ]
    calls = [tool_use("f", {}), tool_use("f", {}, "toolu_2")]
    asked = [
        {"role": "assistant", "content": calls},
        *({"role": "user", "content": [result]} for result in results),
    ]
    read = read_body({"messages": asked}, ORIGIN)
    assert [len(message.parts) for message in read.messages] == [2, 2]
