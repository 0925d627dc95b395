"""How a test of the contract fails: with words, under any runner, and under ``python -O`` too."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Error = TypeVar("Error", bound=BaseException)

_SHOWN = 500


class ConformanceFailure(AssertionError):
    """A log broke its contract. The docstring of the failed test is the sentence that it broke."""


def expect(what: str, expected: object, actual: object) -> None:
    """Hold ``actual`` to be equal to ``expected``; ``what`` names it in the failure."""
    if actual != expected:
        raise ConformanceFailure(f"{what}: expected {_short(expected)}, found {_short(actual)}")


def refused(error: type[Error], call: Callable[[], object]) -> Error:
    """Hold a call to raise ``error``, and return what it raised."""
    try:
        answer = call()
    except error as raised:
        return raised
    raise ConformanceFailure(f"expected {error.__name__}, but the answer was {_short(answer)}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
