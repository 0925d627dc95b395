import base64
import json
from typing import Any

import msgspec
import pytest

from agent.engine.errors import ConfigurationError
from agent.engine.provider import Frame
from agent.engine.providers.chat_completions.encoding import encode_frame
from agent.engine.providers.vendors import OPENAI, ChatDialect
from agent.eventstore.messages import (
    FilePart,
    ImagePart,
    Link,
    Message,
    Opaque,
    OpaquePart,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from agent.eventstore.rawjson import to_raw
from agent.eventstore.values import OutputSchema, Settings
from tests.engine.providers.chat_completions.given import ORIGIN, encoded, items
from tests.engine.providers.given import WEATHER, prompt

PNG, PDF = b"\x89PNG", b"%PDF"
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}}
OPAQUE = Opaque("openai", "responses", "o4", msgspec.Raw(b"{}"))


def frame(dialect: ChatDialect = OPENAI.dialect, model: str = "gpt-4o", **fields: Any) -> Frame:
    """What stands around the messages."""
    return encode_frame(prompt(model, **fields), dialect, "openai")


def fields(
    dialect: ChatDialect = OPENAI.dialect, model: str = "gpt-4o", **given: Any
) -> dict[str, Any]:
    """The fields of a body that follow the messages."""
    return json.loads(b"{" + frame(dialect, model, **given).end.removeprefix(b"],"))


# Messages


def test_text_that_is_none_goes_back_as_it_came() -> None:
    """An item that only looks like text is not joined with text."""
    odd = {"type": "text", "text": ["a"]}
    part = OpaquePart(ORIGIN.opaque(odd))
    assert items(Message.user("b", part))[0]["content"] == [{"type": "text", "text": "b"}, odd]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            Message.user("Grüße 😀"),
            b'{"role":"user","content":"Gr\xc3\xbc\xc3\x9fe \xf0\x9f\x98\x80"}',
        ),
        (Message.user(""), b'{"role":"user","content":""}'),
        (Message.user("a", TextPart("b")), b'{"role":"user","content":"ab"}'),
        (Message.assistant("Yes"), b'{"role":"assistant","content":"Yes"}'),
        (Message.assistant(), b'{"role":"assistant","content":""}'),
        (Message.assistant(ReasoningPart("Hm"), "Yes"), b'{"role":"assistant","content":"Yes"}'),
        (Message.assistant(OpaquePart(OPAQUE), "Yes"), b'{"role":"assistant","content":"Yes"}'),
        (
            Message.assistant(RefusalPart("No")),
            b'{"role":"assistant","content":null,"refusal":"No"}',
        ),
        (
            Message.assistant("Hm", RefusalPart("No")),
            b'{"role":"assistant","content":"Hm","refusal":"No"}',
        ),
        (
            Message.assistant(ToolCallPart("call_3_0", "f", '{"x": 1}', "toolu_1")),
            (
                b'{"role":"assistant","content":null,"tool_calls":[{"id":"call_3_0","type":"function",'
                b'"function":{"name":"f","arguments":"{\\"x\\": 1}"}}]}'
            ),
        ),
        (
            Message.assistant("So", ToolCallPart("call_3_0", "f", "")),
            (
                b'{"role":"assistant","content":"So","tool_calls":[{"id":"call_3_0","type":"function",'
                b'"function":{"name":"f","arguments":"{}"}}]}'
            ),
        ),
        (
            Message.tool(ToolResultPart("call_3_0", (TextPart("4"), TextPart("2")))),
            b'{"role":"tool","tool_call_id":"call_3_0","content":"42"}',
        ),
    ],
)
def test_the_bytes_of_a_message(message: Message, expected: bytes) -> None:
    """Each message has one encoding, for ever: the digests in logs depend on it."""
    assert encoded(message) == [expected]


def test_content_is_null_beside_calls() -> None:
    """The API takes no empty text there."""
    (item,) = items(Message.assistant("", ToolCallPart("call_3_0", "f", "{}")))
    assert item["content"] is None


def test_invalid_arguments_go_back_inside_of_an_object() -> None:
    """Servers that parse the calls of the history still take it."""
    (item,) = items(Message.assistant(ToolCallPart("call_3_0", "f", "{oops")))
    assert json.loads(item["tool_calls"][0]["function"]["arguments"]) == {
        "invalid_arguments": "{oops"
    }


def test_each_result_is_an_item() -> None:
    """One message with three results becomes three, in their order."""
    results = [ToolResultPart(f"call_3_{n}", (TextPart(str(n)),)) for n in range(3)]
    assert items(Message.tool(*results)) == [
        {"role": "tool", "tool_call_id": f"call_3_{n}", "content": str(n)} for n in range(3)
    ]


def test_attachments_of_a_user() -> None:
    """Bytes go as data URLs, links as they are; order is kept."""
    message = Message.user(
        "Look:",
        ImagePart.from_bytes(PNG),
        ImagePart.from_bytes(PNG, "image/jpeg"),
        ImagePart.from_url("https://example.com/a.png"),
        FilePart.from_bytes(PDF, "application/pdf", "a.pdf"),
        FilePart.from_bytes(PDF, "application/pdf"),
    )
    data = "data:application/pdf;base64," + base64.b64encode(PDF).decode()
    assert items(message) == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look:"},
                IMAGE,
                {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,iVBORw=="}},
                {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": data}},
                {"type": "file", "file": {"filename": "file", "file_data": data}},
            ],
        }
    ]


def test_a_linked_file_is_refused() -> None:
    """The protocol has no place for it; the error says what to do."""
    message = Message.user(FilePart(Link("https://example.com/a.pdf"), "application/pdf"))
    with pytest.raises(ConfigurationError, match=r"a\.pdf; send its bytes"):
        items(message)


def test_attachments_of_results_follow_as_the_users() -> None:
    """A result takes only text: what it shows comes after the last result, under its call."""
    link = FilePart(Link("https://example.com/a.pdf"), "application/pdf")
    message = Message.tool(
        ToolResultPart("call_3_0", (TextPart("A chart"), ImagePart.from_bytes(PNG))),
        ToolResultPart("call_3_1", (TextPart("4"),)),
        ToolResultPart("call_3_2", (ImagePart.from_url("https://example.com/b.png"), link)),
    )
    assert items(message) == [
        {"role": "tool", "tool_call_id": "call_3_0", "content": "A chart"},
        {"role": "tool", "tool_call_id": "call_3_1", "content": "4"},
        {"role": "tool", "tool_call_id": "call_3_2", "content": ""},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Returned by tool call call_3_0:"},
                IMAGE,
                {"type": "text", "text": "Returned by tool call call_3_2:"},
                {"type": "image_url", "image_url": {"url": "https://example.com/b.png"}},
                {"type": "text", "text": "https://example.com/a.pdf"},
            ],
        },
    ]


# What stands around them


def test_messages_come_first() -> None:
    """The system prompt leads them; all that varies from turn to turn follows."""
    assert frame(system="Be brief.") == Frame(
        b'{"messages":[', (b'{"role":"system","content":"Be brief."}',), b'],"model":"gpt-4o"}'
    )


@pytest.mark.parametrize("system", [None, ""])
def test_no_system_prompt(system: str | None) -> None:
    """It leaves no message behind."""
    assert frame(system=system).leading == ()


def test_every_field_in_its_place() -> None:
    """The order of keys is fixed, and schemas keep their own."""
    settings = Settings(
        temperature=0.5,
        top_p=0.9,
        max_tokens=100,
        stop=("END",),
        seed=7,
        presence_penalty=0.1,
        frequency_penalty=0.2,
        reasoning_effort="low",
        tool_choice="auto",
        parallel_tool_calls=False,
        extra=to_raw({"user": "u", "store": False}, of="extra"),
    )
    output = OutputSchema("Answer", msgspec.Raw(b'{"type":"object","properties":{}}'))
    given = frame(tools=(WEATHER,), settings=settings, output=output, stream=True)
    assert given.end == (
        b'],"model":"gpt-4o",'
        b'"tools":[{"type":"function","function":{"name":"get_weather","description":"Get it.",'
        b'"parameters":{"type":"object","properties":{"b":{},"a":{}}}}}],'
        b'"tool_choice":"auto","parallel_tool_calls":false,'
        b'"response_format":{"type":"json_schema","json_schema":{"name":"Answer","schema":'
        b'{"type":"object","properties":{},"additionalProperties":false,"required":[]},'
        b'"strict":true}},'
        b'"temperature":0.5,"top_p":0.9,"max_completion_tokens":100,"stop":["END"],"seed":7,'
        b'"presence_penalty":0.1,"frequency_penalty":0.2,"reasoning_effort":"low",'
        b'"stream":true,"stream_options":{"include_usage":true},'
        b'"user":"u","store":false}'
    )


def test_what_is_not_set_is_not_sent() -> None:
    """Only the model is: everything else is the server's to decide."""
    assert fields() == {"model": "gpt-4o"}
    assert fields(settings=Settings(temperature=0.0, seed=0)) == {
        "model": "gpt-4o",
        "temperature": 0.0,
        "seed": 0,
    }


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        ("get_weather", {"type": "function", "function": {"name": "get_weather"}}),
    ],
)
def test_tool_choice(choice: str, expected: Any) -> None:
    """A word of the protocol, or the name of a tool."""
    sent = fields(tools=(WEATHER,), settings=Settings(tool_choice=choice))
    assert sent["tool_choice"] == expected


@pytest.mark.parametrize(
    ("dialect", "model", "name"),
    [
        (OPENAI.dialect, "gpt-4o", "max_completion_tokens"),
        (OPENAI.elsewhere, "gpt-4o", "max_tokens"),
        (OPENAI.elsewhere, "llama-3.3-70b", "max_tokens"),
        (OPENAI.elsewhere, "o3-mini", "max_completion_tokens"),
        (OPENAI.elsewhere, "gpt-5.4-mini", "max_completion_tokens"),
        (OPENAI.elsewhere, "openai/gpt-5", "max_completion_tokens"),
        (OPENAI.elsewhere, "olmo-2", "max_tokens"),
    ],
)
def test_the_name_of_the_limit(dialect: ChatDialect, model: str, name: str) -> None:
    """Reasoning models know only the newer one, many other servers only the older."""
    sent = fields(dialect, model, settings=Settings(max_tokens=9))
    assert sent == {"model": model, name: 9}


def test_dialects_are_told_apart_in_the_log() -> None:
    """Two rules that make different bytes never share a version."""
    assert OPENAI.dialect.name != OPENAI.elsewhere.name


def test_extra_goes_in_as_it_is() -> None:
    """It may replace a setting, and is the last word."""
    extra = to_raw({"temperature": 1, "service_tier": "flex"}, of="extra")
    settings = Settings(temperature=0.5, extra=extra)
    assert fields(settings=settings) == {
        "model": "gpt-4o",
        "temperature": 1,
        "service_tier": "flex",
    }


@pytest.mark.parametrize("name", ["messages", "model", "stream"])
def test_extra_replaces_nothing_that_the_log_tells(name: str) -> None:
    """The log would be wrong about the request."""
    settings = Settings(extra=to_raw({name: None}, of="extra"))
    with pytest.raises(ConfigurationError, match=f"the session sets: {name}$"):
        fields(settings=settings)


def test_an_output_that_cannot_be_strict() -> None:
    """The schema is sent as it is, and the answer is checked when it comes."""
    schema = {"type": "object", "additionalProperties": {"type": "string", "minLength": 2}}
    output = OutputSchema("Answer", to_raw(schema, of="schema"))
    assert fields(output=output)["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "Answer", "schema": schema},
    }
