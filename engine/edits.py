"""What if it had been said otherwise: a record with some of its words replaced."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

import msgspec

from agent.engine.errors import ConfigurationError
from agent.engine.prompts import Prompted, checked_message, message_of
from agent.engine.tool_results import content_of
from agent.eventstore.chain import GENESIS
from agent.eventstore.events import (
    MessageAdded,
    ModelResponded,
    SessionStarted,
    SystemChanged,
    ToolResolved,
    ToolReturned,
    TurnStarted,
)
from agent.eventstore.messages import Message, TextPart, ToolCallPart
from agent.eventstore.rawjson import check_text
from agent.eventstore.record import Head, prepare, record

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from agent.eventstore.events import Event
    from agent.eventstore.record import Recorded

replace = msgspec.structs.replace

Edit = Mapping[int, Any]
"""New content by version: of a prompt, a message, an answer, a tool's result, a system prompt."""


class TodayOptions(TypedDict, total=False):
    """What a recorded session is held against besides an agent.

    ``system`` is another system prompt, None for none. ``schemas`` are the types that ``json`` is
    given today; other shapes are taken as they were recorded, with their verdicts.
    """

    system: str | None
    schemas: Sequence[type[Any] | TypeAdapter[Any]]


class ReplayOptions(TodayOptions, total=False):
    """Also ``edit``: other content by version, of a prompt, a message, an answer, a result."""

    edit: Edit


def edits_of(facts: Sequence[Recorded], options: ReplayOptions) -> dict[int, Any]:
    """What is replaced; a ``system`` prompt as if the session had had it from its beginning.

    Raises :class:`ConfigurationError` for what is no edit, ``TypeError`` for an unknown option.
    """
    unknown = sorted(options.keys() - ReplayOptions.__optional_keys__)
    if unknown:
        known = ", ".join(sorted(ReplayOptions.__optional_keys__))
        raise TypeError(f"unknown options: {', '.join(unknown)}; a replay takes {known}")
    edit = options.get("edit") or {}
    if not isinstance(edit, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] - user input
        raise ConfigurationError(f"edit= takes {{version: content}}, not {type(edit).__name__}")
    for version in edit:
        if type(version) is not int:
            raise ConfigurationError(f"edit= takes versions, which are numbers, not {version!r}")
    if "system" not in options:
        return dict(edit)
    prompt, kinds = checked_system(options["system"]), ("session.started", "system.changed")
    return {fact.version: prompt for fact in facts if fact.type in kinds} | dict(edit)


def edited(facts: Sequence[Recorded], edits: Edit) -> list[Recorded]:
    """The events with other contents at some versions, chained anew.

    Raises :class:`ConfigurationError` for a version that holds nothing that could be replaced.
    """
    known = {fact.version for fact in facts}
    unknown = [version for version in edits if version not in known]
    if unknown:
        raise ConfigurationError(
            f"edit= names version {unknown[0]!r}; the session has versions 1 to {len(facts)}"
        )
    if not edits:
        return list(facts)
    first = next(index for index, fact in enumerate(facts) if fact.version in edits)
    prepared = [
        prepare(
            edited_event(fact, edits[fact.version]),
            recorded_at=fact.recorded_at,
            salt=fact.salt or b"",
        )
        if fact.version in edits
        else fact
        for fact in facts[first:]
    ]
    before = facts[first].version - 1
    head = Head(before, facts[first - 1].hash if first else GENESIS) if before else None
    return [*facts[:first], *record(prepared, stream=facts[0].stream, after=head)]


def edited_event(fact: Recorded, content: object) -> Event:
    """An event with other content. Raises :class:`ConfigurationError`."""
    event: Any = fact.event
    match event:
        case TurnStarted():
            return replace(event, input=message_of(_prompt(content)))
        case MessageAdded():
            return replace(event, message=_message(event.message, content))
        case ModelResponded():
            return replace(event, message=_answer(fact.version, event.message, content))
        case ToolReturned():
            return replace(event, content=content_of(content), is_error=False)
        case ToolResolved(how="result" | "failed"):
            return replace(event, content=content_of(content), how="result")
        case SessionStarted() | SystemChanged():
            return replace(event, system=checked_system(content))
        case _:
            raise ConfigurationError(
                f"version {fact.version} is {fact.type!r}, which holds nothing to replace; edit= "
                "takes versions of prompts, messages, answers, tool results and system prompts"
            )


def _prompt(content: Any) -> Prompted:  # noqa: ANN401 - a user's; it is checked next
    return content


def _message(recorded: Message, content: object) -> Message:
    """A message of the same role: a whole one, or other text in place of all its parts."""
    if isinstance(content, str):
        check_text(content, of="edit", path="$")
        content = Message(recorded.role, (TextPart(content),))
    if not isinstance(content, Message):
        raise ConfigurationError(f"edit= takes text or a message, not {type(content).__name__}")
    if content.role != recorded.role:
        raise ConfigurationError(
            f"edit= replaces a message of role {recorded.role!r} by one of the same, not by one of "
            f"{content.role!r}"
        )
    return checked_message(content)


def _answer(version: int, recorded: Message, content: object) -> Message:
    """An answer whose calls are named as the engine names those of this version."""
    message = _message(recorded, content)
    theirs = {part.call_id: part.provider_id for part in recorded.tool_calls}
    parts = [
        replace(
            part,
            call_id=f"call_{version}_{index}",
            provider_id=part.provider_id or theirs.get(part.call_id, part.call_id),
        )
        if isinstance(part, ToolCallPart)
        else part
        for index, part in enumerate(message.parts)
    ]
    return Message(message.role, tuple(parts))


def checked_system(content: object) -> str | None:
    """A system prompt, None for none. Raises :class:`ConfigurationError`."""
    if content is None:
        return None
    if not isinstance(content, str):
        raise ConfigurationError(f"a system prompt is text, not {type(content).__name__}")
    check_text(content, of="system", path="$")
    return content or None
