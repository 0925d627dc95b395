"""Every kind of event, in the order of a session's life: one closed, tagged union.

An event is a fact: frozen, past tense, never changed once stored. ``schema`` on each class is its
schema version; a change of fields raises it and adds an upcaster in ``codec``.
"""

from __future__ import annotations

from typing import ClassVar, Literal, get_args

import msgspec

from agent.eventstore.messages import Blob, Message, Part, ResultContent, blobs_of
from agent.eventstore.rawjson import EMPTY_OBJECT
from agent.eventstore.values import (
    Erasure,
    Excerpt,
    Failure,
    FinishReason,
    OutputSchema,
    Owner,
    Settings,
    ToolDefinition,
    Usage,
)


class _Event(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    kw_only=True,
    tag_field="type",
    gc=False,  # data alone, without cycles: the collector need not look at it
):
    schema: ClassVar[int] = 1

    @property
    def type(self) -> str:
        """The tag of this kind of event."""
        return str(self.__struct_config__.tag)


# Sessions


class SessionStarted(_Event, tag="session.started", frozen=True, kw_only=True):
    """Version 1 of a root stream."""

    session_id: str
    system: str | None = None
    metadata: msgspec.Raw = EMPTY_OBJECT
    library: str


class SessionForked(_Event, tag="session.forked", frozen=True, kw_only=True):
    """A child's own first event, at version ``at + 1``; what lies before is the parent's."""

    session_id: str
    parent: str
    at: int
    parent_hash: str


class SessionDeleted(_Event, tag="session.deleted", frozen=True, kw_only=True):
    """The last event of a stream, so that every reader of the feed learns of the deletion."""

    reason: str = ""


# Configuration


class SystemChanged(_Event, tag="system.changed", frozen=True, kw_only=True):
    """The system prompt from here on; None removes it."""

    system: str | None


class ToolsDeclared(_Event, tag="tools.declared", frozen=True, kw_only=True):
    """The tools offered to the model from here on; ``digest`` is that of the set."""

    tools: tuple[ToolDefinition, ...]
    digest: str


class MetadataChanged(_Event, tag="metadata.changed", frozen=True, kw_only=True):
    """The application's own data about the session, a raw JSON object."""

    metadata: msgspec.Raw


# History


class MessageAdded(_Event, tag="message.added", frozen=True, kw_only=True):
    """A message added by hand, or given as history."""

    message: Message


class HistoryCleared(_Event, tag="history.cleared", frozen=True, kw_only=True):
    """The view is empty from here on; the system prompt stays."""


class HistoryRewound(_Event, tag="history.rewound", frozen=True, kw_only=True):
    """View, system prompt and tools are again those of the settled version ``to``."""

    to: int


class HistoryCompacted(_Event, tag="history.compacted", frozen=True, kw_only=True):
    """In the view, ``summary`` stands for everything up to the settled version ``through``.

    Except for the last ``kept`` messages shown there: they follow it.
    """

    through: int
    kept: int = 0
    summary: Message


# Turns


class TurnStarted(_Event, tag="turn.started", frozen=True, kw_only=True):
    """A user's input, durable before the first model call.

    ``excerpt`` is the part of the history that the requests hold, None for all of it. A turn of
    kind ``compaction`` asks for a summary of it; what is said there enters no history. ``own``
    names the settings (and "model") that were chosen for this turn alone, not for its agent.
    """

    kind: Literal["user", "compaction"] = "user"
    input: Message
    settings: Settings
    excerpt: Excerpt | None = None
    output: OutputSchema | None = None
    idempotency_key: str | None = None
    own: tuple[str, ...] = ()
    owner: Owner


class TurnResumed(_Event, tag="turn.resumed", frozen=True, kw_only=True):
    """A new owner took the turn up again; a fence against the old one."""

    owner: Owner


class ModelRequested(_Event, tag="model.requested", frozen=True, kw_only=True):
    """The intent to call the model, durable before the bytes leave. One for each attempt.

    ``digest`` is the SHA-256 (hex) of the exact body; ``encoder`` names the rules that built it.
    """

    step: int
    attempt: int
    provider: str
    api: str
    model: str
    stream: bool
    encoder: str
    digest: str


class ModelResponded(_Event, tag="model.responded", frozen=True, kw_only=True):
    """The model's answer. ``elapsed`` in seconds; ``model`` as the provider resolved it."""

    message: Message
    finish_reason: FinishReason
    raw_finish_reason: str | None = None
    usage: Usage
    model: str | None = None
    response_id: str | None = None
    elapsed: float


class ModelFailed(_Event, tag="model.failed", frozen=True, kw_only=True):
    """An attempt without an answer; ``partial`` is what had arrived of it."""

    error: Failure
    partial: Message | None = None
    usage: Usage | None = None
    elapsed: float


class OutputRejected(_Event, tag="output.rejected", frozen=True, kw_only=True):
    """The answer did not fit the asked shape; ``feedback`` is what the model is told."""

    errors: tuple[str, ...]
    feedback: Message


# Tools


class ToolCalled(_Event, tag="tool.called", frozen=True, kw_only=True):
    """The intent to run a tool, durable before it runs. Its hash is the idempotency key."""

    call_id: str
    tool: str


class ToolReturned(_Event, tag="tool.returned", frozen=True, kw_only=True):
    """A tool's result, recorded the moment it is known. ``elapsed`` in seconds."""

    call_id: str
    content: tuple[ResultContent, ...]
    is_error: bool = False
    elapsed: float = 0.0


class ToolResolved(_Event, tag="tool.resolved", frozen=True, kw_only=True):
    """A person or a policy decided about a call of unknown outcome, or one that did not run.

    ``retry`` runs it again; else ``content`` stands as its result.
    """

    call_id: str
    how: Literal["result", "retry", "failed"]
    content: tuple[ResultContent, ...] = ()

    @property
    def is_error(self) -> bool:
        """Whether the result says that the call failed."""
        return self.how == "failed"


class ApprovalRequested(_Event, tag="approval.requested", frozen=True, kw_only=True):
    """A call waits for a person; ``digest`` binds the tool and its exact arguments.

    A fork, and a turn that failed or was abandoned and is taken up again, asks anew.
    """

    call_id: str
    digest: str


class ApprovalGranted(_Event, tag="approval.granted", frozen=True, kw_only=True):
    """A person allowed the call, once: its ``tool.called`` uses that up."""

    call_id: str


class ApprovalRejected(_Event, tag="approval.rejected", frozen=True, kw_only=True):
    """A person refused the call: it gets a result that says so, and never runs."""

    call_id: str
    reason: str = ""


# Ends


class TurnCompleted(_Event, tag="turn.completed", frozen=True, kw_only=True):
    """The turn's messages enter the history."""


class TurnFailed(_Event, tag="turn.failed", frozen=True, kw_only=True):
    """The turn ended in an error; ``completed_calls`` are the tools that had run."""

    error: Failure
    completed_calls: tuple[str, ...] = ()


class TurnAbandoned(_Event, tag="turn.abandoned", frozen=True, kw_only=True):
    """The turn was given up: interrupted, or its stream dropped."""

    reason: str


class PayloadErased(_Event, tag="payload.erased", frozen=True, kw_only=True):
    """The texts of earlier events are gone, for good; the chain still verifies.

    In the place of each payload stands a residue, and its digest in the place of payload and salt.
    """

    erased: tuple[Erasure, ...]
    reason: str = ""


Event = (
    SessionStarted
    | SessionForked
    | SessionDeleted
    | SystemChanged
    | ToolsDeclared
    | MetadataChanged
    | MessageAdded
    | HistoryCleared
    | HistoryRewound
    | HistoryCompacted
    | TurnStarted
    | TurnResumed
    | ModelRequested
    | ModelResponded
    | ModelFailed
    | OutputRejected
    | ToolCalled
    | ToolReturned
    | ToolResolved
    | ApprovalRequested
    | ApprovalGranted
    | ApprovalRejected
    | TurnCompleted
    | TurnFailed
    | TurnAbandoned
    | PayloadErased
)

EVENTS: dict[str, type[Event]] = {str(cls.__struct_config__.tag): cls for cls in get_args(Event)}


def parts_of(event: Event) -> tuple[Part, ...]:
    """Every message part that an event carries."""
    match event:
        case MessageAdded(message=message) | ModelResponded(message=message):
            return message.parts
        case TurnStarted(input=message) | OutputRejected(feedback=message):
            return message.parts
        case HistoryCompacted(summary=message) | ModelFailed(partial=Message() as message):
            return message.parts
        case ToolReturned(content=content) | ToolResolved(content=content):
            return content
        case _:
            return ()


def attachments_of(event: Event) -> tuple[Blob, ...]:
    """The attachments that an event names, each once, with its bytes if they came along."""
    found: dict[Blob, Blob] = {}
    for blob in blobs_of(parts_of(event)):
        if blob.data is not None or blob not in found:
            found[blob] = blob
    return tuple(found.values())
