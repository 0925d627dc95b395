"""What a provider of one's own is made of: subclass :class:`Provider`."""

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
from agent.eventstore.values import (
    FinishReason,
    OutputSchema,
    Settings,
    ToolDefinition,
    Usage,
)

__all__ = [
    "Answer",
    "Delta",
    "FinishReason",
    "Frame",
    "MessageContext",
    "ModelRequest",
    "OutputSchema",
    "Prompt",
    "Provider",
    "ReasoningDelta",
    "Settings",
    "TextDelta",
    "ToolDefinition",
    "Usage",
]
