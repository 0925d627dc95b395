"""What model calls cost, by the price table of a library that is kept up to date."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING

from agent.eventstore.values import Usage
from agent.projections.usage import ModelUsage

if TYPE_CHECKING:
    from collections.abc import Iterable


PRICED = {
    "anthropic": "anthropic",
    "azure": "azure",
    "cerebras": "cerebras",
    "deepseek": "deepseek",
    "gemini": "google",
    "groq": "groq",
    "mistral": "mistral",
    "openai": "openai",
    "openai-responses": "openai",
    "openrouter": "openrouter",
    "together": "together",
    "xai": "x-ai",
    "zai": "zai",
}
"""The table's name for each provider whose prices it knows."""


def cost_of(calls: Iterable[ModelUsage]) -> Decimal | None:
    """The cost of model calls in US dollars; None if that of any is unknown."""
    total = Decimal(0)
    for call in calls:
        cost = _cost(call)
        if cost is None:
            return None
        total += cost
    return total


def cost_of_call(provider: str | None, model: str | None, *tokens: int | None) -> float | None:
    """The cost of one call in US dollars, as a function for SQL; None if it is unknown.

    ``tokens`` are those of the input, the output, read from the cache and written to it.
    """
    if provider is None or model is None or not tokens or tokens[0] is None:
        return None
    cost = _known_cost(provider, model, *tokens)
    return None if cost is None else float(cost)


@lru_cache(maxsize=4096)
def _known_cost(provider: str, model: str, *tokens: int | None) -> Decimal | None:
    return _cost(ModelUsage(provider, model, Usage(*(count or 0 for count in tokens))))


def _cost(call: ModelUsage) -> Decimal | None:
    provider = PRICED.get(call.provider)
    if provider is None:
        return None
    from genai_prices import Usage as Counted  # noqa: PLC0415 - slow to import
    from genai_prices import calc_price  # noqa: PLC0415

    used = call.usage
    counted = Counted(
        input_tokens=used.input_tokens,
        output_tokens=used.output_tokens,
        cache_read_tokens=used.cached_tokens,
        cache_write_tokens=used.cache_write_tokens,
    )
    try:
        return calc_price(counted, call.model, provider_id=provider).total_price
    except LookupError:
        return None
