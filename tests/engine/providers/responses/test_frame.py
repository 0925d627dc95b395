import json
from typing import Any

import msgspec
import pytest

from agent.engine.errors import ConfigurationError
from agent.engine.provider import Frame
from agent.engine.providers.responses.frame import encode_frame
from agent.engine.providers.vendors import OPENAI_RESPONSES
from agent.eventstore.rawjson import to_raw
from agent.eventstore.values import OutputSchema, Settings
from tests.engine.providers.given import PARAMETERS, WEATHER, prompt

OPEN = {"type": "object", "additionalProperties": {"type": "string"}}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def frame(model: str = "gpt-5", **fields: Any) -> Frame:
    """What stands around the messages."""
    return encode_frame(prompt(model, **fields), OPENAI_RESPONSES.dialect, "openai-responses")


def fields(model: str = "gpt-5", **given: Any) -> dict[str, Any]:
    """The fields of a body that follow the messages."""
    return json.loads(b"{" + frame(model, **given).end.removeprefix(b"],"))


def extra(**given: Any) -> Settings:
    """Settings that only this API has."""
    return Settings(extra=to_raw(given, of="extra"))


def test_the_bytes_around_the_messages() -> None:
    """The system prompt comes first, and what varies comes last."""
    assert frame(system="Be brief.", stream=True) == Frame(
        b'{"instructions":"Be brief.","input":[',
        (),
        (
            b'],"model":"gpt-5","store":false,"include":["reasoning.encrypted_content"],'
            b'"stream":true}'
        ),
    )
    assert frame().start == b'{"input":['


@pytest.mark.parametrize(
    ("model", "reasons"),
    [
        ("gpt-5", True),
        ("o4-mini", True),
        ("openai.gpt-5.5", True),
        ("deepseek-v4", True),
        ("gpt-4o", False),
        ("gpt-4.1-nano", False),
        ("openai/gpt-4o", False),
        ("gpt-3.5-turbo", False),
        ("ft:gpt-4.1:mine", False),
        ("gpt-5-chat-latest", False),
        ("gpt-5.2-chat-latest", False),
        ("chatgpt-4o-latest", False),
    ],
)
def test_only_models_that_reason_are_asked_for_it(model: str, reasons: bool) -> None:
    """The others refuse the question."""
    assert ("include" in fields(model)) is reasons


def test_every_setting() -> None:
    """Each in its place."""
    settings = Settings(
        temperature=0.5,
        top_p=0.9,
        max_tokens=100,
        reasoning_effort="low",
        show_reasoning=True,
        verbosity="high",
        service_tier="flex",
    )
    given = fields(settings=settings)
    del given["model"], given["store"], given["include"]
    assert given == {
        "temperature": 0.5,
        "top_p": 0.9,
        "max_output_tokens": 100,
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {"verbosity": "high"},
        "service_tier": "flex",
    }


def test_reasoning_that_is_not_to_be_shown() -> None:
    """Nothing is asked for."""
    assert "reasoning" not in fields(settings=Settings(show_reasoning=False))


@pytest.mark.parametrize(
    "settings",
    [
        Settings(stop=("x",)),
        Settings(seed=1),
        Settings(top_k=1),
        Settings(presence_penalty=1.0),
        Settings(frequency_penalty=1.0),
        Settings(reasoning_budget=1),
    ],
)
def test_settings_that_the_api_lacks(settings: Settings) -> None:
    """They are refused: nobody would notice that nothing was done."""
    with pytest.raises(ConfigurationError, match="openai-responses has no setting"):
        frame(settings=settings)


def test_tools() -> None:
    """They are flat, in their order, and not strict: that would be the default."""
    given = fields(tools=(WEATHER,), settings=Settings(parallel_tool_calls=False))
    assert given["tools"] == [
        {
            "type": "function",
            "name": "get_weather",
            "description": "Get it.",
            "parameters": json.loads(PARAMETERS),
            "strict": False,
        }
    ]
    assert given["parallel_tool_calls"] is False


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        ("get_weather", {"type": "function", "name": "get_weather"}),
    ],
)
def test_which_tool(choice: str, sent: Any) -> None:
    """A name stands for that tool."""
    settings = Settings(tool_choice=choice)
    assert fields(tools=(WEATHER,), settings=settings)["tool_choice"] == sent


def test_structured_output() -> None:
    """Strict where the schema allows it, beside the verbosity."""
    strict = OutputSchema("City", to_raw(CITY, of="schema"))
    text = fields(output=strict, settings=Settings(verbosity="low"))["text"]
    assert text["verbosity"] == "low"
    assert text["format"] == {
        "type": "json_schema",
        "name": "City",
        "schema": {**CITY, "additionalProperties": False},
        "strict": True,
    }
    lax = OutputSchema("Open", to_raw(OPEN, of="schema"))
    assert fields(output=lax)["text"]["format"] == {
        "type": "json_schema",
        "name": "Open",
        "schema": OPEN,
        "strict": False,
    }


def test_extra_joins_what_the_session_sets() -> None:
    """Tools of the server stand beside ours, and what else is to be included."""
    more = extra(
        tools=[{"type": "web_search"}],
        include=["web_search_call.action.sources", "reasoning.encrypted_content"],
        reasoning={"context": "all"},
        truncation="auto",
    )
    settings = msgspec.structs.replace(more, reasoning_effort="low")
    given = fields(tools=(WEATHER,), settings=settings)
    assert [tool["type"] for tool in given["tools"]] == ["function", "web_search"]
    assert given["include"] == ["reasoning.encrypted_content", "web_search_call.action.sources"]
    assert given["reasoning"] == {"effort": "low", "context": "all"}
    assert given["truncation"] == "auto"


def test_a_model_of_an_unknown_name_without_reasoning() -> None:
    """It is not asked for it where the session says so."""
    assert fields("my-deployment", settings=extra(include=None))["include"] is None


@pytest.mark.parametrize(
    "given",
    [
        {"input": []},
        {"instructions": "x"},
        {"store": True},
        {"previous_response_id": "resp_1"},
        {"conversation": "conv_1"},
        {"background": True},
    ],
)
def test_extra_cannot_move_the_history(given: dict[str, Any]) -> None:
    """The log alone says what the model reads."""
    with pytest.raises(ConfigurationError, match="extra cannot replace"):
        frame(settings=extra(**given))
