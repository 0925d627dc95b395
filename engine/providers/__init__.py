"""The providers by name. Each is imported when an agent asks for it."""

from __future__ import annotations

from collections.abc import Callable

from agent.engine.errors import ConfigurationError, UnknownProvider
from agent.engine.provider import Provider


def _openai(base_url: str | None, api_key: str | None, timeout: float) -> Provider:
    from agent.engine.providers.openai_chat import OpenAIChat  # noqa: PLC0415 - only when asked for

    return OpenAIChat(base_url=base_url, api_key=api_key, timeout=timeout)


_KNOWN: dict[str, Callable[[str | None, str | None, float], Provider]] = {"openai": _openai}


def connect(
    provider: str | Provider, *, base_url: str | None, api_key: str | None, timeout: float
) -> Provider:
    """The provider of a name; one that was made by hand stays as it is.

    Raises :class:`UnknownProvider`, :class:`ConfigurationError`.
    """
    for name, value in (("base_url", base_url), ("api_key", api_key)):
        if value is not None and not isinstance(value, str):  # pyright: ignore[reportUnnecessaryIsInstance] - user input
            raise ConfigurationError(f"{name}= takes text, not {type(value).__name__}")
    if not isinstance(provider, str):
        if not isinstance(provider, Provider):  # pyright: ignore[reportUnnecessaryIsInstance] - user input
            kind = type(provider).__name__
            raise ConfigurationError(
                f"provider= takes a name or a subclass of agent.providers.Provider, not a {kind}"
            )
        if base_url is not None or api_key is not None:
            raise ConfigurationError("base_url and api_key belong to the provider object itself")
        return provider
    make = _KNOWN.get(provider)
    if make is None:
        raise UnknownProvider(provider, tuple(sorted(_KNOWN)))
    return make(base_url, api_key, timeout)
