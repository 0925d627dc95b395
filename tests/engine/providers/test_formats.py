import datetime as dt
import json
from typing import Any

import pytest
from pydantic import BaseModel

from agent import Agent
from agent.engine.errors import InvalidPrompt, UnknownProvider
from agent.engine.providers.vendors import VENDORS
from agent.eventstore.messages import (
    Blob,
    FilePart,
    ImagePart,
    Link,
    Message,
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from agent.providers import Loss, Transcript, left_out, read_messages, write_messages
from agent.testing import ScriptedModel

CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
PIXEL = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}}
CONVERSATION = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "What is this?"}, PIXEL]},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "a", "content": "a pixel"},
    {"role": "assistant", "content": "A pixel."},
]
CHAT = [name for name, vendor in VENDORS.items() if vendor.api == "chat_completions"]
STORED: dict[str, dict[str, Any]] = {
    "openai": {"messages": CONVERSATION},
    "azure": {"messages": CONVERSATION},
    "deepseek": {
        "messages": [
            {**item, "reasoning_content": "Hm"} if item["role"] == "assistant" else item
            for item in CONVERSATION
        ]
    },
    "openai-responses": {
        "input": [
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "What is this?"},
                    {
                        "type": "input_image",
                        "image_url": PIXEL["image_url"]["url"],
                        "detail": "auto",
                    },
                ],
            },
            {"type": "function_call", "call_id": "a", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "a", "output": "a pixel"},
            {"type": "message", "role": "assistant", "content": "A pixel."},
        ],
        "instructions": "Be brief.",
    },
    "anthropic": {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw=="},
                    },
                ],
            },
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "a",
                        "content": [{"type": "text", "text": "a pixel"}],
                    }
                ],
            },
            {"role": "assistant", "content": [{"type": "text", "text": "A pixel."}]},
        ],
        "system": [{"type": "text", "text": "Be brief."}],
    },
    "gemini": {
        "contents": [
            {
                "role": "user",
                "parts": [
                    {"text": "What is this?"},
                    {"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}},
                ],
            },
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]},
            {
                "role": "user",
                "parts": [{"functionResponse": {"name": "f", "response": {"output": "a pixel"}}}],
            },
            {"role": "model", "parts": [{"text": "A pixel."}]},
        ],
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
    },
    "ollama": {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "What is this?", "images": ["iVBORw=="]},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"function": {"name": "f", "arguments": {}}}],
            },
            {"role": "tool", "content": "a pixel", "tool_name": "f"},
            {"role": "assistant", "content": "A pixel."},
        ]
    },
}
"""A conversation as each format keeps it: the fields of a body, that of the messages first."""


@pytest.mark.parametrize("name", STORED)
def test_what_was_brought_can_be_taken_again(name: str) -> None:
    """A list and a body are read alike, and written as they were."""
    body = STORED[name]
    transcript = read_messages({"model": "m", **body}, name)
    assert transcript.system == "Be brief."
    assert [message.role for message in transcript.messages] == [
        *("user", "assistant", "tool", "assistant")
    ]
    assert transcript.messages[-1].text == "A pixel."
    back = write_messages(transcript.messages, name, system=transcript.system, model="m")
    assert back == body
    assert read_messages(next(iter(body.values())), name, model="m").messages == (
        transcript.messages
    )


@pytest.mark.parametrize("name", STORED)
def test_a_session_goes_on_with_what_was_brought(name: str) -> None:
    """The transcript is a session's history as it is."""
    transcript = read_messages(STORED[name], name)
    agent = Agent(ScriptedModel(["Yes."]))
    session = agent.session(system=transcript.system, messages=list(transcript.messages))
    assert session.run("Sure?").text == "Yes."
    assert len(session.messages) == 6


@pytest.mark.parametrize("name", CHAT)
def test_every_vendor_is_a_format(name: str) -> None:
    """Also one that has no address of its own, and whatever the environment says."""
    (message,) = read_messages([{"role": "user", "content": "Hello"}], name).messages
    written = write_messages([message], name)
    assert written == {"messages": [{"role": "user", "content": "Hello"}]}


def test_an_unknown_format() -> None:
    """The known ones are listed."""
    with pytest.raises(UnknownProvider, match="openai"):
        read_messages([], "opnai")
    with pytest.raises(UnknownProvider, match="openai"):
        write_messages([], "opnai")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("[]", "a list of messages or a request body, not str"),
        (7, "not int"),
        ({"input": []}, "holds its messages as 'messages'; this one has input"),
        ({}, "this one has nothing"),
        ({"messages": "Hello"}, "a list of objects"),
        (["Hello"], "a list of objects"),
        ([{"role": "user", "content": object()}], "a object is none of its values"),
        ([{"role": "user", "content": "a"}, {"role": "robot"}], r"messages\[1\].*'robot'"),
        ([{"role": "user", "content": 7}], r"messages\[0\]: content is text or a list, not int"),
        ([{"role": "tool", "tool_call_id": "a"}], r"messages\[0\]: the result for 'a'"),
        ([{"role": "assistant", "tool_calls": [{}]}], r"messages\[0\]: a tool call has no name"),
    ],
)
def test_what_is_no_conversation(data: Any, words: str) -> None:
    """The error says where it goes wrong."""
    with pytest.raises(InvalidPrompt, match=words):
        read_messages(data, "openai")


@pytest.mark.parametrize(
    ("name", "before", "wrong", "words"),
    [
        (
            "openai",
            {"role": "system", "content": "a"},
            {"role": "x"},
            "messages[1]: no message of Chat Completions has the role 'x'",
        ),
        (
            "openai-responses",
            {"role": "system", "content": "a"},
            {"type": "function_call"},
            "input[1]: a tool call without a name",
        ),
        (
            "anthropic",
            {"role": "user", "content": "a"},
            {"role": "x"},
            "messages[1]: no message of Messages has the role 'x'",
        ),
        (
            "gemini",
            {"role": "user", "parts": []},
            {"role": "x"},
            "contents[1]: no content of Gemini has the role 'x'",
        ),
        (
            "ollama",
            {"role": "system", "content": "a"},
            {"role": "x"},
            "messages[1]: no message of Ollama has the role 'x'",
        ),
    ],
)
def test_a_message_that_is_none(
    name: str, before: dict[str, Any], wrong: dict[str, Any], words: str
) -> None:
    """Its place in the body is named, in every protocol."""
    with pytest.raises(InvalidPrompt) as raised:
        read_messages([before, wrong], name)
    assert str(raised.value) == words


class Said(BaseModel):
    role: str
    content: str | None = None
    refusal: str | None = None
    at: dt.date | None = None


def test_objects_of_a_client() -> None:
    """What a vendor's client has answered stands in the list as it is."""
    (said,) = read_messages([Said(role="assistant", content="Hello")], "openai").messages
    assert said == Message.assistant("Hello")


def test_an_attachment_without_its_bytes() -> None:
    """They are asked for by their digest."""
    blob = Blob.of(b"\x89PNG")
    bare = Message.user(ImagePart(Blob(blob.digest, blob.size), "image/png"), TextPart("This?"))
    with pytest.raises(InvalidPrompt, match=rf"messages\[0\].*{blob.digest}"):
        write_messages([bare], "openai")
    given = {blob.digest: b"\x89PNG"}
    written = write_messages([bare], "openai", attachments=given)
    assert written["messages"][0]["content"][0] == PIXEL


def test_what_is_no_message() -> None:
    """A provider's own message is not ours."""
    with pytest.raises(InvalidPrompt, match=r"messages\[0\] is a dict; read_messages"):
        write_messages([{"role": "user"}], "openai")  # pyright: ignore[reportArgumentType]


def test_what_was_given_is_not_changed() -> None:
    """Reading copies."""
    before = json.dumps(CONVERSATION)
    read_messages(CONVERSATION, "openai")
    assert json.dumps(CONVERSATION) == before


ASKED = Message.assistant(ToolCallPart("a", "f", "{}"))
LINKED = FilePart(Link("https://x/y.pdf"), "application/pdf", "y.pdf")


@pytest.mark.parametrize(
    ("name", "part", "lost"),
    [
        ("openai", ReasoningPart("Hm."), Loss("reasoning", 1)),
        ("anthropic", ReasoningPart("Hm."), Loss("reasoning", 1)),
        ("openai", RefusalPart("No."), None),
        ("anthropic", RefusalPart("No."), Loss("refusals", 1)),
        ("openai", ToolCallPart("b", "f", '{"a": [1, 2.5]}'), None),
        ("anthropic", ToolCallPart("b", "f", '{"a": [1, 2.5]}'), None),
        ("anthropic", ToolCallPart("b", "f", "{"), Loss("invalid arguments", 1)),
        ("openai", ToolCallPart("b" * 99, "f", "{}"), None),
        ("openai", ImagePart.from_bytes(b"1"), Loss("attachments", 1)),
    ],
)
def test_what_of_an_answer_is_left_out(name: str, part: Part, lost: Loss | None) -> None:
    """What the format says otherwise is no loss; ids of calls are names alone."""
    said = Message.assistant("Yes.", part)
    assert left_out([Message.user("So?"), said], name) == ((lost,) if lost else ())


@pytest.mark.parametrize(
    ("name", "result", "lost"),
    [
        ("openai", ToolResultPart("a", (TextPart("x"),), is_error=True), "marks of errors"),
        ("anthropic", ToolResultPart("a", (TextPart("x"),), is_error=True), None),
        ("openai", ToolResultPart("a", (TextPart("x"), ImagePart.from_bytes(b"1"))), None),
        ("openai", ToolResultPart("a", (LINKED,)), "attachments"),
        ("ollama", ToolResultPart("a", (TextPart("x"),), is_error=True), "marks of errors"),
    ],
)
def test_what_of_a_result_is_left_out(name: str, result: ToolResultPart, lost: Any) -> None:
    """Results are read with the calls that they answer."""
    found = left_out([Message.user("Go"), ASKED, Message.tool(result)], name)
    assert found == ((Loss(lost, 1),) if lost else ())


@pytest.mark.parametrize("name", STORED)
def test_nothing_is_left_out_of_what_was_brought(name: str) -> None:
    """What a format brought it can take again."""
    transcript = read_messages(STORED[name], name)
    assert transcript.left_out == ()
    assert left_out(transcript.messages, name) == ()


def test_an_empty_answer_is_left_out_where_none_can_be() -> None:
    """An answer without content is refused by the API."""
    history = [Message.user("So?"), Message.assistant()]
    assert left_out(history, "anthropic") == (Loss("empty messages", 1),)
    assert left_out(history, "openai") == ()


def test_what_is_not_read() -> None:
    """The body's other fields, the borders in a system prompt, and what stands on its pieces."""
    marked = {"type": "text", "text": "b", "cache_control": {"type": "ephemeral"}}
    asked = {"role": "user", "content": "Hi"}
    openai = [
        {"role": "system", "content": "a", "name": "n"},
        {"role": "developer", "content": [marked]},
        asked,
    ]
    anthropic = {"system": [{"type": "text", "text": "a"}, marked], "messages": [asked]}
    system = [{"role": "system", "content": "b"}]

    assert read_messages({"messages": openai, "model": "m", "tools": [], "n": 1}, "openai") == (
        Transcript(
            "a\n\nb",
            (Message.user("Hi"),),
            (
                Loss("borders in the system prompt", 1),
                Loss("marks of the system prompt", 2, ("cache_control", "name")),
                Loss("fields of the body", 2, ("n", "tools")),
            ),
        )
    )
    assert read_messages(anthropic, "anthropic").left_out == (
        Loss("borders in the system prompt", 1),
        Loss("marks of the system prompt", 1, ("cache_control",)),
    )
    assert read_messages([asked, *system], "anthropic").left_out == (
        Loss("roles of system messages", 1),
    )


@pytest.mark.parametrize("name", STORED)
def test_an_item_that_no_reader_would_see(name: str) -> None:
    """It is refused, not passed over."""
    with pytest.raises(InvalidPrompt, match=r"\[1\] is no object; \w+ is a list of objects"):
        read_messages([{"role": "user"}, "Hello"], name)
