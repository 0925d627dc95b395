"""Who serves models, and how each wants to be asked: nothing but data.

A name of this table is what ``Agent(provider=...)`` takes.
"""

from __future__ import annotations

import re
from typing import Any, Generic, Literal, TypeVar

import msgspec

API = Literal["chat_completions", "responses", "messages", "generate_content", "ollama_chat"]
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
    """Chat Completions.

    ``max_tokens``: the token limit has its older name. ``json_schema``: the server can be held to a
    schema; else it is told the schema and held to JSON. ``stream_options``: it knows the field that
    asks for usage in streams; else usage comes unasked. ``reasoning_content``: an assistant message
    must say what was reasoned, if only "". ``short_ids``: ids of calls are nine letters and digits.
    ``seed`` is the name of that setting; ``top_k`` says whether there is one.
    """

    max_tokens: bool = False
    json_schema: bool = True
    stream_options: bool = True
    reasoning_content: bool = False
    short_ids: bool = False
    top_k: bool = False
    seed: str = "seed"

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
    server that is named by ``base_url`` speaks ``elsewhere``. One with no ``base_url`` has to be
    told it, like ``example``; ``path`` is added to an address that has none. A key is also looked
    for in ``more_key_variables``; ``key_elsewhere`` says whether one that is found so goes to other
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
    path: str = ""
    example: str = ""
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


def _chat(
    name: str, base_url: str, variables: str, host: str = "", dialect: ChatDialect = _COMPATIBLE
) -> Vendor[ChatDialect]:
    """A server that speaks one dialect wherever it is; without ``host`` none of it needs a key."""
    hosts = (f".{host}",) if host else ()
    key = f"{variables}_API_KEY"
    url = f"{variables}_BASE_URL"
    return Vendor(name, "chat_completions", base_url, key, url, hosts, dialect, dialect)


_LOCAL = ChatDialect(max_tokens=True, top_k=True)

AZURE = Vendor(
    "azure",
    "chat_completions",
    "",
    "AZURE_OPENAI_API_KEY",
    "AZURE_OPENAI_ENDPOINT",
    (".openai.azure.com", ".services.ai.azure.com", ".cognitiveservices.azure.com"),
    ChatDialect(),
    ChatDialect(),
    "/openai/v1",
    "https://my-resource.openai.azure.com/openai/v1",
)
HUGGINGFACE = msgspec.structs.replace(
    _chat("huggingface", "https://router.huggingface.co/v1", "HF", "huggingface.co"),
    key_variable="HF_TOKEN",
)
LM_STUDIO = msgspec.structs.replace(
    _chat("lmstudio", "http://localhost:1234/v1", "LMSTUDIO", dialect=_LOCAL),
    key_variable="LM_API_TOKEN",
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

ANTHROPIC = Vendor(
    "anthropic",
    "messages",
    "https://api.anthropic.com/v1",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_BASE_URL",
    (".anthropic.com",),
    MessagesDialect(),
    MessagesDialect(),
    "/v1",
)

_ALL: tuple[Vendor[Any], ...] = (
    OPENAI,
    OPENAI_RESPONSES,
    ANTHROPIC,
    AZURE,
    _chat("cerebras", "https://api.cerebras.ai/v1", "CEREBRAS", "cerebras.ai", ChatDialect()),
    _chat(
        "deepseek",
        "https://api.deepseek.com",
        "DEEPSEEK",
        "deepseek.com",
        ChatDialect(max_tokens=True, json_schema=False, reasoning_content=True),
    ),
    GEMINI,
    _chat("groq", "https://api.groq.com/openai/v1", "GROQ", "groq.com", ChatDialect()),
    HUGGINGFACE,
    _chat("llama.cpp", "http://localhost:8080/v1", "LLAMA", dialect=_LOCAL),
    LM_STUDIO,
    _chat(
        "mistral",
        "https://api.mistral.ai/v1",
        "MISTRAL",
        "mistral.ai",
        ChatDialect(max_tokens=True, stream_options=False, short_ids=True, seed="random_seed"),
    ),
    OLLAMA,
    _chat("openrouter", "https://openrouter.ai/api/v1", "OPENROUTER", "openrouter.ai", _LOCAL),
    _chat("together", "https://api.together.ai/v1", "TOGETHER", "together.ai", _LOCAL),
    _chat("vllm", "http://localhost:8000/v1", "VLLM", dialect=_LOCAL),
    _chat("xai", "https://api.x.ai/v1", "XAI", "x.ai", ChatDialect()),
    _chat(
        "zai",
        "https://api.z.ai/api/paas/v4",
        "ZAI",
        "z.ai",
        ChatDialect(max_tokens=True, json_schema=False),
    ),
)

VENDORS: dict[str, Vendor[Any]] = {vendor.name: vendor for vendor in _ALL}
