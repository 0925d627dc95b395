"""What a caller may say: prompts and messages, checked where they come in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agent.engine.errors import InvalidPrompt
from agent.eventstore.codec import CODEC
from agent.eventstore.events import MessageAdded
from agent.eventstore.messages import (
    FilePart,
    ImagePart,
    Message,
    OpaquePart,
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from agent.projections.pairing import Pairing

Prompted = str | Message | Sequence[Part]

_SAID = {
    "user": TextPart | ImagePart | FilePart | OpaquePart,
    "assistant": TextPart
    | RefusalPart
    | ReasoningPart
    | ImagePart
    | FilePart
    | ToolCallPart
    | OpaquePart,
    "tool": ToolResultPart,
}


def message_of(prompt: Prompted) -> Message:
    """A prompt as the user's message. Raises :class:`InvalidPrompt`."""
    match prompt:
        case str():
            return Message.user(str.__str__(prompt))
        case Message(role="assistant" | "tool" as role):
            raise InvalidPrompt(f"a turn begins with a user's message, not one of role {role!r}")
        case Message():
            return checked_message(prompt)
        case Sequence() if not isinstance(prompt, bytes | bytearray | memoryview):
            return _message_of_parts(prompt)
        case _:
            raise InvalidPrompt(
                "a prompt is text, a user's Message, or a list of parts, "
                f"not of type {type(prompt).__name__}"
            )


def _message_of_parts(parts: Sequence[Part]) -> Message:
    if not parts:
        raise InvalidPrompt("a prompt cannot be an empty list; give it text or parts")
    for part in parts:
        if not isinstance(part, Part):  # pyright: ignore[reportUnnecessaryIsInstance] - user input
            raise InvalidPrompt(
                "a prompt's list holds parts such as TextPart(...) and ImagePart.from_bytes(...), "
                f"not {type(part).__name__}"
            )
    return checked_message(Message.user(*parts))


def checked_message(message: Message) -> Message:
    """A message that a history can hold. Raises :class:`InvalidPrompt`."""
    if not isinstance(message, Message):  # pyright: ignore[reportUnnecessaryIsInstance] - user input
        raise InvalidPrompt(
            "a message is made by Message.user(...), Message.assistant(...) or Message.tool(...), "
            f"not {type(message).__name__}"
        )
    role, parts = message.role, message.parts
    if not isinstance(role, str) or role not in _SAID:  # pyright: ignore[reportUnnecessaryIsInstance] - user input
        raise InvalidPrompt(
            "a message has the role 'user', 'assistant' or 'tool'; "
            "a system prompt goes into agent.session(system=...)"
        )
    if not isinstance(parts, tuple):  # pyright: ignore[reportUnnecessaryIsInstance] - user input
        raise InvalidPrompt(f"a message's parts are a tuple; Message.{role}(*parts) makes one")
    if not parts and role != "assistant":
        raise InvalidPrompt(f"a message of role {role!r} needs at least one part")
    for part in parts:
        if not isinstance(part, _SAID[role]):
            raise InvalidPrompt(f"a message of role {role!r} cannot hold {type(part).__name__}")
        match part:
            case ToolCallPart(call_id="") | ToolCallPart(name="") | ToolResultPart(call_id=""):
                raise InvalidPrompt(
                    "a tool call needs a call_id and a name, its result the same id"
                )
            case _:
                pass
    return message


def checked_history(messages: Iterable[Message]) -> tuple[Message, ...]:
    """Messages that a session can begin with, its last calls perhaps still without results.

    Raises :class:`InvalidPrompt`, :class:`~agent.projections.pairing.PairingError` and
    :class:`~agent.eventstore.errors.InvalidEvent`.
    """
    if isinstance(messages, Message) or not isinstance(messages, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance] - user input
        raise InvalidPrompt(f"messages= takes a list of messages, not {type(messages).__name__}")
    history = tuple(checked_message(message) for message in messages)
    pairing = Pairing()
    for message in history:
        pairing.see(message)
        CODEC.encode(MessageAdded(message=message))
    return history
