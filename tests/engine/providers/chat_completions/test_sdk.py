"""The bodies that we build, checked against the types of OpenAI's own client."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat.completion_create_params import CompletionCreateParams
from pydantic import ConfigDict, TypeAdapter, ValidationError

from agent.engine.provider import Prompt
from agent.engine.providers.chat_completions.encoding import encode_frame
from agent.engine.providers.vendors import OPENAI
from agent.eventstore.messages import (
    FilePart,
    ImagePart,
    Message,
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from agent.eventstore.rawjson import to_raw
from agent.eventstore.values import OutputSchema, Settings, ToolDefinition
from tests.engine.providers.chat_completions.given import items

ADAPTER: TypeAdapter[Any] = TypeAdapter(CompletionCreateParams, config=ConfigDict(extra="forbid"))

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ATTACHED = st.sampled_from(
    [
        ImagePart.from_bytes(b"\x89PNG"),
        ImagePart.from_url("https://example.com/a.png"),
        FilePart.from_bytes(b"%PDF", "application/pdf", "a.pdf"),
    ]
)
ASKED = st.lists(TEXTS.map(TextPart) | ATTACHED, min_size=1, max_size=3)
SAID = st.lists(TEXTS.map(TextPart) | TEXTS.map(RefusalPart) | TEXTS.map(ReasoningPart), max_size=3)
CALLS = st.lists(TEXTS, max_size=2)
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
TOOL = ToolDefinition("get_weather", "Get it.", to_raw(SCHEMA, of="test"))
OUTPUT = OutputSchema("city", to_raw(SCHEMA, of="test"))
SETTINGS = st.builds(
    Settings,
    temperature=st.none() | st.floats(0, 2),
    top_p=st.none() | st.floats(0, 1),
    max_tokens=st.none() | st.integers(1, 10),
    stop=st.none() | st.just(("a", "b")),
    seed=st.none() | st.integers(0, 9),
    presence_penalty=st.none() | st.floats(-2, 2),
    reasoning_effort=st.sampled_from([None, "low", "high"]),
    verbosity=st.sampled_from([None, "low"]),
    service_tier=st.sampled_from([None, "flex"]),
    tool_choice=st.sampled_from([None, "auto", "none", "required", "get_weather"]),
    parallel_tool_calls=st.sampled_from([None, True, False]),
)


def turn(asked: list[Part], said: list[Part], arguments: list[str]) -> list[Any]:
    """The items of a question, its answer with calls, and their results."""
    calls = [ToolCallPart(f"call_{i}", "get_weather", text) for i, text in enumerate(arguments)]
    messages = [Message("user", tuple(asked)), Message("assistant", (*said, *calls))]
    results = [ToolResultPart(call.call_id, (TextPart("sun"),)) for call in calls]
    messages += [Message.tool(*results)] if results else []
    return [item for message in messages for item in items(message, *calls)]


def forced(value: Any) -> Any:
    """The value with everything in it looked at: the checks of an iterable wait for that."""
    if isinstance(value, dict):
        return {key: forced(item) for key, item in value.items()}
    if isinstance(value, str | bytes) or not hasattr(value, "__iter__"):
        return value
    return [forced(item) for item in value]


def check(body: Any) -> None:
    """Raise ValidationError for a body that the client's types refuse."""
    forced(ADAPTER.validate_python(body))


PROMPTS = st.builds(
    Prompt,
    model=st.just("gpt-4o"),
    system=st.none() | TEXTS,
    tools=st.sampled_from([(), (TOOL,)]),
    settings=SETTINGS,
    output=st.sampled_from([None, OUTPUT]),
    stream=st.booleans(),
)


@given(st.lists(st.builds(turn, ASKED, SAID, CALLS), min_size=1, max_size=3), PROMPTS)
def test_every_body_is_of_the_clients_types(turns: list[list[Any]], prompt: Prompt) -> None:
    """Whatever the conversation and the settings, nothing is unknown or of a wrong type."""
    frame = encode_frame(prompt, OPENAI.dialect, "openai")
    said = [msgspec.json.encode(item) for one in turns for item in one]
    check(json.loads(frame.start + b",".join([*frame.leading, *said]) + frame.end))


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": 7}], "model": "m"},
        {"messages": [{"role": "user", "content": "a", "mood": "b"}], "model": "m"},
        {"messages": [{"role": "user", "content": "a"}], "model": "m", "mood": "b"},
    ],
)
def test_the_check_can_fail(body: Any) -> None:
    """A wrong type and an unknown key are found, however deep."""
    with pytest.raises(ValidationError):
        check(body)
