"""Every body that we build is one that the vendor's own types take."""

import json

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.engine.provider import Prompt
from agent.engine.providers.messages.api import Messages
from agent.engine.providers.vendors import ANTHROPIC
from agent.eventstore.messages import (
    FilePart,
    ImagePart,
    Message,
    Opaque,
    Part,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from agent.eventstore.values import OutputSchema, Settings, ToolDefinition
from tests.engine.providers.given import body_of
from tests.engine.providers.messages.given import ORIGIN, REDACTED, SEARCH, text, thinking, tool_use
from tests.fakes.messages_validation import check_body

PROVIDER = Messages(ANTHROPIC)
FOREIGN = Opaque("openai", "responses", "o9", msgspec.Raw(b'{"type":"reasoning"}'))

words = st.text(max_size=12)
attachments = st.one_of(
    st.binary(max_size=5).map(ImagePart.from_bytes),
    st.just(ImagePart.from_url("https://example.com/a.png")),
    st.binary(max_size=5).map(lambda data: FilePart.from_bytes(data, "application/pdf", "a.pdf")),
    st.binary(max_size=5).map(lambda data: FilePart.from_bytes(data, "text/plain")),
)
given_parts = st.lists(st.one_of(words.map(TextPart), attachments), max_size=3)
said_parts = st.lists(
    st.one_of(
        words.map(TextPart),
        words.map(RefusalPart),
        words.map(lambda said: ReasoningPart(said, FOREIGN)),
        words.map(lambda said: ReasoningPart(said, ORIGIN.opaque(thinking(said)))),
        st.sampled_from([REDACTED, SEARCH]).map(
            lambda block: ReasoningPart("", ORIGIN.opaque(block))
        ),
        words.map(lambda said: TextPart(said, ORIGIN.opaque(text(said, citations=None)))),
    ),
    max_size=3,
)
arguments = st.one_of(words, st.dictionaries(words, st.integers() | words).map(json.dumps))


@st.composite
def calls(draw: st.DrawFn) -> list[ToolCallPart]:
    """Calls of this provider and of others, with ids of all sorts."""
    ids = draw(st.lists(st.text(min_size=1, max_size=5), unique=True, max_size=3))
    made: list[ToolCallPart] = []
    for index, call_id in enumerate(ids):
        raw = tool_use("f", {}, f"toolu_{index}", caller={"type": "direct"})
        opaque = draw(st.sampled_from([None, FOREIGN, ORIGIN.opaque(raw)]))
        made.append(ToolCallPart(call_id, "f", draw(arguments), None, opaque))
    return made


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    """Messages with whole pairs; the last is a user's, and says something."""
    messages: list[Message] = []
    for _ in range(draw(st.integers(0, 3))):
        messages.append(Message("user", tuple(draw(given_parts))))
        asked = draw(calls())
        parts: list[Part] = [*draw(said_parts), *asked]
        messages.append(Message("assistant", tuple(parts)))
        results = [
            ToolResultPart(call.call_id, tuple(draw(given_parts)), draw(st.booleans()))
            for call in asked
        ]
        if results:
            messages.append(Message.tool(*results))
    return [*messages, Message.user("End")]


settings_given = st.builds(
    Settings,
    temperature=st.none() | st.floats(0, 1),
    top_k=st.none() | st.integers(1, 100),
    stop=st.none() | st.just(("END",)),
    reasoning_effort=st.sampled_from([None, "low", "max"]),
    reasoning_budget=st.sampled_from([None, 0, 1024, 50_000]),
    show_reasoning=st.sampled_from([None, True, False]),
    service_tier=st.sampled_from([None, "auto"]),
    prompt_cache=st.sampled_from([None, "5m", "1h"]),
    tool_choice=st.sampled_from([None, "auto", "none", "required", "f"]),
    parallel_tool_calls=st.sampled_from([None, True, False]),
)
TOOL = ToolDefinition("f", "", msgspec.Raw(b'{"type":"object","properties":{}}'))
SHAPES = [
    None,
    OutputSchema("a", msgspec.Raw(b'{"type":"object","properties":{"a":{"type":"string"}}}')),
    OutputSchema("b", msgspec.Raw(b'{"type":"object","additionalProperties":{"type":"string"}}')),
]
prompts = st.builds(
    Prompt,
    st.just(ORIGIN.model),
    st.none() | words,
    st.sampled_from([(), (TOOL,)]),
    settings_given,
    st.sampled_from(SHAPES),
    st.booleans(),
)


@settings(max_examples=200, deadline=None)
@given(conversations(), prompts)
def test_every_body_is_one_that_the_vendor_takes(messages: list[Message], prompt: Prompt) -> None:
    """Whatever was said, by whom, and how the answer is to be."""
    check_body(body_of(PROVIDER, messages, prompt))
