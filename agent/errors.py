"""Every error that this library raises on purpose.

::

    AgentError
    ├── ConfigurationError
    │   ├── UnknownProvider
    │   ├── MissingAPIKey
    │   ├── InvalidTool
    │   ├── InvalidPrompt
    │   ├── InvalidSessionId
    │   ├── HistoryExists
    │   └── IdempotencyMismatch
    ├── ProviderError
    │   ├── ConnectionFailed
    │   ├── ProviderTimeout
    │   ├── BadRequest
    │   ├── AuthenticationFailed
    │   ├── ModelNotFound
    │   ├── RateLimited
    │   ├── QuotaExceeded
    │   ├── ServerFailed
    │   └── MalformedResponse
    ├── OutputError
    │   └── OutputRefused
    ├── LimitExceeded
    ├── TurnCancelled
    ├── PairingError
    ├── SessionBusy
    ├── TurnOpen
    │   └── TurnUnfinished
    │       ├── OwnerAlive
    │       ├── OutcomeUnknown
    │       └── ApprovalPending
    ├── NotPending
    ├── NothingUnfinished
    ├── CannotRewind
    ├── CannotRewrite
    ├── NoRecordedResult
    ├── NoRequest
    ├── QueryFailed
    ├── StreamAbandoned
    ├── InvalidEvent
    └── StoreError
        ├── StoreBusy
        ├── StoreFull
        ├── StoreUnusable
        │   └── StoreDamaged
        ├── AppendUnknown
        ├── NotSaved
        ├── UnknownStream
        ├── ConflictError
        ├── InvalidAppend
        ├── AttachmentMissing
        ├── CorruptLog
        ├── UnknownEvent
        ├── NothingToErase
        ├── SharedEvents
        ├── InvalidExport
        └── InvalidNote

An error that ends a turn in which tools had run carries ``completed_calls``: the ids of the calls
that were done, so that nobody repeats a side effect unknowingly.
"""

from agent.engine.errors import (
    ApprovalPending,
    AuthenticationFailed,
    BadRequest,
    CannotRewind,
    CannotRewrite,
    ConfigurationError,
    ConnectionFailed,
    HistoryExists,
    IdempotencyMismatch,
    InvalidPrompt,
    InvalidSessionId,
    InvalidTool,
    LimitExceeded,
    MalformedResponse,
    MissingAPIKey,
    ModelNotFound,
    NoRecordedResult,
    NoRequest,
    NothingUnfinished,
    NotPending,
    NotSaved,
    OutcomeUnknown,
    OutputError,
    OutputRefused,
    OwnerAlive,
    ProviderError,
    ProviderTimeout,
    QuotaExceeded,
    RateLimited,
    ServerFailed,
    SessionBusy,
    StreamAbandoned,
    TurnCancelled,
    TurnOpen,
    TurnUnfinished,
    UnknownProvider,
)
from agent.eventstore.errors import (
    AgentError,
    AppendUnknown,
    AttachmentMissing,
    ConflictError,
    CorruptLog,
    InvalidAppend,
    InvalidEvent,
    InvalidExport,
    InvalidNote,
    NothingToErase,
    SharedEvents,
    StoreBusy,
    StoreDamaged,
    StoreError,
    StoreFull,
    StoreUnusable,
    UnknownEvent,
    UnknownStream,
)
from agent.projections.pairing import PairingError
from agent.projections.tables.errors import QueryFailed

__all__ = [
    "AgentError",
    "AppendUnknown",
    "ApprovalPending",
    "AttachmentMissing",
    "AuthenticationFailed",
    "BadRequest",
    "CannotRewind",
    "CannotRewrite",
    "ConfigurationError",
    "ConflictError",
    "ConnectionFailed",
    "CorruptLog",
    "HistoryExists",
    "IdempotencyMismatch",
    "InvalidAppend",
    "InvalidEvent",
    "InvalidExport",
    "InvalidNote",
    "InvalidPrompt",
    "InvalidSessionId",
    "InvalidTool",
    "LimitExceeded",
    "MalformedResponse",
    "MissingAPIKey",
    "ModelNotFound",
    "NoRecordedResult",
    "NoRequest",
    "NotPending",
    "NotSaved",
    "NothingToErase",
    "NothingUnfinished",
    "OutcomeUnknown",
    "OutputError",
    "OutputRefused",
    "OwnerAlive",
    "PairingError",
    "ProviderError",
    "ProviderTimeout",
    "QueryFailed",
    "QuotaExceeded",
    "RateLimited",
    "ServerFailed",
    "SessionBusy",
    "SharedEvents",
    "StoreBusy",
    "StoreDamaged",
    "StoreError",
    "StoreFull",
    "StoreUnusable",
    "StreamAbandoned",
    "TurnCancelled",
    "TurnOpen",
    "TurnUnfinished",
    "UnknownEvent",
    "UnknownProvider",
    "UnknownStream",
]
