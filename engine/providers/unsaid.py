"""What a message loses in the words of a provider, found by reading again what was written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never

import msgspec

from agent.engine.errors import ConfigurationError
from agent.engine.request import in_words
from agent.eventstore.messages import (
    FilePart,
    ImagePart,
    Link,
    Message,
    OpaquePart,
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    every_part,
)
from agent.projections.losses import Loss, of_provider

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from agent.engine.provider import MessageContext
    from agent.engine.providers.served import ServedProvider
    from agent.eventstore.messages import Blob


def encoded(
    provider: ServedProvider[Any], message: Message, context: MessageContext
) -> Sequence[bytes]:
    """The items of a message; attachments that these cannot hold are named in words."""
    taken = _taken(provider, message, context)
    if taken is None:
        alone = (Message(message.role, (part,)) for part in message.parts)
        held = (in_words(one) if _taken(provider, one, context) is None else one for one in alone)
        parts = tuple(part for one in held for part in one.parts)
        taken = provider.encode_message(Message(message.role, parts), context)
    return taken


def _taken(
    provider: ServedProvider[Any], message: Message, context: MessageContext
) -> Sequence[bytes] | None:
    """The items of a message as it is; None if something of it cannot be held."""
    if any(blob.digest not in context.attachments for blob in message.blobs()):
        return None
    try:
        return provider.encode_message(message, context)
    except ConfigurationError:
        return None


def unsaid(
    provider: ServedProvider[Any], model: str, message: Message, items: Iterable[bytes]
) -> Iterator[Loss]:
    """What a message says and its items do not; items of the calls that it answers come first."""
    said = list(items)
    if not said:
        yield Loss("empty messages", int(not message.parts))
    body = {provider.conversation[0]: [msgspec.json.decode(item) for item in said]}
    origin = provider.origin(model)
    transcript = provider.read_body(body, origin)
    heard = _Heard(transcript.system or "", transcript.messages)
    for part in every_part(message.parts):
        if part.opaque is not None and origin.own(part.opaque) is None:
            yield of_provider(part.opaque)
        yield heard.lacks(part)


_NOTHING = Loss("what only its provider understands", 0)


class _Heard:
    """What is understood of items that are read again."""

    def __init__(self, system: str, messages: Iterable[Message]) -> None:
        parts = [part for message in messages for part in every_part(message.parts)]
        self._text = system + "".join(p.text for p in parts if isinstance(p, TextPart))
        self._reasoning = "".join(p.text for p in parts if isinstance(p, ReasoningPart))
        self._refusals = "".join(p.text for p in parts if isinstance(p, RefusalPart))
        self._sources = {_source(p) for p in parts if isinstance(p, ImagePart | FilePart)}
        self._calls = [(p.name, _json(p)) for p in parts if isinstance(p, ToolCallPart)]
        self._errors = sum(p.is_error for p in parts if isinstance(p, ToolResultPart))

    def lacks(self, part: Part) -> Loss:
        """What of a part is not there, if anything."""
        match part:
            case TextPart(text=text):
                return Loss("text", int(text.strip() not in self._text))
            case ReasoningPart(text=text):
                return Loss("reasoning", int(text not in self._reasoning))
            case RefusalPart(text=text):
                return Loss("refusals", int(text not in self._refusals))
            case ImagePart() | FilePart():
                return Loss("attachments", int(_source(part) not in self._sources))
            case ToolCallPart(name=name):
                kind = "invalid arguments" if _json(part) is None else "calls"
                return Loss(kind, int((name, _json(part)) not in self._calls))
            case ToolResultPart(is_error=is_error):
                return Loss("marks of errors", int(is_error and not self._errors))
            case OpaquePart():
                return _NOTHING
            case _:
                assert_never(part)


def _source(part: ImagePart | FilePart) -> str:
    source: Blob | Link = part.source
    return source.url if isinstance(source, Link) else source.digest


def _json(call: ToolCallPart) -> Any:
    """The arguments as a value; None for those that are no object."""
    text = call.arguments or "{}"
    return None if call.valid_arguments != text else msgspec.json.decode(text)
