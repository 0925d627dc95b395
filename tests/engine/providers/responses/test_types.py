"""Bodies that we build are held to the types of the vendor's own client."""

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.engine.provider import Prompt
from agent.engine.providers.responses.api import Responses
from agent.engine.providers.vendors import OPENAI_RESPONSES
from agent.eventstore.messages import (
    FilePart,
    ImagePart,
    Link,
    Message,
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from agent.eventstore.rawjson import to_raw
from agent.eventstore.values import OutputSchema, Settings, ToolDefinition
from tests.engine.providers.given import body_of
from tests.engine.providers.responses.given import (
    ORIGIN,
    Item,
    call,
    reasoning,
    refusal,
    searched,
    text,
    whole,
)
from tests.fakes.chat_validation import ApiError
from tests.fakes.responses_server import check_pairs, check_types

PROVIDER = Responses(OPENAI_RESPONSES)
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}}

words = st.text(max_size=5)
files = [
    ImagePart.from_bytes(b"\x89PNG"),
    ImagePart.from_url("https://example.com/a.png"),
    FilePart.from_bytes(b"%PDF", "application/pdf", "a.pdf"),
    FilePart(Link("https://example.com/a.pdf"), "application/pdf"),
]
contents = st.lists(words.map(TextPart) | st.sampled_from(files), max_size=3).map(tuple)
foreign = st.one_of(
    words.map(TextPart),
    words.map(RefusalPart),
    words.map(ReasoningPart),
    st.builds(ToolCallPart, st.just("x"), st.sampled_from("fg"), st.sampled_from(["", "{}", "{"])),
)
output: st.SearchStrategy[Item] = st.one_of(
    words.map(text),
    words.map(refusal),
    st.just(searched()),
    st.builds(reasoning, words, encrypted=st.sampled_from([None, "gAAA"])),
    st.builds(call, st.sampled_from("fg"), st.sampled_from(["", "{}", "{"])),
    st.just(
        {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c", "name": "f", "input": "a b"}
    ),
)
answers = st.one_of(
    st.lists(foreign, max_size=4),
    st.lists(output, max_size=5).map(lambda items: list(whole(*items).answer.message.parts)),
)
settings = st.builds(
    Settings,
    temperature=st.sampled_from([None, 0.5]),
    max_tokens=st.sampled_from([None, 100]),
    reasoning_effort=st.sampled_from([None, "low"]),
    show_reasoning=st.sampled_from([None, True, False]),
    verbosity=st.sampled_from([None, "low"]),
    service_tier=st.sampled_from([None, "flex"]),
    tool_choice=st.sampled_from([None, "auto", "required", "f"]),
    parallel_tool_calls=st.sampled_from([None, False]),
)


def conversation(turns: list[tuple[tuple[Part, ...], list[Part]]]) -> list[Message]:
    """What the user says and the model answers, with a result for each call."""
    messages: list[Message] = []
    for index, (said, answered) in enumerate(turns):
        named = [
            msgspec.structs.replace(part, call_id=f"call_{index}_{place}")
            if isinstance(part, ToolCallPart)
            else part
            for place, part in enumerate(answered)
        ]
        answer = Message("assistant", tuple(named))
        messages += [Message("user", said), answer]
        if answer.tool_calls:
            results = [ToolResultPart(one.call_id, said) for one in answer.tool_calls]  # pyright: ignore[reportArgumentType]
            messages.append(Message.tool(*results))
    return messages


def check_reasoning(items: list[Item]) -> None:
    """Reasoning can be read again, and has led to something."""
    for item, following in itertools.pairwise([*items, {"role": "user"}]):
        if item.get("type") == "reasoning":
            assert item["encrypted_content"]
            assert following.get("role") != "user"


@given(st.lists(st.tuples(contents, answers), max_size=3), settings, st.booleans(), st.booleans())
def test_every_body_is_one_that_the_types_know(
    turns: list[tuple[tuple[Part, ...], list[Part]]],
    settings: Settings,
    stream: bool,
    full: bool,
) -> None:
    """Conversations of this model and of others, tools, settings, files, structured output."""
    raw = to_raw(SCHEMA, of="schema")
    tools = (ToolDefinition("f", "Do it.", raw), ToolDefinition("g", "", raw)) if full else ()
    prompt = Prompt(
        ORIGIN.model,
        "Be brief." if full else None,
        tools,
        settings,
        OutputSchema("S", raw) if full else None,
        stream,
    )
    body = body_of(PROVIDER, conversation(turns), prompt)
    check_types(body)
    check_pairs(body["input"])
    check_reasoning(body["input"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": "m", "input": "x", "seed": 1},
        {"model": "m", "input": [{"role": "user", "content": "x", "name": "y"}]},
        {"model": "m", "input": "x", "tools": [{"type": "function", "function": {}}]},
    ],
)
def test_the_check_can_fail(wrong: Item) -> None:
    """Unknown keys and wrong shapes are noticed."""
    with pytest.raises(ApiError):
        check_types(wrong)
