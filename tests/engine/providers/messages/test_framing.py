import json
from typing import Any

import msgspec
import pytest

from agent.engine.errors import ConfigurationError
from agent.engine.provider import Frame
from agent.engine.providers.messages.framing import encode_frame
from agent.engine.providers.vendors import MessagesDialect
from agent.eventstore.values import OutputSchema, Settings
from tests.engine.providers.given import PARAMETERS, WEATHER, prompt
from tests.fakes.messages_validation import check_body

FIRST = MessagesDialect()
CITY = {"type": "object", "properties": {"name": {"type": "string", "minLength": 1}}}
CLOSED_CITY = {
    "type": "object",
    "properties": {"name": {"type": "string", "description": "(minLength: 1)"}},
    "additionalProperties": False,
    "required": ["name"],
}


def frame(dialect: MessagesDialect = FIRST, model: str = "claude-x", **more: Any) -> Frame:
    """What stands around the messages."""
    return encode_frame(prompt(model, **more), dialect, "anthropic")


def fields(dialect: MessagesDialect = FIRST, model: str = "claude-x", **more: Any) -> Any:
    """What follows the messages, once the vendor's own types take it."""
    found = frame(dialect, model, **more)
    said = {"messages": [{"role": "user", "content": "a"}]}
    end = json.loads(b"{" + found.end.removeprefix(b"],"))
    check_body({**said, **end})
    return end


def raw(value: Any) -> msgspec.Raw:
    """JSON as it is kept."""
    return msgspec.Raw(msgspec.json.encode(value))


def output(schema: Any) -> OutputSchema:
    """A shape that is asked for."""
    return OutputSchema("answer", raw(schema))


def test_the_least() -> None:
    """Messages come first, and a limit is always given."""
    assert frame() == Frame(b'{"messages":[', (), b'],"model":"claude-x","max_tokens":16384}')


def test_the_most() -> None:
    """Keys have a fixed order."""
    settings = Settings(
        max_tokens=9000,
        temperature=1.0,
        top_p=0.9,
        top_k=5,
        stop=("END",),
        service_tier="auto",
        reasoning_budget=2000,
        show_reasoning=True,
        reasoning_effort="high",
        prompt_cache="1h",
        tool_choice="auto",
        parallel_tool_calls=False,
        extra=raw({"metadata": {"user_id": "u"}}),
    )
    said = fields(system="S", tools=(WEATHER,), settings=settings, output=output(CITY), stream=True)
    assert list(said.items()) == [
        ("model", "claude-x"),
        ("max_tokens", 9000),
        ("system", [{"type": "text", "text": "S"}]),
        (
            "tools",
            [
                {
                    "name": "get_weather",
                    "description": "Get it.",
                    "input_schema": json.loads(PARAMETERS),
                }
            ],
        ),
        ("tool_choice", {"type": "auto", "disable_parallel_tool_use": True}),
        ("thinking", {"type": "enabled", "budget_tokens": 2000, "display": "summarized"}),
        (
            "output_config",
            {"effort": "high", "format": {"type": "json_schema", "schema": CLOSED_CITY}},
        ),
        ("stop_sequences", ["END"]),
        ("service_tier", "auto"),
        ("cache_control", {"type": "ephemeral", "ttl": "1h"}),
        ("temperature", 1.0),
        ("top_p", 0.9),
        ("top_k", 5),
        ("stream", True),
        ("metadata", {"user_id": "u"}),
    ]


@pytest.mark.parametrize(
    ("model", "budget", "limit"),
    [
        ("claude-sonnet-4-5", None, 16384),
        ("claude-sonnet-4-5", 4000, 20384),
        ("claude-3-7-sonnet-latest", None, 16384),
        ("claude-3-5-haiku-latest", None, 8192),
        ("claude-3-haiku-20240307", None, 4096),
    ],
)
def test_the_limit_that_nobody_has_set(model: str, budget: int | None, limit: int) -> None:
    """What the model takes; reasoning comes on top."""
    assert fields(model=model, settings=Settings(reasoning_budget=budget))["max_tokens"] == limit


@pytest.mark.parametrize(
    ("budget", "shown", "thinking"),
    [
        (None, None, None),
        (0, True, {"type": "disabled"}),
        (2000, None, {"type": "enabled", "budget_tokens": 2000}),
        (2000, False, {"type": "enabled", "budget_tokens": 2000, "display": "omitted"}),
        (None, True, {"type": "adaptive", "display": "summarized"}),
    ],
)
def test_reasoning(budget: int | None, shown: bool | None, thinking: Any) -> None:
    """A budget, whether it is shown, or both."""
    settings = Settings(reasoning_budget=budget, show_reasoning=shown)
    assert fields(settings=settings).get("thinking") == thinking


@pytest.mark.parametrize(
    ("choice", "parallel", "said"),
    [
        (None, None, None),
        ("auto", None, {"type": "auto"}),
        ("none", False, {"type": "none"}),
        ("required", None, {"type": "any"}),
        (
            "get_weather",
            True,
            {"type": "tool", "name": "get_weather", "disable_parallel_tool_use": False},
        ),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
    ],
)
def test_the_choice_of_tools(choice: str | None, parallel: bool | None, said: Any) -> None:
    """Which, and whether several at once."""
    settings = Settings(tool_choice=choice, parallel_tool_calls=parallel)
    assert fields(tools=(WEATHER,), settings=settings).get("tool_choice") == said


def test_a_shape_that_cannot_be_enforced() -> None:
    """It is asked for in words; the answer is validated anyway."""
    shape = '{"type":"object","additionalProperties":true}'
    said = fields(system="S", output=OutputSchema("answer", msgspec.Raw(shape.encode())))
    assert "output_config" not in said
    assert [block["text"] for block in said["system"]] == [
        "S",
        f"Answer with JSON alone, which fits this JSON Schema: {shape}",
    ]


@pytest.mark.parametrize("system", [None, "", " "])
def test_a_system_prompt_of_nothing(system: str | None) -> None:
    """A blank block would be refused."""
    assert "system" not in fields(system=system)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Settings(seed=1), "anthropic has no setting seed"),
        (Settings(verbosity="low"), "anthropic has no setting verbosity"),
        (Settings(prompt_cache="1d"), '"5m" or "1h", not \'1d\''),
        (
            Settings(extra=raw({"model": "m", "system": "s"})),
            "extra cannot replace .* model, system",
        ),
    ],
)
def test_settings_that_do_not_exist(settings: Settings, words: str) -> None:
    """They are refused before anything is sent."""
    with pytest.raises(ConfigurationError, match=words):
        frame(settings=settings)


def test_a_later_version_of_the_api() -> None:
    """It has no sampling, and the encoder's name tells it from the first."""
    later = MessagesDialect(version="2026-10-21")
    assert (MessagesDialect().name, later.name) == ("", "+version=2026-10-21")
    assert fields(MessagesDialect(), settings=Settings(top_k=5))["top_k"] == 5
    with pytest.raises(ConfigurationError, match="no setting top_k"):
        frame(later, settings=Settings(top_k=5))
