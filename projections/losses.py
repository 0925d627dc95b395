"""What a format cannot carry over from a session, as data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from agent.eventstore.messages import every_part
from agent.eventstore.values import metadata_dict
from agent.projections.usage import model_calls

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from agent.eventstore.messages import Message, Opaque
    from agent.eventstore.record import Recorded
    from agent.projections.session import SessionState

Kind = Literal[
    "events",
    "erased events",
    "tool definitions",
    "usage of model calls",
    "metadata",
    "messages that are not visible",
    "messages of the open turn",
    "empty messages",
    "text",
    "reasoning",
    "refusals",
    "marks of errors",
    "attachments",
    "invalid arguments",
    "calls",
    "what only its provider understands",
    "marks of the system prompt",
    "borders in the system prompt",
    "roles of system messages",
    "fields of the body",
]
"""Events are the log itself: times, hashes, and how everything came to be."""


class Loss(msgspec.Struct, frozen=True):
    """How many of a kind were left out; ``names`` says which, where they have names.

    >>> str(Loss("tool definitions", 1, ("get_weather",)))
    'tool definitions: 1 (get_weather)'
    """

    kind: Kind
    count: int
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        named = f" ({', '.join(self.names)})" if self.names else ""
        return f"{self.kind}: {self.count:,}{named}"


def summed(losses: Iterable[Loss]) -> tuple[Loss, ...]:
    """The losses, one of a kind."""
    found: dict[Kind, Loss] = {}
    for loss in losses:
        known = found.get(loss.kind, Loss(loss.kind, 0))
        names = tuple(sorted({*known.names, *loss.names}))
        found[loss.kind] = Loss(loss.kind, known.count + loss.count, names)
    return tuple(loss for loss in found.values() if loss.count)


def of_log(state: SessionState, facts: Sequence[Recorded]) -> Iterator[Loss]:
    """What every format leaves out that holds a conversation and no log; usage apart."""
    now = state.conversation
    tools = tuple(tool.name for tool in now.tools.definitions)
    metadata = tuple(metadata_dict(now.metadata))
    yield Loss("events", len(facts))
    yield Loss("erased events", sum(fact.erased for fact in facts))
    yield Loss("tool definitions", len(tools), tools)
    yield Loss("metadata", len(metadata), metadata)
    yield Loss("messages that are not visible", len(now.transcript) - now.length)


def of_usage(facts: Iterable[Recorded]) -> Loss:
    """The usage of model calls, where a format leaves it out."""
    return Loss("usage of model calls", sum(1 for _ in model_calls(facts)))


def of_messages(messages: Iterable[Message]) -> Iterator[Loss]:
    """What a text for people leaves out of messages: bytes, and what only providers read."""
    for message in messages:
        yield Loss("attachments", sum(1 for _ in message.blobs()))
        opaque = (part.opaque for part in every_part(message.parts))
        yield from (of_provider(one) for one in opaque if one is not None)


def of_provider(opaque: Opaque) -> Loss:
    """Something that only its provider understands, with the model that it is of."""
    names = (f"{opaque.provider} {opaque.model}".rstrip(),)
    return Loss("what only its provider understands", 1, names)
