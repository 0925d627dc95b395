"""Where a request is built: the conversation, encoded once per message, joined when sent.

Messages come first in the body and only grow at their end, so their encoded fragments and the
running SHA-256 over them are kept from turn to turn. What is kept is bound to the conversation's
epoch and to where its excerpt begins; after a rewind what both histories begin with is used again.
Dropping it changes no byte.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

import msgspec

from agent.engine.provider import Frame, MessageContext, ModelRequest, Prompt, Provider
from agent.eventstore.messages import (
    Blob,
    FilePart,
    ImagePart,
    Link,
    Message,
    Part,
    TextPart,
    ToolResultPart,
)
from agent.eventstore.values import Excerpt
from agent.projections.pairing import Pairing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.projections.conversation import Conversation

replace = msgspec.structs.replace

_KEPT_ENCODINGS = 4

_STOPS = 64
"""Messages between two places from which a history that has parted is encoded on."""


class _Prefix:
    """The history of one epoch from one place on, encoded for one provider and model."""

    def __init__(self, origin: _Origin, frame: Frame) -> None:
        self.origin = origin
        self.head = frame.start, frame.leading
        self.messages: list[Message] = []
        self.fragments = list(frame.leading)
        self.sha: _Sha = hashlib.sha256(frame.start + b",".join(frame.leading))
        self.pairing = Pairing()
        self.ahead: dict[int, _Encoded] = {}
        self.stops: list[_Stop] = []

    @property
    def seen(self) -> int:
        """How many messages it has."""
        return len(self.messages)

    @property
    def last(self) -> Message | None:
        """Its last message."""
        return self.messages[-1] if self.messages else None

    def branch(self) -> _Prefix:
        """The same for another writer."""
        stop = _Stop(self.seen, len(self.fragments), self.sha, self.pairing)
        return self._until(stop, self.origin)

    def parted(self, reading: _Reading, frame: Frame) -> _Prefix:
        """What of it can be used for a history that is another one from some message on."""
        shared = 0
        if self.head == (frame.start, frame.leading):
            pairs = zip(self.messages, reading.history(), strict=False)
            shared = next((at for at, (one, other) in enumerate(pairs) if one is not other), -1)
            shared = min(self.seen, reading.length) if shared < 0 else shared
        stops = [stop for stop in self.stops if stop.seen <= shared]
        return self._until(stops[-1], reading.origin) if stops else _Prefix(reading.origin, frame)

    def _until(self, stop: _Stop, origin: _Origin) -> _Prefix:
        copy = _Prefix.__new__(_Prefix)
        copy.origin, copy.head = origin, self.head
        copy.messages = self.messages[: stop.seen]
        copy.fragments = self.fragments[: stop.fragments]
        copy.sha, copy.pairing = stop.sha.copy(), stop.pairing.copy()
        copy.ahead = {}
        copy.stops = [one for one in self.stops if one.seen <= stop.seen]
        return copy

    def add(self, encoded: _Encoded) -> None:
        """Take a message of the history."""
        self.pairing.see(encoded.message)
        for fragment in encoded.fragments:
            self.sha.update(b"," + fragment if self.fragments else fragment)
            self.fragments.append(fragment)
        self.messages.append(encoded.message)
        if self.seen % _STOPS == 0:
            sha, pairing = self.sha.copy(), self.pairing.copy()
            self.stops.append(_Stop(self.seen, len(self.fragments), sha, pairing))


class _Sha(Protocol):
    """A digest that goes on."""

    def update(self, data: bytes, /) -> None: ...
    def copy(self) -> Self: ...
    def hexdigest(self) -> str: ...


class _Stop(NamedTuple):
    """A place in a history from which it can be encoded on."""

    seen: int
    fragments: int
    sha: _Sha
    pairing: Pairing


class _Encoded(NamedTuple):
    message: Message
    fragments: Sequence[bytes]


class _Origin(NamedTuple):
    """Where what is read begins: the same for as long as it only grows at its end."""

    epoch: int
    excerpt: Excerpt
    summary: bool


class _Reading(NamedTuple):
    """What the model reads of a conversation: an excerpt of the history, and the open turn.

    A summary is made of words alone: attachments are named, not sent, so that none can stand in
    its way that its model does not take.
    """

    conversation: Conversation
    excerpt: Excerpt
    summary: bool

    @property
    def origin(self) -> _Origin:
        return _Origin(self.conversation.epoch, self.excerpt, self.summary)

    def history(self, skip: int = 0) -> list[Message]:
        """The excerpt but for its first messages."""
        view, transcript = self.conversation.view, self.conversation.transcript
        messages = view.messages(transcript, self.excerpt.start + skip, self.excerpt.end)
        return [in_words(message) for message in messages] if self.summary else messages

    @property
    def length(self) -> int:
        """How many messages the excerpt has."""
        end = self.conversation.length if self.excerpt.end is None else self.excerpt.end
        return end - self.excerpt.start

    @property
    def said(self) -> Sequence[Message]:
        """The messages of the open turn."""
        return self.conversation.turn.messages if self.conversation.turn else ()


def in_words(message: Message) -> Message:
    """The message with its images and files named instead of shown."""
    return replace(message, parts=tuple(_in_words(part) for part in message.parts))


def _in_words(part: Part) -> Part:
    match part:
        case ImagePart(source=source, media_type=media_type):
            return TextPart(f"[image: {_named(source, media_type)}]")
        case FilePart(source=source, media_type=media_type, name=name):
            return TextPart(f"[file: {name or _named(source, media_type)}]")
        case ToolResultPart(content=content):
            return replace(part, content=tuple(_in_words(item) for item in content))
        case _:
            return part


def _named(source: Blob | Link, media_type: str | None) -> str:
    return source.url if isinstance(source, Link) else media_type or "attached"


def _reading(conversation: Conversation) -> _Reading:
    turn = conversation.turn
    if turn is None:
        return _Reading(conversation, Excerpt(), summary=False)
    excerpt = turn.input.excerpt or Excerpt()
    return _Reading(conversation, excerpt, summary=turn.input.kind == "compaction")


class RequestBuilder:
    """Builds the requests of one session."""

    def __init__(self) -> None:
        self._prefixes: dict[tuple[str, ...], _Prefix] = {}

    def branch(self) -> RequestBuilder:
        """A builder for a fork, which begins with the same messages."""
        builder = RequestBuilder()
        builder._prefixes = {key: prefix.branch() for key, prefix in self._prefixes.items()}
        return builder

    def attachments(
        self, conversation: Conversation, provider: Provider, prompt: Prompt
    ) -> list[str]:
        """The digests of the attachments that :meth:`build` needs to be given."""
        reading = _reading(conversation)
        prefix = self._prefix(provider, prompt, reading)
        new = [*reading.history(skip=prefix.seen), *reading.said]
        unknown = (message for message in new if id(message) not in prefix.ahead)
        blobs = [blob for message in unknown for blob in message.blobs()]
        return list({blob.digest: None for blob in blobs if blob.data is None})

    def build(
        self,
        conversation: Conversation,
        provider: Provider,
        prompt: Prompt,
        attachments: Mapping[str, bytes],
    ) -> ModelRequest:
        """The request that asks the model for the next step of the open turn.

        Raises :class:`~agent.projections.pairing.PairingError` for a history that no provider
        would take.
        """
        frame, reading = provider.encode_frame(prompt), _reading(conversation)
        prefix = self._prefix(provider, prompt, reading)
        ahead = prefix.ahead

        def encoded(message: Message, before: Message | None) -> _Encoded:
            if known := ahead.get(id(message)):
                return known
            context = message_context(message, before, prompt.model, attachments)
            return _Encoded(message, provider.encode_message(message, context))

        for message in reading.history(skip=prefix.seen):
            prefix.add(encoded(message, prefix.last))
        before = (prefix.last, *reading.said)
        opened = [encoded(*pair) for pair in zip(reading.said, before, strict=False)]
        prefix.ahead = {id(item.message): item for item in opened}
        return _assemble(prompt, frame, prefix, opened, reading)

    def _prefix(self, provider: Provider, prompt: Prompt, reading: _Reading) -> _Prefix:
        """What is encoded already of what is read, as much of it as can be used."""
        key = provider.name, provider.api, provider.encoder, prompt.model
        prefix = self._prefixes.pop(key, None)
        if prefix is None:
            prefix = _Prefix(reading.origin, provider.encode_frame(prompt))
        elif prefix.origin != reading.origin:
            prefix = prefix.parted(reading, provider.encode_frame(prompt))
        self._prefixes[key] = prefix
        while len(self._prefixes) > _KEPT_ENCODINGS:
            del self._prefixes[next(iter(self._prefixes))]
        return prefix


def message_context(
    message: Message, before: Message | None, model: str, attachments: Mapping[str, bytes]
) -> MessageContext:
    """What the encoding of a message may depend on; ``before`` is the message before it."""
    given = {blob.digest: blob.data for blob in message.blobs() if blob.data is not None}
    asked = before.tool_calls if before is not None and message.role == "tool" else ()
    calls = {call.call_id: call for call in asked}
    return MessageContext(model, {**attachments, **given}, calls)


def _assemble(
    prompt: Prompt,
    frame: Frame,
    prefix: _Prefix,
    opened: Sequence[_Encoded],
    reading: _Reading,
) -> ModelRequest:
    pairing, sha = prefix.pairing.copy(), prefix.sha.copy()
    for item in opened:
        pairing.see(item.message)
    pairing.end()
    fragments, length = prefix.fragments, len(prefix.fragments)
    items = [fragment for item in opened for fragment in item.fragments]
    sha.update((b"," if length and items else b"") + b",".join(items) + frame.end)

    def read_body() -> bytes:
        return frame.start + b",".join((*fragments[:length], *items)) + frame.end

    def read_messages() -> list[Message]:
        return [*reading.history(), *(item.message for item in opened)]

    return ModelRequest(prompt, sha.hexdigest(), read_body, read_messages)
