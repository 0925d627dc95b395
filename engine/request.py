"""Where a request is built: the conversation, encoded once per message, joined when sent.

Messages come first in the body and only grow at their end, so their encoded fragments and the
running SHA-256 over them are kept from turn to turn. What is kept is bound to the conversation's
epoch; dropping it changes no byte.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from agent.engine.provider import Frame, ModelRequest, Prompt, Provider
from agent.eventstore.messages import Message
from agent.projections.pairing import Pairing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from agent.projections.conversation import Conversation

_KEPT_ENCODINGS = 4


class _Prefix:
    """The visible history of one epoch, encoded for one provider and model."""

    def __init__(self, epoch: int, frame: Frame) -> None:
        self.epoch = epoch
        self.seen = 0
        self.fragments = list(frame.leading)
        self.sha = hashlib.sha256(frame.start + b",".join(frame.leading))
        self.pairing = Pairing()
        self.ahead: dict[int, _Encoded] = {}

    def branch(self) -> _Prefix:
        copy = _Prefix.__new__(_Prefix)
        copy.epoch, copy.seen = self.epoch, self.seen
        copy.fragments = self.fragments.copy()
        copy.sha, copy.pairing = self.sha.copy(), self.pairing.copy()
        copy.ahead = {}
        return copy

    def add(self, encoded: _Encoded) -> None:
        """Take a message of the history."""
        self.pairing.see(encoded.message)
        for fragment in encoded.fragments:
            self.sha.update(b"," + fragment if self.fragments else fragment)
            self.fragments.append(fragment)
        self.seen += 1


class _Encoded(NamedTuple):
    message: Message
    fragments: Sequence[bytes]


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
        prefix = self._prefixes.get(_key(provider, prompt))
        usable = prefix is not None and prefix.epoch == conversation.epoch
        seen, ahead = (prefix.seen, prefix.ahead) if prefix and usable else (0, {})
        new = conversation.view.messages(conversation.transcript, skip=seen)
        new += conversation.turn.messages if conversation.turn else ()
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
        key = _key(provider, prompt)
        prefix = self._prefixes.pop(key, None)
        if prefix is None or prefix.epoch != conversation.epoch:
            prefix = _Prefix(conversation.epoch, frame)
        ahead = prefix.ahead

        def encoded(message: Message) -> _Encoded:
            if known := ahead.get(id(message)):
                return known
            given = {blob.digest: blob.data for blob in message.blobs() if blob.data is not None}
            loaded = {**attachments, **given}
            return _Encoded(message, provider.encode_message(message, prompt.model, loaded))

        for message in conversation.view.messages(conversation.transcript, skip=prefix.seen):
            prefix.add(encoded(message))
        opened = [encoded(m) for m in (conversation.turn.messages if conversation.turn else ())]
        prefix.ahead = {id(item.message): item for item in opened}
        self._keep(key, prefix)
        return _assemble(prompt, frame, prefix, opened, conversation)

    def _keep(self, key: tuple[str, ...], prefix: _Prefix) -> None:
        self._prefixes[key] = prefix
        while len(self._prefixes) > _KEPT_ENCODINGS:
            del self._prefixes[next(iter(self._prefixes))]


def _assemble(
    prompt: Prompt,
    frame: Frame,
    prefix: _Prefix,
    opened: Sequence[_Encoded],
    conversation: Conversation,
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
        return [*conversation.messages, *(item.message for item in opened)]

    return ModelRequest(prompt, sha.hexdigest(), read_body, read_messages)


def _key(provider: Provider, prompt: Prompt) -> tuple[str, ...]:
    return provider.name, provider.api, provider.encoder, prompt.model
