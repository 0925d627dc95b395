"""The prompt view: the last messages of a history, cut where a model can begin to read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.eventstore.values import Excerpt

if TYPE_CHECKING:
    from agent.projections.conversation import Conversation


def windowed(conversation: Conversation, size: int | None) -> Excerpt | None:
    """The last ``size`` messages at most, from a user's message on; None for the whole history.

    A window that moved with every turn would give a provider's prompt cache nothing to hit. So it
    moves by half its size at a time, and in between it only grows. Of a last turn that is longer
    than the window nothing is left out. Costs in proportion to the window or that turn.
    """
    length = conversation.length
    if size is None or length <= size:
        return None
    step = max(size // 2, 1)
    start = -((size - length) // step) * step
    shown = conversation.view.messages(conversation.transcript, start)
    for place, message in enumerate(shown, start):
        if message.role == "user":
            return Excerpt(place)
    while start > 0:
        start -= 1
        (message,) = conversation.view.messages(conversation.transcript, start, start + 1)
        if message.role == "user":
            break
    return Excerpt(start) if start else None
