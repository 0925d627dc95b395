"""Who serves models, and how each wants to be asked: nothing but data.

A name of this table is what ``Agent(provider=...)`` takes.
"""

from __future__ import annotations

import re
from typing import Any, Generic, Literal, TypeVar

import msgspec

API = Literal["chat_completions", "messages"]
"""The protocols, by the tag that is recorded with requests."""

_NEWER_LIMIT = re.compile(r"(openai/)?(o\d|gpt-[5-9])")
"""Models that know only the newer name of the token limit, whoever serves them."""


class Dialect(msgspec.Struct, frozen=True):
    """How a server wants what its protocol leaves open.

    What differs from the default is recorded with every request, as part of the encoder's name.
    """

    @property
    def name(self) -> str:
        """What differs from the default; "" for nothing."""
        changed = (
            field.name if value is True else f"{field.name}={value}"
            for field in msgspec.structs.fields(self)
            if (value := getattr(self, field.name)) != field.default
        )
        return "".join(f"+{words}" for words in changed)


class ChatDialect(Dialect, frozen=True):
    """Chat Completions: which name the token limit has."""

    max_tokens: bool = False

    def limit(self, model: str) -> str:
        """The name of the token limit."""
        older = self.max_tokens and not _NEWER_LIMIT.match(model)
        return "max_tokens" if older else "max_completion_tokens"


_OLDER_LIMITS = (("claude-3-5", 8192), ("claude-3-7", 16384), ("claude-3", 4096))
_LIMIT = 16384


class MessagesDialect(Dialect, frozen=True):
    """Messages: which version of the API is spoken."""

    version: str = "2023-06-01"

    @property
    def sampling(self) -> bool:
        """Whether temperature, top_p and top_k exist: later versions refuse them."""
        return self.version == "2023-06-01"

    def limit(self, model: str) -> int:
        """The token limit where none is set."""
        return next((most for name, most in _OLDER_LIMITS if name in model), _LIMIT)


D = TypeVar("D", bound=Dialect)


class Vendor(msgspec.Struct, Generic[D], frozen=True):
    """A server of a protocol.

    ``hosts`` are the ends of the host names that need a key and speak ``dialect``; every other
    server that is named by ``base_url`` speaks ``elsewhere``.
    """

    name: str
    api: API
    base_url: str
    key_variable: str
    url_variable: str
    hosts: tuple[str, ...]
    dialect: D
    elsewhere: D


_COMPATIBLE = ChatDialect(max_tokens=True)
"""Servers other than OpenAI's know the older name of the limit; some know only that one."""

OPENAI = Vendor(
    "openai",
    "chat_completions",
    "https://api.openai.com/v1",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    (".openai.com", ".openai.azure.com"),
    ChatDialect(),
    _COMPATIBLE,
)

ANTHROPIC = Vendor(
    "anthropic",
    "messages",
    "https://api.anthropic.com/v1",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_BASE_URL",
    (".anthropic.com",),
    MessagesDialect(),
    MessagesDialect(),
)

VENDORS: dict[str, Vendor[Any]] = {vendor.name: vendor for vendor in (OPENAI, ANTHROPIC)}
