"""The settings of a turn, as keyword arguments and as recorded values."""

from __future__ import annotations

import reprlib
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import msgspec

from agent.engine.errors import ConfigurationError
from agent.eventstore.rawjson import EMPTY_OBJECT, check_text, to_raw
from agent.eventstore.values import Settings


class SettingsOptions(TypedDict, total=False):
    """How the model should answer, as keyword arguments.

    ``tool_choice`` is ``"auto"``, ``"none"``, or for the turn's first answer ``"required"`` or the
    name of a tool. ``extra`` goes into the request as it is, for what a provider knows and this
    library does not.
    """

    temperature: float
    top_p: float
    max_tokens: int
    stop: str | Sequence[str]
    seed: int
    presence_penalty: float
    frequency_penalty: float
    reasoning_effort: str
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
    "max_tokens": int,
    "seed": int,
    "presence_penalty": (int, float),
    "frequency_penalty": (int, float),
    "reasoning_effort": str,
    "tool_choice": str,
    "parallel_tool_calls": bool,
    "model": str,
    "idempotency_key": str,
}

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
    if step == 1 or settings.tool_choice in (None, "auto", "none"):
        return settings
    return msgspec.structs.replace(settings, tool_choice=None)


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
    if name == "max_tokens" and isinstance(value, int) and value < 1:
        raise ConfigurationError(f"max_tokens must be at least 1, not {value}")


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a turn may use.

    ``max_steps`` model answers, ``max_retries`` further attempts for a failed model call,
    ``max_output_retries`` further answers when structured output does not fit, ``deadline``
    seconds for the whole turn.
    """

    max_steps: int = 32
    max_retries: int = 2
    max_output_retries: int = 2
    deadline: float | None = None

    def __post_init__(self) -> None:
        """Raise :class:`ConfigurationError` for limits under which no turn could run."""
        counts = (
            ("max_steps", self.max_steps, 1),
            ("max_retries", self.max_retries, 0),
            ("max_output_retries", self.max_output_retries, 0),
        )
        for name, value, least in counts:
            if type(value) is not int or value < least:
                shown = reprlib.repr(value)
                raise ConfigurationError(f"{name} must be at least {least}, not {shown}")
        if self.deadline is not None:
            check_seconds("deadline", self.deadline)


def check_seconds(name: str, seconds: float) -> None:
    """Refuse a time that nothing could keep. Raises :class:`ConfigurationError`."""
    if type(seconds) not in (int, float) or not 0 < seconds <= threading.TIMEOUT_MAX:
        raise ConfigurationError(
            f"{name} must be more than 0 s and finite, not {reprlib.repr(seconds)}"
        )
