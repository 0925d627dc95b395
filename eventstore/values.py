"""The values that events carry besides messages: settings, tools, usage, failures, owners."""

from __future__ import annotations

import hashlib
from typing import Literal

import msgspec

from agent.eventstore.rawjson import EMPTY_OBJECT, from_raw

FinishReason = Literal[
    "stop", "length", "tool_calls", "paused", "content_filter", "refusal", "other"
]
"""Why an answer ended; one that is "paused" goes on when the model is asked again."""


class _Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    pass


class Settings(_Value, frozen=True, kw_only=True):
    """How the model should answer. What is None is left to the provider.

    ``reasoning_budget`` is in tokens; ``show_reasoning`` asks for the reasoning, or a summary of
    it, in words. ``prompt_cache`` has the provider keep the prompt for so long ("5m", "1h").
    ``extra`` is a raw JSON object that goes into the request as it is.
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    reasoning_effort: str | None = None
    reasoning_budget: int | None = None
    show_reasoning: bool | None = None
    verbosity: str | None = None
    service_tier: str | None = None
    prompt_cache: str | None = None
    tool_choice: str | None = None
    parallel_tool_calls: bool | None = None
    extra: msgspec.Raw = EMPTY_OBJECT


class ToolDefinition(_Value, frozen=True):
    """A tool as the model sees it. ``parameters`` is its JSON Schema, raw."""

    name: str
    description: str
    parameters: msgspec.Raw


class OutputSchema(_Value, frozen=True):
    """The shape asked of an answer. ``schema`` is a JSON Schema, raw."""

    name: str
    schema: msgspec.Raw


class Usage(_Value, frozen=True):
    """Tokens with one meaning for every provider.

    ``input_tokens`` and ``output_tokens`` are totals: ``cached_tokens`` (read from the provider's
    cache) and ``cache_write_tokens`` lie inside the input, ``reasoning_tokens`` inside the output.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        """Sum of both."""
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.cache_write_tokens + other.cache_write_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens


class Excerpt(_Value, frozen=True):
    """Some of the visible messages: from place ``start`` up to ``end``, None for all the rest."""

    start: int = 0
    end: int | None = None


class Failure(_Value, frozen=True):
    """An error as a fact: the name of its class, its words, and what a provider said of it.

    ``code`` is the provider's word for it, or the name of the limit that was reached.
    """

    error: str
    message: str
    status: int | None = None
    code: str | None = None
    request_id: str | None = None
    retryable: bool = False


class Owner(_Value, frozen=True):
    """The process that runs a turn. ``started`` tells it from a later one with the same id."""

    host: str
    process: int
    started: int


class Erasure(_Value, frozen=True):
    """An event whose texts are gone: its version and hash (hex), and what is left of it.

    ``residue`` is the SHA-256 (hex) of the bytes that stand in the place of its payload.
    """

    version: int
    hash: str
    residue: str


def tools_digest(definitions: tuple[ToolDefinition, ...]) -> str:
    """SHA-256 (hex) of a tool set, in its order."""
    return hashlib.sha256(msgspec.json.encode(definitions)).hexdigest()


def call_digest(tool: str, arguments: str) -> str:
    """SHA-256 (hex) of a call: the tool's name and the exact text of the arguments.

    Each in UTF-8 as a netstring, ``<bytes>:<text>,``, so that no two calls look the same.
    """
    framed = b"".join(b"%d:%s," % (len(part), part) for part in (tool.encode(), arguments.encode()))
    return hashlib.sha256(framed).hexdigest()


def metadata_dict(raw: msgspec.Raw) -> dict[str, object]:
    """Session metadata as a fresh dictionary."""
    return from_raw(raw)
