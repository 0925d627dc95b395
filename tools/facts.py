"""Recorded events as data and as lines. One that does not decode is shown with what is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from agent.eventstore.errors import CorruptLog, UnknownEvent
from agent.tools.output import fitted, indented, local_time, width
from agent.tools.words import contents, summary

if TYPE_CHECKING:
    from agent.eventstore.events import Event
    from agent.eventstore.record import Recorded

_WIDEST_TYPE = 18


class Facts:
    """Shows events of one session. ``damage`` is the first that could not be decoded."""

    def __init__(self, session: str) -> None:
        self.session = session
        self.damage: CorruptLog | UnknownEvent | None = None

    def event(self, fact: Recorded) -> Event | str:
        """The event; in words, why there is none."""
        try:
            return fact.event
        except (CorruptLog, UnknownEvent) as error:
            self.damage = self.damage or error
            return f"DAMAGED: {error}" if isinstance(error, CorruptLog) else f"UNKNOWN: {error}"

    def check(self) -> None:
        """Raise what was found damaged, once everything else has been shown."""
        if self.damage is not None:
            raise self.damage

    def fields(self, fact: Recorded, *, whole: bool) -> dict[str, Any]:
        """An event as data; ``whole`` with its stored payload."""
        found = self.event(fact)
        data: dict[str, Any] = {
            "session": self.session,
            "version": fact.version,
            "position": fact.position,
            "type": fact.type,
            "recorded_at": time_of(fact).isoformat(),
            "hash": fact.hash.hex(),
            "inherited": fact.stream != self.session,
            "erased": fact.erased,
            "summary": found if isinstance(found, str) else summary(found),
        }
        if whole:
            data["event"] = None if isinstance(found, str) else json.loads(fact.payload)
        return data

    def line(self, fact: Recorded, *, timed: bool, before: str = "") -> str:
        """An event as one line; ``before`` stands in front of it."""
        found = self.event(fact)
        said = found if isinstance(found, str) else summary(found)
        time = f"{local_time(time_of(fact))}  " if timed else ""
        head = f"{before}{fact.version:>6}  {time}"
        kind = fitted(fact.type, 40)
        left = width() - len(head) - max(len(kind), _WIDEST_TYPE) - 2
        text = fitted(said, left) if left > 0 else ""
        styled = click.style(text, "red") if found is said and text else text
        gap = " " * (max(_WIDEST_TYPE - len(kind), 0) + 2) if text else ""
        return f"{head}{click.style(kind, 'cyan')}{gap}{styled}"

    def contents(self, fact: Recorded) -> Iterator[str]:
        """Everything that an event says, as lines."""
        found = self.event(fact)
        for text in (found,) if isinstance(found, str) else contents(found):
            yield from indented(text)


def time_of(fact: Recorded) -> datetime:
    """When an event was recorded."""
    return datetime.fromtimestamp(fact.recorded_at / 1e9, UTC)
