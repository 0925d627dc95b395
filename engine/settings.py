"""The settings of a turn, as keyword arguments and as recorded values."""

from __future__ import annotations

import reprlib
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import msgspec

from agent.engine.errors import ConfigurationError
from agent.eventstore.rawjson import EMPTY_OBJECT, check_text, from_raw, to_raw
from agent.eventstore.values import Settings

if TYPE_CHECKING:
    from agent.projections.conversation import Conversation


class SettingsOptions(TypedDict, total=False):
    """How the model should answer, as keyword arguments.

    A setting that the provider does not have is refused. ``reasoning_budget`` is in tokens;
    ``show_reasoning`` asks for the reasoning, or a summary of it, in words; ``prompt_cache`` has
    the provider keep the prompt for so long.
    ``tool_choice`` is ``"auto"``, ``"none"``, or for the turn's first answer ``"required"`` or the
    name of a tool; a forced call and ``parallel_tool_calls`` are refused where there are no tools.
    ``extra`` goes into the request as it is, for what a provider knows and this library does not.
    """

    temperature: float
    top_p: float
    top_k: int
    max_tokens: int
    stop: str | Sequence[str]
    seed: int
    presence_penalty: float
    frequency_penalty: float
    reasoning_effort: str
    reasoning_budget: int
    show_reasoning: bool
    verbosity: str
    service_tier: str
    prompt_cache: Literal["5m", "1h"]
    tool_choice: str
    parallel_tool_calls: bool
    extra: Mapping[str, Any]


class TurnOptions(SettingsOptions, total=False):
    """Keyword arguments of ``run``, ``stream``, ``json`` and their async forms.

    ``model`` names another model for this turn. ``idempotency_key`` names the request: asked again
    under the same key, the session gives the recorded response instead of another turn.
    """

    model: str
    idempotency_key: str


_KINDS: dict[str, type | tuple[type, ...]] = {
    "temperature": (int, float),
    "top_p": (int, float),
    "top_k": int,
    "max_tokens": int,
    "seed": int,
    "presence_penalty": (int, float),
    "frequency_penalty": (int, float),
    "reasoning_effort": str,
    "reasoning_budget": int,
    "show_reasoning": bool,
    "verbosity": str,
    "service_tier": str,
    "prompt_cache": str,
    "tool_choice": str,
    "parallel_tool_calls": bool,
    "model": str,
    "idempotency_key": str,
}

_UNFORCED = (None, "auto", "none")

_NO_SETTINGS = TurnOptions.__optional_keys__ - SettingsOptions.__optional_keys__


def settings_of(options: SettingsOptions) -> Settings:
    """Checked settings. Raises :class:`ConfigurationError` for what no provider could take."""
    known = TurnOptions.__optional_keys__
    unknown = options.keys() - known
    if unknown:
        raise TypeError(
            f"unknown settings: {', '.join(sorted(unknown))}; a turn takes "
            f"{', '.join(sorted(known))}, and what only the provider knows in extra={{...}}"
        )
    for name, kinds in _KINDS.items():
        value = options.get(name)
        if value is not None:
            _check(name, value, kinds)
    stop = options.get("stop")
    if stop is not None:
        _check("stop", stop, (str, list, tuple))
        stop = (stop,) if isinstance(stop, str) else tuple(stop)
        for item in stop:
            _check("stop", item, str)
    extra = options.get("extra")
    if extra is not None:
        _check("extra", extra, (dict, Mapping))
    fields = {name: options.get(name) for name in _KINDS if name not in _NO_SETTINGS}
    return Settings(
        **fields,
        stop=stop,
        extra=to_raw(dict(extra), of="extra") if extra else EMPTY_OBJECT,
    )


def settings_of_step(settings: Settings, step: int) -> Settings:
    """The settings of one request of a turn.

    A forced tool call is forced once: if every answer had to be a call, none could end the turn.
    """
    if step == 1 or settings.tool_choice in _UNFORCED:
        return settings
    return msgspec.structs.replace(settings, tool_choice=None)


def check_tool_settings(settings: Settings, tools: Sequence[str]) -> None:
    """Refuse what these tools cannot do. Raises :class:`ConfigurationError`.

    A name that is not among them may be that of one in ``extra``.
    """
    choice = settings.tool_choice if settings.tool_choice not in _UNFORCED else None
    asked = {"tool_choice": choice, "parallel_tool_calls": settings.parallel_tool_calls}
    idle = [f"{name}={value!r}" for name, value in asked.items() if value is not None]
    if idle and not tools:
        raise ConfigurationError(
            f"{' and '.join(idle)} can do nothing without tools: pass Agent(tools=[...]), or leave "
            "it out; what is meant for the provider's own tools goes into extra={...}"
        )
    if choice not in (None, "required", *tools) and "tools" not in from_raw(settings.extra):
        raise ConfigurationError(
            f"tool_choice={choice!r} names none of the agent's tools: {', '.join(tools)}"
        )


def _check(name: str, value: object, kinds: type | tuple[type, ...]) -> None:
    if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
        shown = reprlib.repr(value)
        raise ConfigurationError(f"{name} cannot be {shown}, of type {type(value).__name__}")
    if isinstance(value, str):
        if not value:
            raise ConfigurationError(f"{name} cannot be empty text; leave it out instead")
        check_text(value, of=name, path="$")
    if isinstance(value, int | float) and not abs(value) <= sys.float_info.max:
        raise ConfigurationError(f"{name} must be a finite number")
    if name == "prompt_cache" and value not in ("5m", "1h"):
        raise ConfigurationError(f"prompt_cache takes '5m' or '1h', not {value!r}")
    if name == "max_tokens" and isinstance(value, int) and value < 1:
        raise ConfigurationError(f"max_tokens must be at least 1, not {value}")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a turn may use.

    ``max_steps`` model answers; ``max_tokens_per_turn`` tokens, sent and answered, after which the
    model is not called again; ``max_retries`` further attempts for a failed model call,
    ``max_output_retries`` further answers when structured output does not fit, ``deadline``
    seconds for the whole turn. ``window``: a request holds at most so many of the history's last
    messages, besides the turn's own.
    """

    max_steps: int = 32
    max_tokens_per_turn: int | None = None
    max_retries: int = 2
    max_output_retries: int = 2
    deadline: float | None = None
    window: int | None = None

    def __post_init__(self) -> None:
        """Raise :class:`ConfigurationError` for limits under which no turn could run."""
        counts = (
            ("max_steps", self.max_steps, 1),
            ("max_retries", self.max_retries, 0),
            ("max_output_retries", self.max_output_retries, 0),
        )
        for name, value, least in counts:
            _check_count(name, value, least)
        for name, bound in (
            ("window", self.window),
            ("max_tokens_per_turn", self.max_tokens_per_turn),
        ):
            if bound is not None:
                _check_count(name, bound, 1)
        if self.deadline is not None:
            check_seconds("deadline", self.deadline)


class CompactionPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """When a history is compacted by itself: at so many ``messages`` or ``tokens``.

    ``tokens`` are those that the provider counted for the last request and its answer. The last
    ``keep_last`` messages stay as they are; ``instructions`` are added to what the model is told,
    and ``model`` names one for the summary. Raises :class:`ConfigurationError`.
    """

    messages: int | None = None
    tokens: int | None = None
    keep_last: int = 4
    instructions: str | None = None
    model: str | None = None

    def __post_init__(self) -> None:
        """Raise :class:`ConfigurationError` for what would never, or always, compact."""
        check_compaction(self.keep_last, self.instructions)
        if self.model is not None:
            _check("model", self.model, str)
        if self.messages is not None:
            _check_count("messages", self.messages, self.keep_last + 4)
        if self.tokens is not None:
            _check_count("tokens", self.tokens, 1)
        if self.messages is None and self.tokens is None:
            raise ConfigurationError(
                "compact at how many? CompactionPolicy(messages=... or tokens=...)"
            )

    def due(self, conversation: Conversation) -> bool:
        """Whether a history is to be compacted before it goes on."""
        if conversation.turn is not None:
            return False
        many = self.messages is not None and conversation.length >= self.messages
        return many or (self.tokens is not None and conversation.tokens >= self.tokens)


def check_compaction(keep_last: int, instructions: str | None) -> None:
    """Refuse what no compaction could do. Raises :class:`ConfigurationError`."""
    _check_count("keep_last", keep_last, 0)
    if instructions is not None:
        _check("instructions", instructions, str)


def _check_count(name: str, value: int, least: int) -> None:
    if type(value) is not int or value < least:
        shown = reprlib.repr(value)
        raise ConfigurationError(f"{name} must be at least {least}, not {shown}")


def check_seconds(name: str, seconds: float) -> None:
    """Refuse a time that nothing could keep. Raises :class:`ConfigurationError`."""
    if type(seconds) not in (int, float) or not 0 < seconds <= threading.TIMEOUT_MAX:
        raise ConfigurationError(
            f"{name} must be more than 0 s and finite, not {reprlib.repr(seconds)}"
        )
