"""What the answers of Ollama and its requests have in common: an assistant's message."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from agent.engine.providers.wire import Object, as_object, as_string
from agent.eventstore.messages import ReasoningPart, ToolCallPart

if TYPE_CHECKING:
    from agent.engine.providers.origin import Origin


def read_thinking(text: str, origin: Origin) -> ReasoningPart:
    """Thoughts, which the model wants back: they are marked as its own."""
    return ReasoningPart(text, origin.opaque({}))


def read_call(item: Object, origin: Origin) -> ToolCallPart:
    """A call with the provider's id, if it gave one. Raises ``ValueError`` for one without a name.

    What is not said by our part is kept: newer servers give ids and count calls.
    """
    function = as_object(item.get("function"))
    name, arguments = as_string(function.get("name")), function.get("arguments")
    if not name:
        raise ValueError("a tool call without a name")
    if not isinstance(arguments, str):
        arguments = msgspec.json.encode({} if arguments is None else arguments).decode()
    plain = item.keys() == {"function"} and function.keys() <= {"name", "arguments"}
    return ToolCallPart(
        as_string(item.get("id")), name, arguments, opaque=None if plain else origin.opaque(item)
    )
