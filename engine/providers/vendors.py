"""Who serves models, and how each wants to be asked: nothing but data.

A name of this table is what ``Agent(provider=...)`` takes.
"""

from __future__ import annotations

import re
from typing import Any, Generic, Literal, TypeVar

import msgspec

API = Literal["chat_completions", "generate_content", "ollama_chat"]
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


D = TypeVar("D", bound=Dialect)


class Vendor(msgspec.Struct, Generic[D], frozen=True):
    """A server of a protocol.

    ``hosts`` are the ends of the host names that need a key and speak ``dialect``; every other
    server that is named by ``base_url`` speaks ``elsewhere``. A key is also looked for in
    ``more_key_variables``; ``key_elsewhere`` says whether one that is found so goes to other
    servers too.
    """

    name: str
    api: API
    base_url: str
    key_variable: str
    url_variable: str
    hosts: tuple[str, ...]
    dialect: D
    elsewhere: D
    more_key_variables: tuple[str, ...] = ()
    key_elsewhere: bool = True


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

GEMINI = Vendor(
    "gemini",
    "generate_content",
    "https://generativelanguage.googleapis.com/v1beta",
    "GEMINI_API_KEY",
    "GEMINI_BASE_URL",
    (".googleapis.com",),
    Dialect(),
    Dialect(),
    more_key_variables=("GOOGLE_API_KEY",),
)

OLLAMA = Vendor(
    "ollama",
    "ollama_chat",
    "http://localhost:11434",
    "OLLAMA_API_KEY",
    "OLLAMA_HOST",
    (".ollama.com",),
    Dialect(),
    Dialect(),
    key_elsewhere=False,
)

VENDORS: dict[str, Vendor[Any]] = {vendor.name: vendor for vendor in (OPENAI, GEMINI, OLLAMA)}
