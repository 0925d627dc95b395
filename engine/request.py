"""Where a request is built: the conversation, encoded once per message, joined when sent.

Messages come first in the body and only grow at their end, so their encoded fragments and the
running SHA-256 over them are kept from turn to turn. What is kept is bound to the conversation's
epoch and to where its excerpt begins; dropping it changes no byte.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

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


class _Prefix:
    """The history of one epoch from one place on, encoded for one provider and model."""

    def __init__(self, origin: _Origin, frame: Frame) -> None:
        self.origin = origin
        self.seen = 0
        self.fragments = list(frame.leading)
        self.sha = hashlib.sha256(frame.start + b",".join(frame.leading))
        self.pairing = Pairing()
        self.last: Message | None = None
        self.ahead: dict[int, _Encoded] = {}

    def branch(self) -> _Prefix:
        copy = _Prefix.__new__(_Prefix)
        copy.origin, copy.seen = self.origin, self.seen
        copy.fragments = self.fragments.copy()
        copy.sha, copy.pairing = self.sha.copy(), self.pairing.copy()
        copy.last = self.last
        copy.ahead = {}
        return copy

    def add(self, encoded: _Encoded) -> None:
        """Take a message of the history."""
        self.pairing.see(encoded.message)
        self.last = encoded.message
        for fragment in encoded.fragments:
            self.sha.update(b"," + fragment if self.fragments else fragment)
            self.fragments.append(fragment)
        self.seen += 1


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
        prefix = self._prefixes.get(_key(provider, prompt))
        usable = prefix is not None and prefix.origin == reading.origin
        seen, ahead = (prefix.seen, prefix.ahead) if prefix and usable else (0, {})
        new = [*reading.history(skip=seen), *reading.said]
        unknown = (message for message in new if id(message) not in ahead)
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
        frame = provider.encode_frame(prompt)
        reading = _reading(conversation)
        key = _key(provider, prompt)
        prefix = self._prefixes.pop(key, None)
        if prefix is None or prefix.origin != reading.origin:
            prefix = _Prefix(reading.origin, frame)
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
        self._keep(key, prefix)
        return _assemble(prompt, frame, prefix, opened, reading)

    def _keep(self, key: tuple[str, ...], prefix: _Prefix) -> None:
        self._prefixes[key] = prefix
        while len(self._prefixes) > _KEPT_ENCODINGS:
            del self._prefixes[next(iter(self._prefixes))]


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


def _key(provider: Provider, prompt: Prompt) -> tuple[str, ...]:
    return provider.name, provider.api, provider.encoder, prompt.model
