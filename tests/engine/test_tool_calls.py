import enum
import math
import sys
from typing import Any

import pytest

from agent import FilePart, ImagePart, TextPart
from agent.engine.results import content_of, error_content
from agent.engine.tools import InvalidArguments
from agent.eventstore.errors import InvalidEvent
from tests.engine.tool_samples import Place, Unit, invoke


def weather(city: str, unit: Unit = Unit.C, days: int = 3) -> str:
    """Tell the weather."""
    return f"{city} {unit.value} {days}"


def now() -> str:
    """Tell the time."""
    return "now"


# Calls


@pytest.mark.parametrize(
    ("arguments", "result"),
    [
        ({"city": "Rome"}, "Rome celsius 3"),
        ({"city": "Rome", "unit": "fahrenheit", "days": 1}, "Rome fahrenheit 1"),
        ({"city": "Rome", "days": "2"}, "Rome celsius 2"),
    ],
)
def test_valid_arguments(arguments: Any, result: str):
    """Arguments are validated and turned into what the function expects."""
    assert invoke(weather, arguments) == result


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "city: Field required"),
        ("", "city: Field required"),
        ({"city": 1}, "city: Input should be a valid string"),
        ({"city": "Rome", "days": "x", "unit": "K"}, "unit: Input should be 'celsius' or "),
        ({"city": "Rome", "town": 1}, "town: Extra inputs are not permitted"),
        ({"city": "Rome", "argument_0": "Paris"}, "argument_0: Extra inputs are not permitted"),
        ("{", "value: Invalid JSON"),
        ("null", "value: Input should be an object"),
        ("[1]", "value: Input should be an object"),
    ],
)
def test_invalid_arguments(arguments: Any, words: str):
    """Arguments that do not fit are refused by the names that the model knows."""
    with pytest.raises(InvalidArguments) as raised:
        invoke(weather, arguments)

    assert words in str(raised.value)


def test_no_arguments():
    """No text at all stands for no arguments."""
    assert invoke(now, "") == "now"


# Results


class Shout(str):
    __slots__ = ()


class Colour(enum.StrEnum):
    RED = "red"


IMAGE = ImagePart.from_bytes(b"x")
FILE = FilePart.from_bytes(b"x", "text/plain")


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("text", (TextPart("text"),)),
        ("", (TextPart(""),)),
        (None, (TextPart("null"),)),
        (True, (TextPart("true"),)),
        (3, (TextPart("3"),)),
        (0.5, (TextPart("0.5"),)),
        ({"a": [1, "ü"]}, (TextPart('{"a":[1,"ü"]}'),)),
        ({1: 2}, (TextPart('{"1":2}'),)),
        ([], (TextPart("[]"),)),
        ((), (TextPart("[]"),)),
        ({3}, (TextPart("[3]"),)),
        (Place(city="Rome"), (TextPart('{"city":"Rome","country":"France"}'),)),
        ([Place(city="Rome")], (TextPart('[{"city":"Rome","country":"France"}]'),)),
        (Unit.C, (TextPart('"celsius"'),)),
        (Colour.RED, (TextPart("red"),)),
        (Shout("loud"), (TextPart("loud"),)),
        (IMAGE, (IMAGE,)),
        (FILE, (FILE,)),
        (TextPart("x"), (TextPart("x"),)),
        ([TextPart("See:"), IMAGE], (TextPart("See:"), IMAGE)),
        ((IMAGE, FILE), (IMAGE, FILE)),
    ],
)
def test_results(value: object, content: tuple[object, ...]):
    """Text and parts stay as they are, everything else becomes JSON."""
    found = content_of(value)

    assert found == content
    assert all(type(part.text) is str for part in found if isinstance(part, TextPart))


def cyclic() -> list[Any]:
    """A list that contains itself."""
    found: list[Any] = []
    found.append(found)
    return found


@pytest.mark.parametrize(
    "value", [math.nan, [math.inf], b"bytes", bytearray(b"x"), object(), "\ud800", cyclic()]
)
def test_results_that_no_log_can_keep(value: object):
    """A result that JSON cannot hold is refused, never changed silently."""
    with pytest.raises(InvalidEvent) as raised:
        content_of(value)

    assert raised.value.event == "tool result"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no"), "ValueError: no"),
        (KeyError("x"), "KeyError: 'x'"),
        (RuntimeError(), "RuntimeError: "),
        (OSError(2, "gone"), "FileNotFoundError: [Errno 2] gone"),
        (ValueError("\ud800"), "ValueError: ?"),
    ],
)
def test_exceptions(error: BaseException, text: str):
    """What a tool raises is told to the model as `TypeName: message`."""
    assert error_content(error) == (TextPart(text),)


def test_recursion_is_an_error_like_any():
    """Even a very deep result is refused in words."""
    deep: list[Any] = []
    for _ in range(sys.getrecursionlimit() * 3):
        deep = [deep]

    with pytest.raises(InvalidEvent):
        content_of(deep)
