from typing import Any

import pytest

from agent.engine.errors import InvalidPrompt
from agent.engine.providers.responses.decoding import read_body
from agent.engine.providers.transcript import Transcript
from agent.eventstore.messages import (
    FilePart,
    ImagePart,
    Link,
    Message,
    OpaquePart,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from tests.engine.providers.responses.given import ORIGIN, Item, call, reasoning, searched, text

USER = {"role": "user", "content": "Hi"}


def read(*items: Item, **body: Any) -> Transcript:
    """The conversation of a body."""
    return read_body({"input": list(items), **body}, ORIGIN)


def output(call_id: str = "call_a", words: Any = "x", **more: Any) -> Item:
    """The result of a call."""
    return {"type": "function_call_output", "call_id": call_id, "output": words, **more}


def test_input_in_one_piece() -> None:
    """Text is what the user says."""
    found = read_body({"input": "Hi", "instructions": "Be brief."}, ORIGIN)
    assert found == Transcript("Be brief.", (Message.user("Hi"),))


def test_system_messages() -> None:
    """Those in front are the system prompt; a later one stays where it is."""
    rules = {"role": "developer", "content": [{"type": "input_text", "text": "Rules."}]}
    found = read({"role": "system", "content": "More."}, rules, USER, rules, instructions="First.")
    assert found.system == "First.\n\nMore.\n\nRules."
    later = TextPart("Rules.", ORIGIN.opaque({"role": "developer"}))
    assert found.messages == (Message.user("Hi"), Message.user(later))
    assert read(USER).system is None


def test_what_stands_together_was_said_together() -> None:
    """An answer is one message, its results are another; ids stay where they are new."""
    items = [reasoning("Hm"), call(), call("g", call_id="call_b")]
    found = read(USER, *items, output("call_b", "b"), output("call_a", "a"), searched(), text("So"))
    opaque = [ORIGIN.opaque(item) for item in items]
    assert found.messages == (
        Message.user("Hi"),
        Message.assistant(
            ReasoningPart("Hm", opaque[0]),
            ToolCallPart("call_a", "f", "{}", "call_a", opaque[1]),
            ToolCallPart("call_b", "g", "{}", "call_b", opaque[2]),
        ),
        Message.tool(
            ToolResultPart("call_b", (TextPart("b"),)), ToolResultPart("call_a", (TextPart("a"),))
        ),
        Message.assistant(
            OpaquePart(ORIGIN.opaque(searched())), TextPart("So", ORIGIN.opaque(text("So")))
        ),
    )


def test_an_item_between_results() -> None:
    """It stands before them: the results of one answer are one message, without anything else."""
    note = {"type": "tool_search_output", "tools": []}
    found = read(call(), call("g", call_id="call_b"), output(), note, output("call_b"))
    assert [message.role for message in found.messages] == ["assistant", "tool"]
    assert found.messages[0].parts[2] == OpaquePart(ORIGIN.opaque(note))


def test_plain_answers_are_messages_of_their_own() -> None:
    """Each was written as one."""
    said = [{"role": "assistant", "content": words} for words in ("a", "b")]
    assert read(*said).messages == (Message.assistant("a"), Message.assistant("b"))


def test_attachments() -> None:
    """Bytes, links, and what only the server knows; other fields of a piece are kept with it."""
    image = {"type": "input_image", "image_url": "data:image/gif;base64,iVBORw=="}
    kept = {"type": "input_image", "file_id": "file_1", "detail": "auto"}
    pieces = [
        image,
        {**image, "detail": "auto"},
        {**image, "detail": "high"},
        {
            "type": "input_file",
            "filename": "a.pdf",
            "file_data": "data:application/pdf;base64,JVBERg==",
        },
        {"type": "input_file", "file_url": "https://example.com/a.txt"},
        kept,
    ]
    (message,) = read({"role": "user", "content": pieces}).messages
    seen = ImagePart.from_bytes(b"\x89PNG", "image/gif")
    high = ImagePart(seen.source, "image/gif", ORIGIN.opaque({"detail": "high"}))
    assert message.parts == (
        seen,
        seen,
        high,
        FilePart.from_bytes(b"%PDF", "application/pdf", "a.pdf"),
        FilePart(Link("https://example.com/a.txt"), "text/plain"),
        OpaquePart(ORIGIN.opaque(kept)),
    )


def test_a_result_keeps_its_fields() -> None:
    """They go back with it."""
    found = read(call(), output(status="completed"))
    (result,) = found.messages[1].tool_results
    assert result.opaque == ORIGIN.opaque({"status": "completed"})


@pytest.mark.parametrize("key", ["previous_response_id", "conversation"])
def test_a_history_that_the_server_keeps(key: str) -> None:
    """It is not in the body, and that is said."""
    with pytest.raises(InvalidPrompt, match=f"the server keeps the history .* {key}"):
        read(USER, **{key: "x"})


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (output("call_x"), "answers no call before it"),
        ({"role": "tool", "content": "x"}, "no message of Responses has the role 'tool'"),
        ({"type": "function_call", "call_id": "c"}, "a tool call without a name"),
    ],
)
def test_items_that_make_no_sense(item: Item, words: str) -> None:
    """They are refused by name."""
    with pytest.raises(InvalidPrompt, match=words):
        read(item)
