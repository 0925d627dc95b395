"""A session handed over in other words: what is written, and what is left out of it."""

from __future__ import annotations

from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from agent.engine.prices import cost_of
from agent.engine.providers.formats import Written
from agent.eventstore.errors import AttachmentMissing
from agent.eventstore.events import ModelRequested
from agent.eventstore.messages import every_part
from agent.projections.losses import Loss, of_log, of_messages, of_usage, summed
from agent.projections.markdown import markdown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from agent.eventstore.messages import Message
    from agent.eventstore.record import Recorded
    from agent.projections.session import SessionState


class Seen(NamedTuple):
    """A session at a version, and how to get at its attachments."""

    state: SessionState
    facts: Sequence[Recorded]
    get_blob: Callable[[str], bytes]


class Handover(NamedTuple):
    """What was written of a session, and what was left out: found when it is asked for, once."""

    content: Any
    losses: Iterable[Loss]

    @property
    def left_out(self) -> tuple[Loss, ...]:
        """What was left out, by kind."""
        return summed(self.losses)


def as_markdown(seen: Seen) -> Handover:
    """The document of :func:`~agent.projections.markdown.markdown`."""
    now = seen.state.conversation
    shown = [*now.messages, *(now.turn.messages if now.turn else ())]
    losses = chain(of_log(seen.state, seen.facts), of_messages(shown))
    return Handover(markdown(seen.state, seen.facts, cost_of), losses)


def as_messages(seen: Seen, format: str) -> Handover:  # noqa: A002 - what callers call it
    """The visible conversation in a provider's own words, as fields of a request body.

    Signatures and the like go along for one model, which the body names. Attachments that are not
    there any more are named in words. Raises :class:`UnknownProvider`.
    """
    now, turn = seen.state.conversation, seen.state.conversation.turn
    messages, model = now.messages, _model(seen, format)
    written = Written(messages, format, model, dict(_attachments(messages, seen.get_blob)))
    body = written.body(now.system)
    opened = Loss("messages of the open turn", len(turn.messages) if turn else 0)
    of_others = (opened, of_usage(seen.facts))
    losses = chain(of_log(seen.state, seen.facts), of_others, written.left_out())
    return Handover({"model": model, **body} if model else body, losses)


def _model(seen: Seen, provider: str) -> str:
    """The model of a provider that was asked last, else one whose messages were brought, or ""."""
    for fact in reversed(seen.facts):
        if fact.type == "model.requested":
            event = fact.event
            if isinstance(event, ModelRequested) and event.provider == provider:
                return event.model
    messages = seen.state.conversation.messages
    said = (part.opaque for message in messages for part in every_part(message.parts))
    return next((one.model for one in said if one is not None and one.provider == provider), "")


def _attachments(
    messages: Sequence[Message], get_blob: Callable[[str], bytes]
) -> Iterator[tuple[str, bytes]]:
    for blob in {blob.digest: blob for message in messages for blob in message.blobs()}.values():
        with suppress(AttachmentMissing):
            yield blob.digest, blob.data or get_blob(blob.digest)
