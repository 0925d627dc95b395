"""Past model requests, rebuilt from the log to the byte and held against the recorded digest."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec

from agent.engine.errors import NoRequest, UnknownProvider
from agent.engine.provider import Prompt, Provider
from agent.engine.providers import spoken
from agent.engine.providers.vendors import VENDORS
from agent.engine.request import RequestBuilder
from agent.engine.settings import settings_of_step
from agent.eventstore.events import ModelRequested
from agent.eventstore.messages import Message
from agent.projections import session as projection
from agent.projections.fold import rebuild
from agent.projections.session import SessionState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from agent.engine.handle import Handle
    from agent.eventstore.record import Recorded


class PastRequest(msgspec.Struct, frozen=True):
    """A request as it was sent, rebuilt from the events before it.

    ``recorded`` is the event that holds its digest, ``version`` the place of that event. ``body``
    is what the rules of today make of the log; ``encoder`` is the name of these rules, that of the
    rules of then is ``recorded.encoder``. ``prompt`` and ``messages`` are what the body says.
    ``erased`` says that texts before it are gone: the body is made of what is left of them.
    """

    version: int
    recorded: ModelRequested
    body: bytes
    encoder: str
    prompt: Prompt
    messages: tuple[Message, ...]
    erased: bool = False

    @property
    def digest(self) -> str:
        """The SHA-256 (hex) of the body."""
        return hashlib.sha256(self.body).hexdigest()

    @property
    def proven(self) -> bool:
        """Whether the body is, byte for byte, what was sent.

        If not, texts may have been ``erased``. Else, if the encoders differ, the library builds
        requests otherwise than it did then; if they are the same, the provider depends on more than
        the log, or the log has been changed.
        """
        return self.digest == self.recorded.digest


def request_at(handle: Handle, version: int) -> PastRequest:
    """The request that is recorded at a version.

    Raises :class:`NoRequest`, :class:`UnknownStream`, :class:`UnknownProvider`.
    """
    handle.check_version(version)
    (last,) = handle.events(version, after=version - 1)
    if not isinstance(last.event, ModelRequested):
        facts = handle.log.read(handle.binding.key, types=("model.requested",))
        made = tuple(fact.version for fact in facts)
        raise NoRequest(handle.binding.key, version, last.type, made)
    before = handle.state_at(version - 1)
    found = past_request(version, last.event, before, handle.provider, handle.log.get_blob)
    return judged(found, handle.events(version))


def past_request(
    version: int,
    asked: ModelRequested,
    before: SessionState,
    provider: Provider | None,
    read_attachment: Callable[[str], bytes],
) -> PastRequest:
    """The request that is recorded at a version; ``before`` is the session up to it.

    ``provider`` builds it where it is the one that was asked; else one of the same name does,
    without a key or a connection. Raises :class:`UnknownProvider` if there is none.
    """
    turn = before.conversation.turn
    if turn is None:
        raise AssertionError("a model is asked within a turn")
    settings = settings_of_step(turn.input.settings, asked.step)
    prompt = Prompt(
        asked.model,
        before.conversation.system,
        before.conversation.tools.definitions,
        settings,
        turn.input.output,
        asked.stream,
    )
    chosen, builder = asked_provider(asked, provider), RequestBuilder()
    needed = builder.attachments(before.conversation, chosen, prompt)
    attachments = {digest: read_attachment(digest) for digest in needed}
    request = builder.build(before.conversation, chosen, prompt, attachments)
    messages = tuple(request.messages)
    return PastRequest(version, asked, request.body, chosen.encoder, prompt, messages)


def judged(past: PastRequest, before: Iterable[Recorded]) -> PastRequest:
    """The same, which knows whether the events before it have lost what it is to be proven by."""
    erased = not past.proven and any(fact.erased for fact in before)
    return msgspec.structs.replace(past, erased=erased)


def past_request_of(
    facts: Sequence[Recorded],
    asked: Recorded,
    provider: Provider | None,
    read_attachment: Callable[[str], bytes],
) -> PastRequest | None:
    """One of the requests of a session; None where nobody is left who could encode it."""
    event, version = asked.event, asked.version
    before = rebuild(projection.evolve, facts[: version - 1], SessionState())
    try:
        if isinstance(event, ModelRequested):
            found = past_request(version, event, before, provider, read_attachment)
            return judged(found, facts[: version - 1])
    except UnknownProvider:
        pass
    return None


def asked_provider(asked: ModelRequested, provider: Provider | None) -> Provider:
    """Who encodes as the one that was asked did. Raises :class:`UnknownProvider`."""
    own = provider is not None and (provider.name, provider.api) == (asked.provider, asked.api)
    if provider is not None and own and provider.encoder == asked.encoder:
        return provider
    found = spoken(asked.provider, asked.encoder)
    if found is not None and found.api == asked.api:
        return found
    if provider is not None and own:
        return provider
    here = {provider.name} if provider else set[str]()
    raise UnknownProvider(asked.provider, tuple(sorted(VENDORS.keys() | here)))
