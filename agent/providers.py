"""What a provider of one's own is made of, and conversations in the words of providers.

Subclass :class:`Provider`; :func:`read_messages` and :func:`write_messages` bring and take a
history; :func:`left_out` says what a format cannot take.
"""

from agent.engine.provider import (
    Answer,
    Delta,
    Frame,
    MessageContext,
    ModelRequest,
    Prompt,
    Provider,
    ReasoningDelta,
    TextDelta,
)
from agent.engine.providers.formats import left_out, read_messages, write_messages
from agent.engine.providers.transcript import Transcript
from agent.eventstore.values import (
    FinishReason,
    OutputSchema,
    Settings,
    ToolDefinition,
    Usage,
)
from agent.projections.losses import Loss

__all__ = [
    "Answer",
    "Delta",
    "FinishReason",
    "Frame",
    "Loss",
    "MessageContext",
    "ModelRequest",
    "OutputSchema",
    "Prompt",
    "Provider",
    "ReasoningDelta",
    "Settings",
    "TextDelta",
    "ToolDefinition",
    "Transcript",
    "Usage",
    "left_out",
    "read_messages",
    "write_messages",
]
