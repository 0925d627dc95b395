"""Where a rerun first departs from the turn that it took again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from agent.engine.changes import changes
from agent.engine.divergence import Cause, Divergence, Kind, request_causes
from agent.engine.past_requests import PastRequest
from agent.engine.served import meant, same_call
from agent.eventstore.events import ModelResponded, ToolResolved, ToolReturned
from agent.eventstore.messages import (
    OpaquePart,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from agent.eventstore.record import Recorded

if TYPE_CHECKING:
    from agent.eventstore.events import Event
    from agent.eventstore.messages import Message, Part


class _Said(NamedTuple):
    version: int
    event: Event


class Way(NamedTuple):
    """The events of a session, and those of the turn that is compared."""

    facts: Sequence[Recorded]
    turn: Sequence[Recorded]


Rebuild = Callable[[Sequence[Recorded], Recorded], PastRequest | None]
"""Builds a request of a session again from all of its events, None where nobody can."""


def departure(original: Way, rerun: Way, rebuild: Rebuild) -> Divergence | None:
    """The first answer or result of a turn that is another one in its rerun, None if all agree.

    What is edited in the ``turn`` of the original is expected of the rerun. The ``version`` is that
    in the original; the results of parallel calls may come in any order.
    """
    then, now = (_steps(way.turn) for way in (original, rerun))
    index = next((at for at, pair in enumerate(zip(then, now, strict=False)) if _kind(*pair)), None)
    if index is None:
        index = min(len(then), len(now))
    if index == len(then) == len(now):
        return None
    one = then[index] if index < len(then) else None
    other = now[index] if index < len(now) else None
    causes = _causes((original, one), (rerun, other), rebuild)
    if one is None or other is None:
        kind = "missing" if one else "extra"
        version = one.version if one else original.turn[-1].version
        return Divergence(version, kind, causes, one and one.event, other and other.event)
    places = tuple(changes(_shown(one.event), _shown(other.event)))
    kind = _kind(one, other) or "order"
    return Divergence(one.version, kind, causes, one.event, other.event, places)


def _causes(
    original: tuple[Way, _Said | None], rerun: tuple[Way, _Said | None], rebuild: Rebuild
) -> tuple[Cause, ...]:
    """What was asked otherwise before two parted."""
    said = original[1]
    if said is not None and not isinstance(said.event, ModelResponded):
        return ("tool result",)
    then, now = (
        None if (fact := _asked(way, said)) is None else rebuild(way.facts, fact)
        for way, said in (original, rerun)
    )
    if then is None or now is None:
        return ()
    if then.recorded.digest != now.recorded.digest and (known := _known_causes(then, now)):
        return known
    answered = original[1] is not None and rerun[1] is not None
    return ("sampling",) if answered else ()


def _known_causes(then: PastRequest, now: PastRequest) -> tuple[Cause, ...]:
    """Why two requests say something else: what the model said that does not count is no reason."""
    nothing: set[Cause] = set()
    if _told(then.messages) == _told(now.messages):
        nothing.add("history")
    if then.recorded.encoder == now.recorded.encoder:
        nothing |= {"library", "log"}
    return tuple(cause for cause in request_causes(then, now) if cause not in nothing)


def _told(messages: Sequence[Message]) -> list[tuple[object, ...]]:
    """What counts of messages: not the ids, nor what only a provider understands."""
    return [(message.role, *_counted(message.parts)) for message in messages]


def _counted(parts: Sequence[Part]) -> Iterator[object]:
    for part in parts:
        match part:
            case TextPart(text=text):
                yield text
            case ToolCallPart(name=name, arguments=arguments):
                yield name, meant(arguments)
            case ToolResultPart(content=content, is_error=is_error):
                yield content, is_error
            case ReasoningPart() | OpaquePart():
                pass
            case other:
                yield other


def _asked(way: Way, said: _Said | None) -> Recorded | None:
    """The request that an answer came to, or the last of the turn."""
    asked = [
        fact
        for fact in way.turn
        if fact.type == "model.requested" and (said is None or fact.version < said.version)
    ]
    return asked[-1] if asked else None


def _steps(facts: Sequence[Recorded]) -> list[_Said]:
    """Answers and results, those of parallel calls in the order of the calls."""
    steps: list[_Said] = []
    results: dict[str, _Said] = {}
    order: list[str] = []
    for fact in facts:
        match fact.event:
            case ModelResponded(message=message):
                steps += [results[key] for key in order if key in results]
                results, order = {}, [call.call_id for call in message.tool_calls]
                steps.append(_Said(fact.version, fact.event))
            case (ToolReturned(call_id=key) | ToolResolved(call_id=key)) as event:
                if not (isinstance(event, ToolResolved) and event.how == "retry"):
                    results[key] = _Said(fact.version, event)
            case _:
                pass
    return steps + [results[key] for key in order if key in results]


def _kind(one: _Said, other: _Said) -> Kind | None:
    """What differs between two answers or results, None if nothing that counts does."""
    match one.event, other.event:
        case ModelResponded(message=then), ModelResponded(message=now):
            return _kind_of_answer(then, now)
        case (ToolReturned() | ToolResolved()) as then, (ToolReturned() | ToolResolved()) as now:
            same = (then.content, then.is_error) == (now.content, now.is_error)
            return None if same else "result"
        case _:
            return "order"


def _kind_of_answer(one: Message, other: Message) -> Kind | None:
    then, now = one.tool_calls, other.tool_calls
    if [call.name for call in then] != [call.name for call in now]:
        same_tools = sorted(call.name for call in then) == sorted(call.name for call in now)
        return "order" if same_tools else "tool"
    if not all(same_call(*pair) for pair in zip(then, now, strict=True)):
        return "arguments"
    same = (one.text, one.refusal) == (other.text, other.refusal)
    return None if same else "answer"


def _shown(event: Event) -> object:
    """What counts of an answer or a result: not the ids, nor what only a provider understands."""
    match event:
        case ModelResponded(message=message):
            calls = [{"tool": one.name, "arguments": one.arguments} for one in message.tool_calls]
            refusal = {} if message.refusal is None else {"refusal": message.refusal}
            return {"text": message.text, **refusal, "calls": calls}
        case ToolReturned() | ToolResolved():
            texts = [getattr(part, "text", part.type) for part in event.content]
            return {"content": texts, "is_error": event.is_error}
        case _:
            return {}
