"""The providers by name. Each protocol is imported when an agent asks for it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from agent.engine.errors import ConfigurationError, UnknownProvider
from agent.engine.provider import Provider
from agent.engine.providers.vendors import VENDORS

if TYPE_CHECKING:
    from agent.engine.providers.served import ServedProvider
    from agent.engine.providers.vendors import API, Vendor

_CLASSES: dict[API, str] = {
    "chat_completions": "ChatCompletions",
    "responses": "Responses",
    "generate_content": "GenerateContent",
    "ollama_chat": "OllamaChat",
    "messages": "Messages",
}
"""The class of each protocol, in the module ``api`` of its package."""

_ELSEWHERE = "http://localhost"
"""Where no vendor is: servers there speak the other dialect."""


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
    made, vendor = protocol_of(provider)
    return made(vendor, base_url=base_url, api_key=api_key, timeout=timeout)


def spoken(name: str, encoder: str) -> ServedProvider[Any] | None:
    """A provider that encodes by the rules of this name, without a key or a connection.

    One of other rules if these are gone, and None if there is no provider of this name.
    """
    if name not in VENDORS:
        return None
    made, vendor = protocol_of(name)
    here, elsewhere = (
        made(vendor, base_url=url, api_key="unused")
        for url in (vendor.base_url or vendor.example, _ELSEWHERE)
    )
    return elsewhere if elsewhere.encoder == encoder else here


def protocol_of(name: str) -> tuple[type[ServedProvider[Any]], Vendor[Any]]:
    """The class that speaks a protocol, and its vendor. Raises :class:`UnknownProvider`."""
    vendor = VENDORS.get(name)
    if vendor is None:
        raise UnknownProvider(name, tuple(sorted(VENDORS)))
    module = import_module(f"agent.engine.providers.{vendor.api}.api")
    return getattr(module, _CLASSES[vendor.api]), vendor


def provider_of(name: str) -> ServedProvider[Any]:
    """A provider that encodes and reads as the vendor's own servers do, without a key.

    Raises :class:`UnknownProvider`.
    """
    made, vendor = protocol_of(name)
    return made(vendor, base_url=vendor.base_url or vendor.example, api_key="unused")
