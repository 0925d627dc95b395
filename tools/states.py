"""Sessions as they were: read for a command, as data and as lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click
import msgspec

from agent.engine.past_states import PastStates
from agent.engine.view import View
from agent.tools.output import indented
from agent.tools.words import part_text

if TYPE_CHECKING:
    from agent.eventstore.log import EventLog
    from agent.eventstore.messages import Message
    from agent.eventstore.values import Usage
    from agent.projections.turn import Turn
    from agent.tools.revisions import Place


STATE = "agent.state/1"
"""The schema of :func:`state_document`."""


def view_at(log: EventLog, place: Place) -> View:
    """The session as it was at a place. No agent is needed, and nothing is written."""
    return View(PastStates(log, place.session).at(place.version))


def plain(value: object) -> Any:  # noqa: ANN401 - JSON
    """A value of the library as JSON has it."""
    return msgspec.json.decode(msgspec.json.encode(value))


def state_document(place: Place, view: View) -> dict[str, Any]:
    """A session as it was at a place, as a program reads it."""
    return {"session": place.session, "version": place.version, **state_fields(view)}


def state_fields(view: View) -> dict[str, Any]:
    """A state as data."""
    return {
        "system": view.system,
        "tools": plain(view.tools),
        "metadata": view.metadata,
        "messages": plain(view.messages),
        "usage": {
            "own": usage_fields(view.usage.own),
            "inherited": usage_fields(view.usage.inherited),
        },
        "parent": view.parent,
        "turn": turn_fields(view.turn),
    }


def usage_fields(usage: Usage) -> dict[str, Any]:
    """Tokens as data, those that are 0 too."""
    return msgspec.structs.asdict(usage)


def turn_fields(turn: Turn | None) -> dict[str, Any] | None:
    """An open turn as data."""
    if turn is None:
        return None
    return {
        "started": turn.started,
        "messages": plain(turn.messages),
        "calls": [
            {"id": call.part.call_id, "tool": call.part.name, "state": call.state}
            for call in turn.calls
        ],
    }


def state_lines(view: View) -> Iterator[str]:
    """A state as lines."""
    yield from _section("system", view.system or "(none)")
    names = ", ".join(tool.name for tool in view.tools)
    yield from _section("tools", names or "(none)")
    if view.metadata:
        yield from _section("metadata", msgspec.json.encode(view.metadata).decode())
    usage = view.usage
    words = f"{usage.total.input_tokens:,} in, {usage.total.output_tokens:,} out"
    inherited = usage.inherited.input_tokens + usage.inherited.output_tokens
    yield from _section("tokens", f"{words}, {inherited:,} inherited" if inherited else words)
    for message in view.messages:
        yield from message_lines(message)
    if view.turn is not None:
        yield click.style(f"open turn, begun at version {view.turn.started}", "yellow")
        for message in view.turn.messages:
            yield from message_lines(message)
        for call in view.turn.calls:
            yield from indented(f"{call.part.call_id} {call.part.name}: {call.state}")


def message_lines(message: Message) -> Iterator[str]:
    """A message as lines."""
    yield from _section(message.role, "\n".join(map(part_text, message.parts)))


def _section(name: str, text: str) -> Iterator[str]:
    yield click.style(name, "cyan")
    yield from indented(text)
