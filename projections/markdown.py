"""A session as Markdown: a document for people, to read and to hand over."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, assert_never

from agent.eventstore.messages import (
    Blob,
    FilePart,
    ImagePart,
    OpaquePart,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from agent.eventstore.values import Usage, metadata_dict
from agent.projections.quoting import fenced, quoted, spanned
from agent.projections.usage import model_calls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from decimal import Decimal

    from agent.eventstore.messages import Message, Part
    from agent.eventstore.record import Recorded
    from agent.projections.session import SessionState
    from agent.projections.usage import ModelUsage

    Cost = Callable[[Iterable[ModelUsage]], Decimal | None]

_ROLES = {"user": "User", "assistant": "Assistant", "tool": "Tools"}


def markdown(state: SessionState, facts: Sequence[Recorded], cost: Cost) -> str:
    """The document of a session with these events.

    It shows what the session shows: nothing that was rewound, cleared or compacted. ``cost`` gives
    US dollars for model calls.
    """
    blocks = [*_head(state, facts), *_conversation(state), *_usage(state, facts, cost)]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _head(state: SessionState, facts: Sequence[Recorded]) -> Iterator[Iterable[str]]:
    now = state.conversation
    title = metadata_dict(now.metadata).get("title")
    yield [f"# Session {spanned(now.session_id)}"]
    items = [f"title: {spanned(title)}"] if isinstance(title, str) else []
    if facts:
        first, last = (_time(facts[place]) for place in (0, -1))
        items.append(f"recorded: {first} to {last}")
    items += [f"version: {state.version}", f"hash: {spanned(state.hash.hex())}"]
    if state.lineage.parent is not None:
        fork = state.lineage.sessions[-1].since - 1
        items.append(f"forked from: {spanned(state.lineage.parent)}, version {fork}")
    if now.tools.definitions:
        items.append(f"tools: {', '.join(spanned(tool.name) for tool in now.tools.definitions)}")
    yield [f"- {item}" for item in items]
    if now.system is not None:
        yield ["## System prompt"]
        yield quoted(now.system)


def _time(fact: Recorded) -> str:
    return f"{datetime.fromtimestamp(fact.recorded_at / 1e9, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _conversation(state: SessionState) -> Iterator[Iterable[str]]:
    now = state.conversation
    place = 0
    names: dict[str, str] = {}
    for message in now.messages:
        place += 1
        yield from _message(place, message, names)
    if now.turn is None:
        return
    yield [f"**From here on the turn that began at version {now.turn.started} is not finished.**"]
    for message in now.turn.messages:
        place += 1
        yield from _message(place, message, names)


def _message(place: int, message: Message, names: dict[str, str]) -> Iterator[Iterable[str]]:
    """A message; ``names`` are those of the tools by the ids of the calls so far."""
    yield [f"## {place}. {_ROLES[message.role]}"]
    names |= {call.call_id: call.name for call in message.tool_calls}
    labelled = not all(isinstance(part, TextPart) for part in message.parts)
    for part in message.parts:
        yield from _part(part, names, labelled=labelled)


def _part(part: Part, names: dict[str, str], *, labelled: bool) -> Iterator[Iterable[str]]:
    match part:
        case TextPart(text=text):
            yield from [["### Text"]] if labelled else []
            yield quoted(text)
        case RefusalPart(text=text):
            yield ["### Refusal"]
            yield quoted(text)
        case ReasoningPart(text=text):
            yield ["### Reasoning"]
            yield quoted(text) if text else [_unread(part.opaque and part.opaque.provider)]
        case ToolCallPart(name=name, call_id=call_id, arguments=arguments):
            yield [f"### Call of {spanned(name)}, {spanned(call_id)}"]
            yield fenced(arguments, "json")
        case ToolResultPart():
            yield from _result(part, names)
        case ImagePart() | FilePart():
            yield [_attachment(part)]
        case OpaquePart(opaque=opaque):
            yield [_unread(opaque.provider)]
        case _:
            assert_never(part)


def _result(part: ToolResultPart, names: dict[str, str]) -> Iterator[Iterable[str]]:
    tool = names.get(part.call_id, "")
    yield [
        f"### {'Error' if part.is_error else 'Result'} of {spanned(tool)}, {spanned(part.call_id)}"
    ]
    for item in part.content:
        yield from _part(item, names, labelled=False)


def _attachment(part: ImagePart | FilePart) -> str:
    kind = "image" if isinstance(part, ImagePart) else "file"
    name = part.name if isinstance(part, FilePart) else None
    said = [spanned(text) for text in (name, part.media_type) if text]
    if isinstance(part.source, Blob):
        said += [f"{part.source.size:,} bytes", f"SHA-256 {spanned(part.source.digest)}"]
    else:
        said.append(f"at {spanned(part.source.url)}")
    return f"- {kind}: {', '.join(said)}"


def _unread(provider: str | None) -> str:
    return f"*Something that only {spanned(provider or '')} can read.*"


def _usage(state: SessionState, facts: Sequence[Recorded], cost: Cost) -> Iterator[Iterable[str]]:
    calls = list(model_calls(facts))
    yield ["## Usage"]
    spent: dict[tuple[str, str], list[ModelUsage]] = {}
    for call in calls:
        spent.setdefault((call.provider, call.model), []).append(call)
    items = [
        f"{spanned(model)} of {spanned(provider)}: {_tokens(some)}, {_dollars(cost(some))}"
        for (provider, model), some in spent.items()
    ]
    total = f"in all: {_tokens(calls)}, {_dollars(cost(calls))}"
    inherited = state.usage.inherited.total_tokens
    items.append(f"{total}; {inherited:,} tokens were inherited" if inherited else total)
    yield [f"- {item}" for item in items]


def _tokens(calls: Sequence[ModelUsage]) -> str:
    used = sum((call.usage for call in calls), Usage())
    number = f"{len(calls)} model call{'s' * (len(calls) != 1)}"
    return f"{number}, {used.input_tokens:,} tokens in, {used.output_tokens:,} out"


def _dollars(cost: Decimal | None) -> str:
    return "cost unknown" if cost is None else f"US$ {cost:.6f}"
