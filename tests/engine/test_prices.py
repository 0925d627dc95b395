"""What turns cost."""

from decimal import Decimal

import pytest
from genai_prices.data_snapshot import get_snapshot

from agent import Agent
from agent.engine.prices import PRICED, cost_of
from agent.engine.providers.vendors import VENDORS
from agent.engine.scripted import Call, Reply, ScriptedModel
from agent.eventstore.values import Usage
from agent.projections.usage import ModelUsage
from tests.engine.given import add

MILLION = 10**6


class Priced(ScriptedModel):
    """A scripted model under the name of one that is known to the price table."""

    name = "openai"


def test_each_kind_of_token_has_its_price():
    """What was read from the cache lies inside the input, and is cheaper."""
    prices = [
        cost_of([ModelUsage("openai", "gpt-4o", usage)])
        for usage in (
            Usage(MILLION, 0),
            Usage(MILLION, 0, cached_tokens=MILLION),
            Usage(0, MILLION),
            Usage(MILLION, MILLION, cached_tokens=MILLION // 2),
        )
    ]
    fresh, cached, written, mixed = [price or Decimal(0) for price in prices]
    assert 0 < cached < fresh < written
    assert mixed == (fresh + cached) / 2 + written


def test_a_cache_is_filled_at_a_price_of_its_own():
    """Anthropic takes more for what it keeps."""
    usage, kept = Usage(MILLION, 0), Usage(MILLION, 0, cache_write_tokens=MILLION)
    plain = cost_of([ModelUsage("anthropic", "claude-sonnet-4-5", usage)])
    filled = cost_of([ModelUsage("anthropic", "claude-sonnet-4-5", kept)])
    assert plain is not None
    assert filled is not None
    assert plain < filled


@pytest.mark.parametrize(
    ("provider", "model"),
    [("openai", "no-such-model"), ("llama.cpp", "gpt-4o"), ("my-own", "gpt-4o")],
)
def test_what_is_not_in_the_table_is_unknown(provider: str, model: str):
    """Nothing is guessed: one unknown call makes the whole unknown."""
    known = ModelUsage("openai", "gpt-4o", Usage(1, 1))
    assert cost_of([known, ModelUsage(provider, model, Usage(1, 1))]) is None


def test_the_cost_of_a_turn_is_that_of_each_call():
    """Each model call counts, at the price of the model that answered."""
    script = [
        Reply(calls=(Call("add", {"a": 1, "b": 2}),), usage=Usage(1000, 100)),
        Reply(text="3", usage=Usage(2000, 50)),
    ]
    response = Agent(Priced(script), "gpt-4o-mini", tools=[add]).session().run("1 + 2?")
    assert response.usage == Usage(3000, 150)
    assert response.cost == cost_of([ModelUsage("openai", "gpt-4o-mini", Usage(3000, 150))])
    assert [one.model for one in response.spent] == ["gpt-4o-mini", "gpt-4o-mini"]


def test_a_turn_whose_price_nobody_knows():
    """The tokens are counted all the same."""
    response = Agent(ScriptedModel([Reply(text="Hello", usage=Usage(3, 4))])).session().run("Hi")
    assert (response.cost, response.usage) == (None, Usage(3, 4))


def test_the_names_of_the_table():
    """Each priced provider is one of ours, under a name that the table knows."""
    assert PRICED.keys() <= VENDORS.keys()
    assert set(PRICED.values()) <= {provider.id for provider in get_snapshot().providers}
