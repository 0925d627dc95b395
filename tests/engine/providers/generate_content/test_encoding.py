import base64
import json
from typing import Any

import msgspec
import pytest

from agent.engine.errors import ConfigurationError, InvalidPrompt
from agent.engine.providers.generate_content.decoding import read_body
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
from agent.eventstore.rawjson import to_raw
from agent.eventstore.values import OutputSchema, Settings
from tests.engine.providers.generate_content.given import ORIGIN, call, items, whole
from tests.engine.providers.given import PARAMETERS, WEATHER, body_of, prompt, provider_of
from tests.fakes.gemini_server import check_body

OTHER = Origin("openai", "responses", "o9")
OLDER = Origin("gemini", "generate_content", "models/gemini-2.5-flash")
SKIP = {"thoughtSignature": "skip_thought_signature_validator"}
SIGNED = {"thoughtSignature": "c2ln"}
PNG = {"inlineData": {"mimeType": "image/png", "data": base64.b64encode(b"\x89PNG").decode()}}


def body(messages: tuple[Message, ...] = (), **given: Any) -> dict[str, Any]:
    """A whole body, which the vendor's own types take."""
    found = body_of(provider_of("gemini"), messages, prompt("gemini-3-pro", **given))
    check_body(found)
    return found


@pytest.mark.parametrize(
    ("message", "parts"),
    [
        (Message.user("Hi", " there"), [{"text": "Hi"}, {"text": " there"}]),
        (Message.user(ImagePart.from_bytes(b"\x89PNG")), [PNG]),
        (
            Message.user(ImagePart.from_url("https://e.com/a")),
            [{"fileData": {"fileUri": "https://e.com/a"}}],
        ),
        (
            Message.user(FilePart(Link("gs://b/a.pdf"), "application/pdf")),
            [{"fileData": {"fileUri": "gs://b/a.pdf", "mimeType": "application/pdf"}}],
        ),
        (Message.assistant("Hi", RefusalPart("No")), [{"text": "Hi"}, {"text": "No"}]),
        (
            Message.assistant(
                ReasoningPart("Hm", OTHER.opaque({"a": 1})),
                TextPart("Hi", OTHER.opaque(SIGNED)),
                OpaquePart(OTHER.opaque({"a": 1})),
            ),
            [{"text": "Hi"}],
        ),
    ],
)
def test_a_message_is_one_content(message: Message, parts: list[Any]) -> None:
    """Each part in its place; nothing of another provider's own."""
    (content,) = items(message)
    assert content == {"role": "user" if message.role == "user" else "model", "parts": parts}


def test_an_answer_that_says_nothing_is_left_out() -> None:
    """The API wants parts."""
    assert items(Message.assistant()) == []
    assert items(Message.assistant(TextPart(""))) == []
    assert items(Message.user()) == [{"role": "user", "parts": [{"text": ""}]}]


@pytest.mark.parametrize("model", ["gemini-3-pro", "models/gemini-flash-latest", "x/gemini-4"])
def test_the_first_call_of_another_model_is_excused(model: str) -> None:
    """Newer models refuse a call without a signature; those beside it need none."""
    message = Message.assistant(ToolCallPart("c1", "a", "{}"), ToolCallPart("c2", "b", '{"x":1}'))
    (content,) = items(message, origin=Origin("gemini", "generate_content", model))
    assert content["parts"] == [{**call("a", {}), **SKIP}, call("b", {"x": 1})]


def test_a_signature_goes_back_only_to_its_model() -> None:
    """An older model needs none instead."""
    message = whole({**call("a", {}), **SIGNED}, {"text": "Hm", "thought": True}).answer.message
    assert items(message)[0]["parts"][0] == {**call("a", {}), **SIGNED}
    assert items(message, origin=OLDER)[0]["parts"] == [call("a", {})]
    newer = Origin("gemini", "generate_content", "gemini-4")
    assert items(message, origin=newer)[0]["parts"] == [{**call("a", {}), **SKIP}]


def test_results_stand_together_in_the_order_of_their_calls() -> None:
    """Each by its function's name, as an object, with the id that the provider gave, if any."""
    asked = Message.assistant(
        ToolCallPart("c1", "a", "{}", "given", ORIGIN.opaque({"functionCall": {"id": "given"}})),
        ToolCallPart("c2", "b", "{}", "foreign", OTHER.opaque({"functionCall": {"id": "no"}})),
    )
    answered = Message.tool(
        ToolResultPart("c2", (TextPart("two"),), is_error=True),
        ToolResultPart("c1", (TextPart("one"), ImagePart.from_bytes(b"\x89PNG"))),
    )
    results, shown = items(answered, asked)
    assert results["parts"] == [
        {"functionResponse": {"name": "a", "id": "given", "response": {"output": "one"}}},
        {"functionResponse": {"name": "b", "response": {"error": "two"}}},
    ]
    assert shown == {"role": "user", "parts": [{"text": "Returned by a:"}, PNG]}


# Frames


def test_the_frame_says_everything_else() -> None:
    """Settings, tools and the shape in the API's words."""
    settings = Settings(
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        max_tokens=100,
        stop=("x",),
        seed=1,
        presence_penalty=0.1,
        frequency_penalty=0.2,
        reasoning_effort="low",
        reasoning_budget=5,
        show_reasoning=True,
        service_tier="flex",
        tool_choice="get_weather",
        extra=to_raw(
            {
                "generationConfig": {"responseModalities": ["TEXT"]},
                "tools": [{"googleSearch": {}}],
                "labels": {"a": "b"},
            },
            of="extra",
        ),
    )
    schema = OutputSchema("shape", msgspec.Raw(b'{"type":"object"}'))
    found = body(
        (Message.user("a"),), system="S", tools=(WEATHER,), settings=settings, output=schema
    )
    assert list(found) == [
        *("systemInstruction", "contents", "tools", "toolConfig", "generationConfig"),
        *("serviceTier", "labels"),
    ]
    assert found["systemInstruction"] == {"parts": [{"text": "S"}]}
    declared = {
        "name": "get_weather",
        "description": "Get it.",
        "parametersJsonSchema": json.loads(PARAMETERS),
    }
    assert found["tools"] == [{"functionDeclarations": [declared]}, {"googleSearch": {}}]
    allowed = {"mode": "ANY", "allowedFunctionNames": ["get_weather"]}
    assert found["toolConfig"] == {"functionCallingConfig": allowed}
    assert found["generationConfig"] == {
        "responseMimeType": "application/json",
        "responseJsonSchema": {"type": "object"},
        "temperature": 0.5,
        "topP": 0.9,
        "topK": 40,
        "maxOutputTokens": 100,
        "stopSequences": ["x"],
        "seed": 1,
        "presencePenalty": 0.1,
        "frequencyPenalty": 0.2,
        "thinkingConfig": {"thinkingBudget": 5, "thinkingLevel": "LOW", "includeThoughts": True},
        "responseModalities": ["TEXT"],
    }
    assert found["serviceTier"] == "flex"


@pytest.mark.parametrize(
    ("choice", "mode"), [("auto", "AUTO"), ("none", "NONE"), ("required", "ANY")]
)
def test_a_choice_of_tools(choice: str, mode: str) -> None:
    """In the API's words; it needs tools to choose from."""
    settings = Settings(tool_choice=choice)
    found = body(tools=(WEATHER,), settings=settings)
    assert found["toolConfig"] == {"functionCallingConfig": {"mode": mode}}
    assert body(settings=settings) == {"contents": []}


@pytest.mark.parametrize(
    "settings",
    [
        Settings(verbosity="low"),
        Settings(prompt_cache="5m"),
        Settings(parallel_tool_calls=False),
        Settings(extra=to_raw({"contents": []}, of="extra")),
        Settings(extra=to_raw({"system_instruction": {}}, of="extra")),
    ],
)
def test_what_the_api_cannot_do_is_refused(settings: Settings) -> None:
    """And so is what the session sets itself."""
    with pytest.raises(ConfigurationError):
        body(tools=(WEATHER,), settings=settings)


# Bodies, read


def test_a_body_is_read_into_messages() -> None:
    """Its system, calls by their ids or names, in both spellings."""
    given = {
        "system_instruction": {"parts": [{"text": "S"}]},
        "contents": [
            {"parts": [{"text": "a"}, {"inline_data": {"mime_type": "image/png", "data": ""}}]},
            {"role": "model", "parts": [{"function_call": {"name": "f", "args": {"a_b": 1}}}]},
            {
                "role": "user",
                "parts": [
                    {"function_response": {"name": "f", "response": {"output": "x"}}},
                    {"text": "and"},
                ],
            },
        ],
    }
    transcript = read_body(given, ORIGIN)
    assert transcript.system == "S"
    asked, called, answered, more = transcript.messages
    assert asked == Message.user("a", ImagePart.from_bytes(b""))
    assert called == Message.assistant(ToolCallPart("call_0_0", "f", '{"a_b":1}'))
    assert answered == Message.tool(ToolResultPart("call_0_0", (TextPart("x"),)))
    assert more == Message.user("and")


def test_a_result_of_another_shape_goes_back_as_it_came() -> None:
    """To its own model; another reads it as text."""
    response = {"functionResponse": {"name": "f", "response": {"rows": [1]}}}
    contents = [
        {"role": "model", "parts": [call("f", {})]},
        {"role": "user", "parts": [response]},
    ]
    called, answered = read_body({"contents": contents}, ORIGIN).messages
    assert items(answered, called)[0]["parts"] == [response]
    (result,) = items(answered, called, OLDER)[0]["parts"]
    assert result["functionResponse"]["response"] == {"output": '{"rows":[1]}'}


@pytest.mark.parametrize(
    "content",
    [
        {"role": "system", "parts": []},
        {"role": "model", "parts": [{"functionCall": {}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]},
    ],
)
def test_a_body_that_no_server_would_take(content: Any) -> None:
    """It is refused with a reason."""
    with pytest.raises(InvalidPrompt):
        read_body({"contents": [content]}, ORIGIN)
