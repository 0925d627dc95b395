"""What the fake server can be told to answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias


@dataclass(frozen=True)
class Text:
    """The model answers with text."""

    text: str
    finish_reason: str = "stop"


@dataclass(frozen=True)
class ToolCalls:
    """The model calls tools: (name, arguments as JSON text, id or None for a fresh one)."""

    calls: Sequence[tuple[str, str, str | None]]
    text: str | None = None


@dataclass(frozen=True)
class Refusal:
    """The model declines; `content` is null."""

    text: str


@dataclass(frozen=True)
class Error:
    """The API answers with an error status; without a body, one in the API's own shape."""

    status: int
    body: Mapping[str, Any] | bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class RawBody:
    """Exactly these bytes; set `content-type: text/event-stream` for a hand-made stream."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Stream:
    """How the bytes of an answer travel.

    cut_after: close the connection after so many bytes of the body.
    done: end a stream with `data: [DONE]`.
    error: an error object sent as an event of the stream, which ends there.
    error_after: number of chunks that precede the error.
    piece: characters in each content or argument delta.
    write: bytes in each write to the socket; by default one event per write.
    delay: seconds between two writes.
    """

    reply: Text | ToolCalls | Refusal
    cut_after: int | None = None
    done: bool = True
    error: Mapping[str, Any] | None = None
    error_after: int = 2
    piece: int = 6
    write: int | None = None
    delay: float = 0.0


@dataclass(frozen=True)
class Hang:
    """Say nothing for so many seconds, then close the connection."""

    seconds: float


@dataclass(frozen=True)
class CloseConnection:
    """Reset the connection instead of answering."""


Reply: TypeAlias = Text | ToolCalls | Refusal | Error | RawBody | Stream | Hang | CloseConnection
