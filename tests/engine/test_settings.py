from typing import Any

import pytest

from agent.engine.errors import ConfigurationError
from agent.engine.settings import Limits, settings_of
from agent.eventstore.errors import InvalidEvent
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
        "reasoning_effort": "low",
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
        ({"temperature": "hot"}, "temperature cannot be 'hot', a str"),
        ({"temperature": True}, "temperature cannot be True, a bool"),
        ({"temperature": float("nan")}, "temperature cannot be nan"),
        ({"top_p": float("inf")}, "top_p cannot be inf"),
        ({"max_tokens": 1.5}, "max_tokens cannot be 1.5, a float"),
        ({"max_tokens": 0}, "max_tokens must be at least 1, not 0"),
        ({"max_tokens": True}, "max_tokens cannot be True, a bool"),
        ({"seed": "1"}, "seed cannot be '1', a str"),
        ({"reasoning_effort": 1}, "reasoning_effort cannot be 1, a int"),
        ({"parallel_tool_calls": 1}, "parallel_tool_calls cannot be 1, a int"),
        ({"model": 4}, "model cannot be 4, a int"),
    ],
)
def test_impossible_settings(options: Any, words: str):
    """A setting that no provider could take is refused, and named with its value."""
    with pytest.raises(ConfigurationError) as raised:
        settings_of(options)

    assert str(raised.value) == words


def test_unknown_settings():
    """An unknown option is a mistake in the call, and the error says where extras go."""
    unknown: Any = {"temprature": 1, "foo": 2}
    with pytest.raises(TypeError, match=r"unknown settings: foo, temprature; .* extra=\{...\}"):
        settings_of(unknown)


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
        {"max_retries": -1},
        {"max_output_retries": -1},
        {"deadline": 0},
        {"deadline": float("nan")},
    ],
    ids=str,
)
def test_limits_under_which_nothing_could_run(limits: dict[str, Any]):
    """Limits that no turn could keep are refused by name."""
    (name,) = limits
    with pytest.raises(ConfigurationError, match=name):
        Limits(**limits)
