"""What a rerun would do, before it does anything."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Literal

import msgspec

from agent.engine.ask import Ask
from agent.engine.prices import cost_of
from agent.eventstore.events import ModelResponded
from agent.eventstore.messages import TextPart
from agent.eventstore.values import Usage
from agent.projections.usage import ModelUsage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.engine.rerun import Prepared
    from agent.engine.served import RecordedResult, Serving

Fate = Literal["served", "asked about", "run", "stopped at"]
"""What becomes of a call: it gets its recorded result, a person is asked, its tool runs, or the
rerun stops there."""

_OTHERS: dict[Serving, Fate] = {"recorded": "stopped at", "ask": "asked about", "live": "run"}


class PlannedCall(msgspec.Struct, frozen=True):
    """A call of the turn as it was; ``version`` is that of its result. ``arguments`` is JSON."""

    tool: str
    arguments: str
    version: int
    fate: Fate


class Plan(msgspec.Struct, frozen=True):
    """What a rerun would do: nothing has been asked, run or written.

    The turn that began at version ``turn`` is taken again by ``model``, in a fork of the first
    ``at`` events. ``calls`` are those that have a result in the record, ``others`` is what becomes
    of every other call, and ``tools`` are those that could run. The model is asked at most
    ``steps_at_most`` times, repetitions after failures apart. ``usage_at_most`` are the tokens that
    this uses at most, by what the provider counted the last time, and ``cost_at_most`` is their
    price in US dollars; None where nothing bounds them: without ``max_tokens``, where tools may
    run whose results nobody knows, or for an unknown price.
    """

    at: int
    turn: int
    model: str
    calls: tuple[PlannedCall, ...]
    others: Fate
    tools: tuple[str, ...]
    steps_at_most: int
    usage_at_most: Usage | None
    cost_at_most: Decimal | None


def plan_of(prepared: Prepared, serving: Serving) -> Plan:
    """What a rerun that is worked out would do."""
    calls = tuple(
        PlannedCall(one.call.name, one.call.arguments, one.version, "served")
        for one in prepared.served.results
        if prepared.served.serves(one)
    )
    model, steps = prepared.order.model, _steps(prepared, serving)
    usage = _usage(prepared, steps, serving)
    provider = prepared.setup.provider.name
    return Plan(
        prepared.original.at,
        prepared.original.started,
        model,
        calls,
        _OTHERS[serving],
        () if serving == "recorded" else prepared.setup.tools.names,
        steps,
        usage,
        None if usage is None else cost_of([ModelUsage(provider, model, usage)]),
    )


def _steps(prepared: Prepared, serving: Serving) -> int:
    """Each answer but the last needs a call that is answered, or is one that did not fit."""
    limits, tools = prepared.setup.limits, prepared.setup.tools.names
    if serving != "recorded" and tools:
        return limits.max_steps
    again = limits.max_output_retries if prepared.order.output is not None else 0
    return min(limits.max_steps, len(prepared.served.results) + 1 + again)


def _usage(prepared: Prepared, steps: int, serving: Serving) -> Usage | None:
    """Tokens of so many steps, if each answer is as long as it may be."""
    order, original = prepared.order, prepared.original
    settings = order.settings if isinstance(order, Ask) else original.recorded.settings
    longest, first = settings.max_tokens, _first_input(prepared)
    if longest is None or first is None or (serving != "recorded" and prepared.setup.tools.names):
        return None
    told = sum(map(_longest_in_tokens, prepared.served.results))
    inputs = steps * (first + told) + longest * steps * (steps - 1) // 2
    return Usage(inputs, steps * longest)


def _first_input(prepared: Prepared) -> int | None:
    """The tokens of the first request, as the provider counted those of the same one then."""
    answers: Iterator[ModelResponded] = (
        fact.event for fact in prepared.original.turn if isinstance(fact.event, ModelResponded)
    )
    first = next(answers, None)
    return first.usage.input_tokens or None if first else None


def _longest_in_tokens(result: RecordedResult) -> int:
    """No token is shorter than a byte."""
    return sum(len(part.text.encode()) for part in result.content if isinstance(part, TextPart))
