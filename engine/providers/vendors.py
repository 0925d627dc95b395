"""Who serves models, and how each wants to be asked: nothing but data.

A name of this table is what ``Agent(provider=...)`` takes.
"""

from __future__ import annotations

import re
from typing import Any, Generic, Literal, TypeVar

import msgspec

API = Literal["chat_completions", "responses"]
"""The protocols, by the tag that is recorded with requests."""

_NEWER_LIMIT = re.compile(r"(openai/)?(o\d|gpt-[5-9])")
"""Models that know only the newer name of the token limit, whoever serves them."""

_ANSWERS_AT_ONCE = re.compile(r"(ft:)?(openai[/.])?(gpt-[34]|chatgpt-|gpt-5(\.\d)?-chat)")
"""Models without reasoning, which refuse to be asked for it."""


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


class ResponsesDialect(Dialect, frozen=True):
    """Responses: whether reasoning that is not encrypted can go back."""

    plain_reasoning: bool = False

    def reasons(self, model: str) -> bool:
        """Whether a model can be asked for its reasoning in a form that goes back."""
        return not _ANSWERS_AT_ONCE.match(model)


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

OPENAI_RESPONSES = Vendor(
    "openai-responses",
    "responses",
    OPENAI.base_url,
    OPENAI.key_variable,
    OPENAI.url_variable,
    OPENAI.hosts,
    ResponsesDialect(),
    ResponsesDialect(plain_reasoning=True),
)

VENDORS: dict[str, Vendor[Any]] = {vendor.name: vendor for vendor in (OPENAI, OPENAI_RESPONSES)}
