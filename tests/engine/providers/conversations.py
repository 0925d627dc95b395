"""Conversations that hypothesis makes: any parts, calls paired with their results."""

from collections.abc import Callable

import msgspec
from hypothesis import strategies as st

from agent.engine.providers.origin import Origin
from agent.eventstore.messages import (
    FilePart,
    ImagePart,
    Message,
    OpaquePart,
    ReasoningPart,
    RefusalPart,
    ResultContent,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from agent.eventstore.values import OutputSchema, Settings, ToolDefinition

ELSEWHERE = Origin("elsewhere", "messages", "m").opaque({"signature": "x", "id": "y"})

texts = st.text(st.characters(codec="utf-8"), max_size=8)
words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
foreign = st.sampled_from([None, ELSEWHERE])
images = st.binary(max_size=5).map(ImagePart.from_bytes)
files = st.binary(max_size=5).map(lambda data: FilePart.from_bytes(data, "application/pdf"))
arguments = st.one_of(texts, st.dictionaries(words, st.integers() | texts).map(msgspec.json.encode))


def _text_of(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode()


_said = st.one_of(
    st.builds(TextPart, texts, foreign),
    st.builds(ReasoningPart, texts, foreign),
    st.builds(RefusalPart, texts),
    st.just(OpaquePart(ELSEWHERE)),
)
_results: st.SearchStrategy[ResultContent] = st.one_of(st.builds(TextPart, texts), images, files)


@st.composite
def conversations(draw: st.DrawFn, *, with_files: bool) -> list[Message]:
    """Turns of a user and an assistant, who may call tools."""
    messages: list[Message] = []
    shown = st.one_of(words.map(TextPart), images, files) if with_files else words.map(TextPart)
    for turn in range(draw(st.integers(1, 3))):
        messages.append(Message("user", tuple(draw(st.lists(shown, min_size=1, max_size=3)))))
        said = draw(st.lists(_said, max_size=3))
        calls = [
            ToolCallPart(f"call_{turn}_{place}", name, _text_of(given), "theirs", opaque)
            for place, (name, given, opaque) in enumerate(
                draw(st.lists(st.tuples(st.sampled_from(["a", "b"]), arguments, foreign)))
            )
        ]
        messages.append(Message("assistant", (*said, *calls)))
        results = [
            ToolResultPart(call.call_id, tuple(draw(st.lists(_results, max_size=2))))
            for call in draw(st.permutations(calls))
        ]
        if results:
            messages += [Message.tool(*results), Message.assistant("Done")]
    return messages


tools = st.lists(
    st.builds(
        ToolDefinition,
        st.sampled_from(["a", "b"]),
        texts,
        st.just(msgspec.Raw(b'{"type":"object","properties":{"x":{"type":"string"}}}')),
    ),
    max_size=2,
).map(tuple)
outputs = st.sampled_from([None, OutputSchema("shape", msgspec.Raw(b'{"type":"object"}'))])


def settings(names: Callable[[str], bool]) -> st.SearchStrategy[Settings]:
    """Any settings of those names."""
    values: dict[str, st.SearchStrategy[object]] = {
        "temperature": st.floats(0, 2),
        "top_p": st.floats(0, 1),
        "top_k": st.integers(1, 100),
        "max_tokens": st.integers(1, 1000),
        "stop": st.lists(words, max_size=2).map(tuple),
        "seed": st.integers(0, 1000),
        "presence_penalty": st.floats(-1, 1),
        "frequency_penalty": st.floats(-1, 1),
        "reasoning_effort": st.sampled_from(["low", "medium", "high"]),
        "reasoning_budget": st.integers(0, 1000),
        "show_reasoning": st.booleans(),
        "service_tier": st.sampled_from(["flex", "standard"]),
        "tool_choice": st.sampled_from(["auto", "none", "required", "a"]),
        "parallel_tool_calls": st.just(True),
    }
    known = {name: st.none() | value for name, value in values.items() if names(name)}
    return st.fixed_dictionaries(known).map(lambda given: Settings(**given))  # type: ignore[arg-type]
