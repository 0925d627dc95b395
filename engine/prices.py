"""What model calls cost, by the price table of a library that is kept up to date."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.projections.usage import ModelUsage


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


def _cost(call: ModelUsage) -> Decimal | None:
    provider = PRICED.get(call.provider)
    if provider is None:
        return None
    from genai_prices import Usage, calc_price  # noqa: PLC0415 - slow to import

    used = call.usage
    counted = Usage(
        input_tokens=used.input_tokens,
        output_tokens=used.output_tokens,
        cache_read_tokens=used.cached_tokens,
        cache_write_tokens=used.cache_write_tokens,
    )
    try:
        return calc_price(counted, call.model, provider_id=provider).total_price
    except LookupError:
        return None
