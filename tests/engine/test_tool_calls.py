import enum
import itertools
import math
import sys
from typing import Any

import pytest

from agent import FilePart, ImagePart, TextPart
from agent.engine.tool_results import content_of, error_content
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
        ('{"city":"Rome",}', "value: Invalid JSON"),
        ('{"city":"Rome"} Done.', "value: Invalid JSON: trailing characters"),
        ('{"city":"Rome","city":"Oslo"}', "city: given more than once"),
        ('{"city":"\\ud800"}', "value: Invalid JSON"),
        ('{"city":"Rome","days":NaN}', "days: Input should be a finite number"),
        ("[" * 10_000 + "]" * 10_000, "value: Invalid JSON: recursion limit"),
        ('{"city":' * 10_000 + "1" + "}" * 10_000, "value: Invalid JSON: recursion limit"),
    ],
)
def test_invalid_arguments(arguments: Any, words: str):
    """Arguments that do not fit are refused by the names that the model knows."""
    with pytest.raises(InvalidArguments) as raised:
        invoke(weather, arguments)

    assert words in str(raised.value)


def test_repetitions_inside_of_an_argument():
    """What says two things under one name is ambiguous at any depth."""

    def echo(value: Any) -> Any:
        return value

    assert invoke(echo, '{"value":[{"a":1},{"a":2}]}') == [{"a": 1}, {"a": 2}]
    with pytest.raises(InvalidArguments, match="a: given more than once"):
        invoke(echo, '{"value":[{"a":1,"a":2}]}')


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_no_arguments(text: str):
    """No text at all stands for no arguments."""
    assert invoke(now, text) == "now"


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


class Speechless(Exception):
    def __str__(self) -> str:
        raise SystemExit("in __str__")


def cyclic() -> list[Any]:
    """A list that contains itself."""
    found: list[Any] = []
    found.append(found)
    return found


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (math.nan, "tool result: nan is no JSON number"),
        ([math.inf], r"tool result: \$\[0\]: inf is no JSON number"),
        (b"bytes", "return an ImagePart or FilePart"),
        (bytearray(b"x"), "return an ImagePart or FilePart"),
        (object(), "return text, lists and dicts of plain values, models or parts"),
        ([object()], "return text, lists and dicts of plain values, models or parts"),
        ([TextPart("x"), "y"], "models or parts"),
        ("\ud800", "tool result: lone surrogate at 0"),
        ({"\ud800": 1}, "surrogates not allowed"),
        (cyclic(), "Circular reference"),
        ((n for n in itertools.count()), "a generator is no result; return a list"),
        (TextPart(3), r"\$.content\[0\].text: Expected `str`, got `int`"),  # pyright: ignore[reportArgumentType]
        (TextPart("\ud800"), r"\$.content\[0\].text: lone surrogate"),
        ([IMAGE, ImagePart("x.png")], r"\$.content\[1\].source: Expected `object`"),  # pyright: ignore[reportArgumentType]
    ],
)
def test_results_that_no_log_can_keep(value: object, words: str):
    """A result that JSON cannot hold is refused in words, never changed silently."""
    with pytest.raises(InvalidEvent, match=words):
        content_of(value)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no"), "ValueError: no"),
        (KeyError("x"), "KeyError: 'x'"),
        (RuntimeError(), "RuntimeError: "),
        (OSError(2, "gone"), "FileNotFoundError: [Errno 2] gone"),
        (ValueError("\ud800"), "ValueError: ?"),
        (RecursionError("deep"), "RecursionError: deep"),
        (Speechless(), "Speechless"),
        (
            ExceptionGroup("two", [ValueError("a"), ExceptionGroup("one", [KeyError("b")])]),
            (
                "ExceptionGroup: two (2 sub-exceptions): ValueError: a; "
                "ExceptionGroup: one (1 sub-exception): KeyError: 'b'"
            ),
        ),
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
