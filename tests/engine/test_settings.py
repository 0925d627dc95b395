from typing import Any

import pytest

from agent import Agent
from agent.engine.errors import ConfigurationError
from agent.engine.scripted import ScriptedModel
from agent.engine.settings import CompactionPolicy, Limits, check_tool_settings, settings_of
from agent.eventstore.errors import InvalidEvent
from agent.eventstore.rawjson import to_raw
from agent.eventstore.values import Settings


def test_nothing_is_set_by_default():
    """Without options everything is left to the provider."""
    assert settings_of({}) == Settings()


def test_every_option_is_kept():
    """Each option is the setting of its name; the model is none."""
    options: Any = {
        "temperature": 0.5,
        "top_p": 1,
        "max_tokens": 10,
        "seed": 7,
        "presence_penalty": -1.5,
        "frequency_penalty": 1.5,
        "top_k": 40,
        "reasoning_effort": "low",
        "reasoning_budget": 1024,
        "show_reasoning": True,
        "verbosity": "low",
        "service_tier": "flex",
        "prompt_cache": "1h",
        "tool_choice": "auto",
        "parallel_tool_calls": False,
    }

    with_model: Any = {**options, "model": "m"}

    assert settings_of(with_model) == Settings(**options)


@pytest.mark.parametrize(
    ("given", "stop"), [("END", ("END",)), (["a", "b"], ("a", "b")), ((), ()), (None, None)]
)
def test_stop(given: Any, stop: tuple[str, ...] | None):
    """Stop sequences are one text or several."""
    assert settings_of({"stop": given}).stop == stop


@pytest.mark.parametrize("extra", [None, {}])
def test_no_extra(extra: Any):
    """Nothing extra is an empty object."""
    assert settings_of({"extra": extra}) == Settings()


def test_extra_is_raw():
    """What only the provider knows goes in as it is."""
    given: dict[str, Any] = {"top_k": 5, "deep": {"a": [1, None]}}
    settings = settings_of({"extra": given})
    given["deep"]["a"].append("later")

    assert bytes(settings.extra) == b'{"top_k":5,"deep":{"a":[1,null]}}'


def test_none_is_not_set():
    """None leaves a setting to the provider."""
    assert settings_of({"temperature": None, "seed": None}) == Settings()  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"temperature": "hot"}, "temperature cannot be 'hot', of type str"),
        ({"temperature": True}, "temperature cannot be True, of type bool"),
        ({"temperature": float("nan")}, "temperature must be a finite number"),
        ({"top_p": float("inf")}, "top_p must be a finite number"),
        ({"max_tokens": 1.5}, "max_tokens cannot be 1.5, of type float"),
        ({"max_tokens": 0}, "max_tokens must be at least 1, not 0"),
        ({"max_tokens": True}, "max_tokens cannot be True, of type bool"),
        ({"seed": "1"}, "seed cannot be '1', of type str"),
        ({"reasoning_effort": 1}, "reasoning_effort cannot be 1, of type int"),
        ({"parallel_tool_calls": 1}, "parallel_tool_calls cannot be 1, of type int"),
        ({"model": 4}, "model cannot be 4, of type int"),
        ({"model": ""}, "model cannot be empty text; leave it out instead"),
        ({"temperature": 10**400}, "temperature must be a finite number"),
        (
            {"temperature": [1] * 1000},
            "temperature cannot be [1, 1, 1, 1, 1, 1, ...], of type list",
        ),
        ({"stop": ["a", 1]}, "stop cannot be 1, of type int"),
        ({"stop": [""]}, "stop cannot be empty text; leave it out instead"),
        ({"stop": {"a"}}, "stop cannot be {'a'}, of type set"),
        ({"extra": [1]}, "extra cannot be [1], of type list"),
    ],
)
def test_impossible_settings(options: Any, words: str):
    """A setting that no provider could take is refused, and named with its value."""
    with pytest.raises(ConfigurationError) as raised:
        settings_of(options)

    assert str(raised.value) == words


NO_TOOLS = (
    " can do nothing without tools: pass Agent(tools=[...]), or leave it out; what is meant for "
    "the provider's own tools goes into extra={...}"
)


@pytest.mark.parametrize(
    ("settings", "tools", "words"),
    [
        (Settings(tool_choice="required"), (), f"tool_choice='required'{NO_TOOLS}"),
        (Settings(tool_choice="add"), (), f"tool_choice='add'{NO_TOOLS}"),
        (Settings(parallel_tool_calls=True), (), f"parallel_tool_calls=True{NO_TOOLS}"),
        (
            Settings(tool_choice="required", parallel_tool_calls=False),
            (),
            f"tool_choice='required' and parallel_tool_calls=False{NO_TOOLS}",
        ),
        (
            Settings(tool_choice="none", parallel_tool_calls=False),
            (),
            f"parallel_tool_calls=False{NO_TOOLS}",
        ),
        (
            Settings(tool_choice="ad"),
            ("add", "sub"),
            "tool_choice='ad' names none of the agent's tools: add, sub",
        ),
    ],
)
def test_settings_of_tools_that_are_not_there(
    settings: Settings, tools: tuple[str, ...], words: str
):
    """What would not be noticed to do nothing is refused, with what to do instead."""
    with pytest.raises(ConfigurationError) as raised:
        check_tool_settings(settings, tools)

    assert str(raised.value) == words


@pytest.mark.parametrize(
    ("settings", "tools"),
    [
        (Settings(), ()),
        (Settings(tool_choice="auto"), ()),
        (Settings(tool_choice="none"), ()),
        (Settings(tool_choice="none"), ("add",)),
        (Settings(tool_choice="required", parallel_tool_calls=False), ("add",)),
        (Settings(tool_choice="add"), ("sub", "add")),
        (Settings(tool_choice="search", extra=to_raw({"tools": []}, of="extra")), ("add",)),
    ],
)
def test_settings_that_tools_can_take(settings: Settings, tools: tuple[str, ...]):
    """Neither what asks for nothing, nor what names a tool of the provider's, is refused."""
    check_tool_settings(settings, tools)


def test_unknown_settings():
    """An unknown option is a mistake in the call; the error says what there is instead."""
    unknown: Any = {"temprature": 1, "foo": 2}
    words = r"unknown settings: foo, temprature; a turn takes .* temperature, .* extra=\{...\}"
    with pytest.raises(TypeError, match=words):
        settings_of(unknown)


@pytest.mark.parametrize(
    "options", [{"model": "\ud800"}, {"stop": "\ud800"}, {"reasoning_effort": "\ud800"}], ids=str
)
def test_settings_that_are_no_unicode(options: Any):
    """Text that no request could carry is refused where it is given, under its name."""
    (name,) = options
    with pytest.raises(InvalidEvent, match=f"^{name}: lone surrogate at 0"):
        settings_of(options)


def test_extra_that_is_no_json():
    """Extras that JSON cannot hold are refused with their path."""
    with pytest.raises(InvalidEvent) as raised:
        settings_of({"extra": {"a": [float("nan")]}})

    assert (raised.value.event, raised.value.path) == ("extra", "$.a[0]")


def test_limits_by_default():
    """A turn has 32 steps, two retries of each kind, and all the time it wants."""
    assert Limits() == Limits(max_steps=32, max_retries=2, max_output_retries=2, deadline=None)


@pytest.mark.parametrize(
    "limits",
    [
        {"max_steps": 0},
        {"max_tokens_per_turn": 0},
        {"max_tokens_per_turn": 1.5},
        {"max_steps": "3"},
        {"max_steps": True},
        {"window": 0},
        {"window": "all"},
        {"max_steps": float("inf")},
        {"max_retries": -1},
        {"max_output_retries": -1},
        {"deadline": 0},
        {"deadline": float("nan")},
        {"deadline": float("inf")},
        {"deadline": 1e10},
        {"deadline": True},
        {"deadline": "3"},
    ],
    ids=str,
)
def test_limits_under_which_nothing_could_run(limits: dict[str, Any]):
    """Limits that no turn could keep are refused by name."""
    (name,) = limits
    with pytest.raises(ConfigurationError, match=name):
        Limits(**limits)


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ({}, "at how many"),
        ({"messages": 7}, "messages must be at least 8"),
        ({"messages": 4, "keep_last": 1}, "messages must be at least 5"),
        ({"tokens": 0}, "tokens"),
        ({"tokens": 1.5}, "tokens"),
        ({"tokens": 1, "keep_last": -1}, "keep_last"),
        ({"tokens": 1, "instructions": ""}, "instructions"),
        ({"tokens": 1, "instructions": 3}, "instructions"),
        ({"tokens": 1, "model": ""}, "model"),
    ],
)
def test_policies_that_never_or_always_compact(policy: dict[str, Any], words: str):
    """A policy that could not work is refused when it is made."""
    with pytest.raises(ConfigurationError, match=words):
        CompactionPolicy(**policy)


def test_no_policy():
    """What is no policy is refused when the agent is made."""
    with pytest.raises(ConfigurationError, match=r"compact_at= takes CompactionPolicy\(messages="):
        Agent(ScriptedModel([]), compact_at=20)  # pyright: ignore[reportArgumentType]
