"""What a rerun would do, before it does anything."""

from __future__ import annotations

from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

import msgspec

from agent.engine.ask import Ask
from agent.engine.effects import Append, CallModel, LoadAttachments
from agent.engine.journal import Journal
from agent.engine.owners import Driven
from agent.engine.prices import cost_of
from agent.engine.request import RequestBuilder
from agent.engine.sources import Sources
from agent.engine.turn import take_turn
from agent.eventstore.errors import AgentError
from agent.eventstore.events import ModelRequested, ModelResponded
from agent.eventstore.messages import FilePart, ImagePart, TextPart, ToolResultPart
from agent.eventstore.values import Usage
from agent.projections import session as projection
from agent.projections.fold import rebuild
from agent.projections.session import SessionState
from agent.projections.usage import ModelUsage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.engine.original import Original
    from agent.engine.provider import ModelRequest, Provider
    from agent.engine.rerun import Prepared
    from agent.engine.served import RecordedResult, Serving
    from agent.eventstore.messages import Message, Part

replace = msgspec.structs.replace

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
    ``steps_at_most`` times, apart from repetitions after failures and pauses of the provider.

    ``usage_at_most`` are the tokens that this uses at most: the first request as the provider
    counted the same one, a byte for a token of any other, and answers of ``max_tokens``. What a
    provider adds by itself comes on top. ``cost_at_most`` is their price in US dollars. None where
    nothing bounds them: without ``max_tokens``, where the results of tools are not known, with
    images or files that nobody has counted, where an answer may be asked again for its shape, or
    for an unknown price.
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


def plan_of(prepared: Prepared, serving: Serving, read_attachment: Callable[[str], bytes]) -> Plan:
    """What a rerun that is worked out would do."""
    original, served, provider = prepared.original, prepared.served, prepared.setup.provider
    others, model, tools = _OTHERS[serving], prepared.order.model, prepared.setup.tools.names
    calls = tuple(
        PlannedCall(
            one.call.name,
            one.call.arguments,
            one.version,
            "served" if one in served.results else others,
        )
        for one in prepared.results
        if served.serves(one)
    )
    steps = _steps(prepared, serving)
    usage = None if serving != "recorded" else _usage(prepared, steps, read_attachment)
    return Plan(
        original.at,
        original.started,
        model,
        calls,
        others,
        () if serving == "recorded" else tools,
        steps,
        usage,
        None if usage is None else cost_of([ModelUsage(provider.name, model, usage)]),
    )


def _steps(prepared: Prepared, serving: Serving) -> int:
    """Each answer but the last needs a call that is answered, or is one that did not fit."""
    limits, original = prepared.setup.limits, prepared.original
    turn = original.conversation(original.at).turn if original.entered else None
    left = max(limits.max_steps - (turn.steps if turn else 0), 0)
    if serving != "recorded":
        return left
    again = limits.max_output_retries if prepared.order.output is not None else 0
    return min(left, len(prepared.served.results) + 1 + again)


def _usage(prepared: Prepared, steps: int, read_attachment: Callable[[str], bytes]) -> Usage | None:
    """Tokens of so many steps, if each answer is as long as it may be."""
    longest = prepared.original.recorded.settings.max_tokens
    if isinstance(prepared.order, Ask):
        longest = prepared.order.settings.max_tokens
    request = _first_request(prepared, read_attachment)
    if request is None:
        return Usage()
    first = _counted(prepared.original, prepared.setup.provider, request)
    told = [_longest_in_tokens(result) for result in prepared.served.results]
    again = prepared.order.output is not None and prepared.setup.limits.max_output_retries
    if longest is None or first is None or None in told or again:
        return None
    grows = longest + _MARKS
    inputs = steps * (first + sum(filter(None, told))) + grows * steps * (steps - 1) // 2
    return Usage(inputs, steps * longest)


_MARKS = 50
"""Tokens by which a provider may mark a message, or name a call, at most."""


def _first_request(
    prepared: Prepared, read_attachment: Callable[[str], bytes]
) -> ModelRequest | None:
    """The first that the model would be asked, None if the turn would end before."""
    facts, at = prepared.original.facts, prepared.original.at
    key, now = facts[0].stream, rebuild(projection.evolve, facts[:at], SessionState())
    setup = replace(
        prepared.setup,
        sources=Sources(),
        driven=Driven(),
        answered=prepared.served.again().answered,
    )
    journal = Journal(key, now, setup.sources)
    for event in prepared.events:
        journal.record(event)
    program = take_turn(journal, RequestBuilder(), prepared.order, setup)
    outcome: object = None
    with closing(program):
        try:
            while True:
                effect, outcome = program.send(outcome), None
                match effect:
                    case CallModel(request):
                        return request
                    case Append():
                        journal.settle(effect)
                    case LoadAttachments(digests):
                        outcome = {digest: read_attachment(digest) for digest in digests}
                    case _:
                        pass
        except (StopIteration, AgentError):
            return None


def _counted(original: Original, provider: Provider, request: ModelRequest) -> int | None:
    """The tokens of a request: as they were counted of the same, else a byte for each."""
    asked: ModelRequested | None = None
    for fact in original.turn:
        match fact.event:
            case ModelRequested() as event:
                asked = event
            case ModelResponded(usage=usage) if asked is not None:
                now = (provider.name, provider.api, request.prompt.model, request.digest)
                then = (asked.provider, asked.api, asked.model, asked.digest)
                if now == then and usage.input_tokens:
                    return usage.input_tokens
            case _:
                pass
    parts = [part for message in request.messages for part in _flat(message)]
    return (
        None if any(isinstance(part, ImagePart | FilePart) for part in parts) else len(request.body)
    )


def _flat(message: Message) -> Iterator[Part]:
    for part in message.parts:
        yield part
        if isinstance(part, ToolResultPart):
            yield from part.content


def _longest_in_tokens(result: RecordedResult) -> int | None:
    """No token of a text is shorter than a byte; of anything else nobody knows."""
    texts = [part.text for part in result.content if isinstance(part, TextPart)]
    known = len(texts) == len(result.content)
    return _MARKS + sum(len(text.encode()) for text in texts) if known else None
