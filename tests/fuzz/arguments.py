"""Targets that read what a model says: arguments of a tool, answers of a shape."""

import datetime as dt
import enum
from collections.abc import Sequence
from random import Random

from agent import Tool
from agent.engine.output import Output, OutputRejection
from agent.engine.tools import InvalidArguments
from tests.engine.tool_samples import CONTEXT, Place, Unit
from tests.fuzz import corpus
from tests.fuzz.mutators import mutate
from tests.fuzz.runner import Target


def look_up(
    *,
    count: int,
    name: str,
    ratio: float = 1.0,
    tags: list[str] | None = None,
    extra: dict[str, object] | None = None,
    place: Place | None = None,
    unit: Unit = Unit.C,
    day: dt.date | None = None,
    pair: tuple[int, str] | None = None,
    either: int | str = 0,
) -> str:
    """Take arguments of all kinds, and insist on their types."""
    assert type(count) is int
    assert type(name) is str
    assert type(ratio) is float
    assert tags is None or all(type(tag) is str for tag in tags)
    assert extra is None or all(type(key) is str for key in extra)
    assert place is None or type(place.city) is type(place.country) is str
    assert isinstance(unit, enum.Enum)
    assert day is None or type(day) is dt.date
    assert pair is None or (type(pair[0]), type(pair[1])) == (int, str)
    assert type(either) in {int, str}
    return "run"


class Arguments(Target):
    """A model's arguments through :meth:`Tool.invoke`.

    The tool runs with values of the declared types, or :class:`InvalidArguments` says why not.
    """

    name = "arguments"

    def __init__(self, seeds: Sequence[bytes] = corpus.ARGUMENTS) -> None:
        self.seeds = seeds
        self._tool = Tool(look_up)

    def make(self, rng: Random) -> bytes:
        """Arguments that are changed."""
        return mutate(rng, self.seeds)

    def check(self, body: bytes) -> str:
        """Call the tool as a turn does."""
        try:
            return self._tool.invoke(body.decode(errors="replace"), CONTEXT)
        except InvalidArguments as error:
            str(error).encode()
            return type(error).__name__


class Outputs(Target):
    """A model's answer through :meth:`Output.parse`: a value of the shape, or a rejection."""

    name = "output"

    def __init__(self, seeds: Sequence[bytes] = corpus.OUTPUTS) -> None:
        self.seeds = seeds
        self._shapes: tuple[Output[list[Place]], Output[Place]] = (
            Output(list[Place]),
            Output(Place),
        )

    def make(self, rng: Random) -> bytes:
        """An answer that is changed."""
        return mutate(rng, self.seeds)

    def check(self, body: bytes) -> str:
        """Read it as each of the shapes."""
        found: list[str] = []
        for shape in self._shapes:
            try:
                value = shape.parse(body.decode(errors="replace"))
            except OutputRejection as error:
                "".join(error.errors).encode()
                found.append("rejected" if error.errors else "rejected without a reason")
            else:
                places = value if isinstance(value, list) else [value]
                assert all(isinstance(place, Place) for place in places)
                found.append("fits")
        return " and ".join(found)
