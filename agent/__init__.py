"""Conversations with language models, kept as logs of events.

>>> from agent import Agent
>>> agent = Agent(provider="openai", model="gpt-4o")
>>> session = agent.session()
>>> session.run("Hello").text  # doctest: +SKIP
'Hi there!'

Names are imported when first used: ``import agent`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.engine.agent import Agent
    from agent.engine.approvals import ApprovalPolicy, PendingApproval, ProposedCall
    from agent.engine.compaction import Compaction
    from agent.engine.past_requests import PastRequest
    from agent.engine.provider import ReasoningDelta, TextDelta
    from agent.engine.session import Session
    from agent.engine.settings import CompactionPolicy
    from agent.engine.stream import (
        ApprovalRequestEvent,
        Done,
        Response,
        StreamEvent,
        ToolCallEvent,
        ToolResultEvent,
    )
    from agent.engine.streams import AsyncStream, Stream
    from agent.engine.tools import Tool, ToolContext, tool
    from agent.engine.unfinished import UnfinishedTurn
    from agent.engine.view import View
    from agent.eventstore.messages import (
        FilePart,
        ImagePart,
        Message,
        Part,
        ReasoningPart,
        RefusalPart,
        TextPart,
        ToolCallPart,
        ToolResultPart,
    )
    from agent.eventstore.values import Usage
    from agent.projections.diff import Difference

_HOMES = {
    "Agent": "agent.engine.agent",
    "ApprovalPolicy": "agent.engine.approvals",
    "ApprovalRequestEvent": "agent.engine.stream",
    "AsyncStream": "agent.engine.streams",
    "Compaction": "agent.engine.compaction",
    "CompactionPolicy": "agent.engine.settings",
    "Difference": "agent.projections.diff",
    "Done": "agent.engine.stream",
    "FilePart": "agent.eventstore.messages",
    "ImagePart": "agent.eventstore.messages",
    "Message": "agent.eventstore.messages",
    "Part": "agent.eventstore.messages",
    "PastRequest": "agent.engine.past_requests",
    "PendingApproval": "agent.engine.approvals",
    "ProposedCall": "agent.engine.approvals",
    "ReasoningDelta": "agent.engine.provider",
    "ReasoningPart": "agent.eventstore.messages",
    "RefusalPart": "agent.eventstore.messages",
    "Response": "agent.engine.stream",
    "Session": "agent.engine.session",
    "Stream": "agent.engine.streams",
    "StreamEvent": "agent.engine.stream",
    "TextDelta": "agent.engine.provider",
    "TextPart": "agent.eventstore.messages",
    "Tool": "agent.engine.tools",
    "ToolCallEvent": "agent.engine.stream",
    "ToolCallPart": "agent.eventstore.messages",
    "ToolContext": "agent.engine.tools",
    "ToolResultEvent": "agent.engine.stream",
    "ToolResultPart": "agent.eventstore.messages",
    "UnfinishedTurn": "agent.engine.unfinished",
    "Usage": "agent.eventstore.values",
    "View": "agent.engine.view",
    "tool": "agent.engine.tools",
}

__all__ = [
    "Agent",
    "ApprovalPolicy",
    "ApprovalRequestEvent",
    "AsyncStream",
    "Compaction",
    "CompactionPolicy",
    "Difference",
    "Done",
    "FilePart",
    "ImagePart",
    "Message",
    "Part",
    "PastRequest",
    "PendingApproval",
    "ProposedCall",
    "ReasoningDelta",
    "ReasoningPart",
    "RefusalPart",
    "Response",
    "Session",
    "Stream",
    "StreamEvent",
    "TextDelta",
    "TextPart",
    "Tool",
    "ToolCallEvent",
    "ToolCallPart",
    "ToolContext",
    "ToolResultEvent",
    "ToolResultPart",
    "UnfinishedTurn",
    "Usage",
    "View",
    "tool",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return __all__
