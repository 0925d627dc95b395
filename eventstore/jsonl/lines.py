"""The kinds of lines, as bytes and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final, Literal

import msgspec

from agent.eventstore.export import Entry

FORMAT: Final = "agent-log"
FORMAT_VERSION: Final = 1

LONGEST: Final = 2**31
"""Bytes of a line: the largest event or attachment that a log can hold takes less."""

LONGEST_HEADER: Final = 4096

Progress = Callable[[int, int], object]
"""Is told how much is done, and of how much."""

Version = Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
"""Counts from 1."""


class _Line(
    msgspec.Struct,
    frozen=True,
    forbid_unknown_fields=True,
    omit_defaults=True,
    kw_only=True,
    tag_field="kind",
):
    pass


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line."""

    format: Literal["agent-log"]
    format_version: Version
    library: str


class SessionLine(_Line, tag="session", frozen=True, kw_only=True):
    """The events from here on are this session's, after those that it shares with its parent.

    ``forks`` are the versions among them that later sessions begin at.
    """

    session: str
    parent: str | None = None
    at: Annotated[int, msgspec.Meta(ge=0)] = 0
    forks: tuple[Version, ...] = ()


class AttachmentLine(_Line, tag="attachment", frozen=True, kw_only=True):
    """What the next event is the first to name, in base64."""

    digest: str
    data: bytes


class EventLine(Entry, tag="event", tag_field="kind"):
    """An event, as in the dictionary of one session."""


class Ending(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a session ends, hash in hex."""

    version: int
    hash: str


class EndLine(_Line, tag="end", frozen=True, kw_only=True):
    """The last line; ``sha256`` is that of the bytes of all lines before it."""

    sessions: dict[str, Ending]
    events: int
    attachments: int
    sha256: str


Line = SessionLine | AttachmentLine | EventLine | EndLine

encoder = msgspec.json.Encoder()
decoder = msgspec.json.Decoder(Line)


class Counts(msgspec.Struct, frozen=True):
    """What was written."""

    sessions: int
    events: int
    attachments: int
