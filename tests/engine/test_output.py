import json
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from pydantic import BaseModel, TypeAdapter
from typing_extensions import TypedDict

from agent.engine.errors import ConfigurationError
from agent.engine.output import Output, OutputRejection, rejected
from agent.eventstore.messages import Message


class Tea(BaseModel):
    """A tea."""

    name: str
    minutes: int


@dataclass
class Cup:
    size: int


class Pot(TypedDict):
    cups: list[Cup]


class Node(BaseModel):
    children: list["Node"] = []


TEA = {"name": "Assam", "minutes": 4}


@pytest.mark.parametrize(
    ("shape", "answer", "value"),
    [
        (Tea, TEA, Tea(name="Assam", minutes=4)),
        (Cup, {"size": 2}, Cup(2)),
        (Pot, {"cups": [{"size": 2}]}, {"cups": [Cup(2)]}),
        (Node, {"children": [{"children": []}]}, Node(children=[Node()])),
        (dict[str, int], {"a": 1}, {"a": 1}),
        (TypeAdapter(Tea), TEA, Tea(name="Assam", minutes=4)),
        (list[Tea], {"result": [TEA]}, [Tea(name="Assam", minutes=4)]),
        (int, {"result": 3}, 3),
        (str, {"result": "x"}, "x"),
        (Literal["a", "b"], {"result": "b"}, "b"),
        (Tea | Cup, {"result": {"size": 1}}, Cup(1)),
        (int | None, {"result": None}, None),
    ],
)
def test_shapes(shape: Any, answer: Any, value: object):
    """Every type that pydantic knows can be asked for; what is no object comes inside of one."""
    output = Output(shape)
    schema = json.loads(bytes(output.schema.schema))

    assert output.parse(json.dumps(answer)) == value
    assert schema.get("type") == "object" or "$ref" in schema


def test_schema_of_a_model():
    """A model's schema is pydantic's own, under the model's name."""
    output = Output(Tea)

    assert output.schema.name == "Tea"
    assert json.loads(bytes(output.schema.schema)) == Tea.model_json_schema()


def test_schema_of_a_list():
    """A wrapped schema keeps its definitions at the root, where references look for them."""
    schema = json.loads(bytes(Output(list[Tea]).schema.schema))

    assert list(schema) == ["type", "properties", "required", "$defs"]
    assert schema["properties"]["result"]["items"] == {"$ref": "#/$defs/Tea"}
    assert schema["required"] == ["result"]


@pytest.mark.parametrize(
    ("shape", "name"), [(Tea, "Tea"), (list[Tea], "list"), (TypeAdapter(Tea), "output")]
)
def test_names(shape: Any, name: str):
    """A schema has a name that providers accept."""
    assert Output(shape).schema.name == name


def test_awkward_names():
    """Characters that providers refuse in a name are replaced, and it is cut to 64."""
    generic = type("Größe[int]" + "x" * 80, (Tea,), {})

    assert Output(generic).schema.name == ("Gr__e_int_" + "x" * 80)[:64]


@pytest.mark.parametrize(
    ("shape", "text", "errors"),
    [
        (Tea, '{"name":"Assam"}', ("minutes: Field required",)),
        (
            Tea,
            '{"minutes":"x"}',
            (
                "name: Field required",
                "minutes: Input should be a valid integer, unable to parse string as an integer",
            ),
        ),
        (Tea, "[]", ("value: Input should be an object",)),
        (int, '{"result":"x"}', None),
        (int, "3", ("the answer is no object with 'result'",)),
        (int, "{}", ("the answer is no object with 'result'",)),
        (Pot, '{"cups":[{"size":"x"}]}', None),
    ],
)
def test_answers_that_do_not_fit(shape: Any, text: str, errors: tuple[str, ...] | None):
    """What does not fit is said in short sentences, with the place of each."""
    with pytest.raises(OutputRejection) as raised:
        Output(shape).parse(text)

    if errors is not None:
        assert raised.value.errors == errors
    assert str(raised.value) == "; ".join(raised.value.errors)


@pytest.mark.parametrize("shape", [Tea, int])
@pytest.mark.parametrize(
    "text", ["", "Sure! {}", '{"name":', "```json\n{}\n```", '{"result":' + "[" * 5000]
)
def test_answers_that_are_no_json(shape: Any, text: str):
    """Text that is no JSON, or is nested beyond all measure, is rejected."""
    with pytest.raises(OutputRejection, match=r"(?i)invalid JSON|is no object"):
        Output(shape).parse(text)


def test_rejections_do_not_repeat_values():
    """The sentences about an answer do not repeat what was in it."""
    with pytest.raises(OutputRejection) as raised:
        Output(Tea).parse('{"name":"hunter2-secret","minutes":"hunter2-secret"}')

    assert "hunter2" not in str(raised.value)


def test_feedback():
    """The model is told every error and what to do."""
    event = rejected(("a: no", "b: no"))
    assert event.errors == ("a: no", "b: no")
    assert event.feedback == Message.user(
        "The answer does not match the required JSON schema:\n- a: no\n- b: no\n"
        "Answer again with JSON that matches it, and nothing else."
    )


class Opaque:
    """Nothing that pydantic knows."""


@pytest.mark.parametrize("shape", [Opaque, list[Opaque], 3])
def test_types_without_a_schema(shape: Any):
    """A type that has no JSON Schema is refused when it is asked for."""
    with pytest.raises(ConfigurationError, match="has no JSON Schema") as raised:
        Output(shape)

    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("shape", [None, BaseModel, len, lambda: 1, {"type": "object"}, "Tea"])
def test_what_is_no_shape(shape: Any):
    """Nothing, a function, the base of all models and a JSON Schema are refused."""
    with pytest.raises(ConfigurationError, match="schema= takes a"):
        Output(shape)
