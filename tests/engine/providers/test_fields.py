import json
from typing import Any

import msgspec
import pytest

from agent.engine.errors import ConfigurationError
from agent.engine.providers.fields import in_call_order, joined_fields, settings_fields
from agent.eventstore.messages import ToolCallPart, ToolResultPart
from agent.eventstore.rawjson import to_raw
from agent.eventstore.values import Settings
from tests.engine.providers.given import (
    ONE_OF_EACH_API,
    WEATHER,
    body_of,
    prompt,
    provider_of,
)


def test_settings_go_by_the_names_of_the_protocol() -> None:
    """In the order of the names; what is not set is left out."""
    settings = Settings(max_tokens=5, temperature=0.5)
    names = {"temperature": "temp", "top_p": "p", "max_tokens": "limit"}
    assert list(settings_fields(settings, names, "acme").items()) == [("temp", 0.5), ("limit", 5)]


def test_a_setting_that_a_protocol_lacks() -> None:
    """It is refused by name, with those that there are."""
    with pytest.raises(ConfigurationError, match="acme has no setting top_k, seed; it takes top_p"):
        settings_fields(Settings(seed=1, top_k=2), {"top_p": "p"}, "acme")


@pytest.mark.parametrize(
    ("ours", "more", "both"),
    [
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": {"x": 1, "y": 2}}, {"a": {"y": 3}}, {"a": {"x": 1, "y": 3}}),
        ({"a": {"b": {"x": 1}}}, {"a": {"b": {"y": 2}}}, {"a": {"b": {"x": 1, "y": 2}}}),
        ({"a": [1]}, {"a": [2]}, {"a": [1, 2]}),
        ({"a": (1,)}, {"a": [2]}, {"a": [1, 2]}),
        ({"a": [1]}, {"a": {"x": 1}}, {"a": {"x": 1}}),
        ({"a": [1, 2]}, {"a": [3, 1, 3]}, {"a": [1, 2, 3, 3]}),
        ({"a": [1]}, {"a": [True, "1"]}, {"a": [1, True, "1"]}),
        ({"a": [{"x": 1, "y": 2}]}, {"a": [{"y": 2, "x": 1}]}, {"a": [{"x": 1, "y": 2}]}),
        ({"a": 1}, {"a": None}, {"a": None}),
    ],
)
def test_fields_of_both(ours: dict[str, Any], more: dict[str, Any], both: dict[str, Any]) -> None:
    """Objects and lists are joined, everything else is replaced; neither is changed."""
    before = json.dumps([ours, more])
    assert json.dumps(joined_fields(ours, more)) == json.dumps(both)
    assert json.dumps([ours, more]) == before


def test_raw_json_of_both() -> None:
    """It is compared by what it says, too."""
    ours = {"tools": [{"f": msgspec.Raw(b'{"x": 1, "y": 2}')}]}
    assert joined_fields(ours, {"tools": [{"f": {"y": 2, "x": 1}}]}) == ours


@pytest.mark.parametrize("name", ONE_OF_EACH_API)
def test_tools_of_the_server_stand_beside_ours(name: str) -> None:
    """In every protocol alike."""
    settings = Settings(extra=to_raw({"tools": [{"theirs": {}}], "new": 1}, of="extra"))
    body = body_of(provider_of(name), (), prompt(tools=(WEATHER,), settings=settings))
    assert len(body["tools"]) == 2
    assert (body["tools"][1], body["new"]) == ({"theirs": {}}, 1)


@pytest.mark.parametrize("name", ONE_OF_EACH_API)
def test_what_is_asked_of_tools_that_are_not_there(name: str) -> None:
    """It is not said, so that requests of logs that hold it are rebuilt as they were sent."""
    asked = Settings(tool_choice="mine", parallel_tool_calls=False)
    provider = provider_of(name)
    assert provider.encode_frame(prompt(settings=asked)) == provider.encode_frame(prompt())


@pytest.mark.parametrize("name", ONE_OF_EACH_API)
@pytest.mark.parametrize("field", ["model", "stream"])
def test_what_extra_cannot_replace(name: str, field: str) -> None:
    """What decides how the answer is read, and what the log says of the request."""
    settings = Settings(extra=to_raw({field: True}, of="extra"))
    with pytest.raises(ConfigurationError, match=f"what the session sets: {field}"):
        provider_of(name).encode_frame(prompt(settings=settings))


def test_results_in_the_order_of_their_calls() -> None:
    """One that answers no known call comes last."""
    calls = {name: ToolCallPart(name, name, "{}") for name in ("a", "b")}
    results = [ToolResultPart(name, ()) for name in ("x", "b", "a")]
    assert [result.call_id for result in in_call_order(results, calls)] == ["a", "b", "x"]
