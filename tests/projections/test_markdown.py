import hashlib
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode

from agent.eventstore.events import (
    HistoryCleared,
    MessageAdded,
    MetadataChanged,
    SessionStarted,
    SystemChanged,
    ToolsDeclared,
)
from agent.eventstore.messages import (
    FilePart,
    ImagePart,
    Message,
    Opaque,
    OpaquePart,
    ReasoningPart,
    RefusalPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from agent.eventstore.rawjson import EMPTY_OBJECT, to_raw
from agent.eventstore.values import ToolDefinition, Usage
from agent.projections import session as projection
from agent.projections.fold import rebuild
from agent.projections.markdown import markdown
from agent.projections.session import SessionState
from agent.projections.usage import ModelUsage
from tests.projections.given import STARTED, begun, recorded, requested, responded
from tests.projections.test_quoting import nasty, structure

PIXEL = b"\x89PNG"
PARSER = MarkdownIt("commonmark").enable("table")
OURS = Opaque("openai", "responses", "m", EMPTY_OBJECT)
texts = nasty | st.text(max_size=30)
given_parts = st.builds(TextPart, texts) | st.builds(
    FilePart.from_bytes, st.binary(max_size=3), texts, texts
)
said_parts = (
    st.builds(TextPart, texts)
    | st.builds(RefusalPart, texts)
    | st.builds(ReasoningPart, texts)
    | st.builds(ToolCallPart, texts, texts, texts)
    | st.builds(ImagePart.from_url, texts)
    | st.builds(OpaquePart, st.builds(Opaque, texts, texts, texts, st.just(EMPTY_OBJECT)))
)
result_parts = st.builds(
    ToolResultPart, texts, st.lists(given_parts, max_size=2).map(tuple), st.booleans()
)
messages = st.one_of(
    st.lists(given_parts, max_size=3).map(lambda parts: Message("user", tuple(parts))),
    st.lists(said_parts, max_size=3).map(lambda parts: Message("assistant", tuple(parts))),
    st.lists(result_parts, max_size=2).map(lambda parts: Message("tool", tuple(parts))),
)


def free(calls: object) -> Decimal:
    """What model calls cost here."""
    del calls
    return Decimal(0)


def document(*events: object) -> str:
    """The document of a session with these events."""
    facts = recorded(*events)  # pyright: ignore[reportArgumentType] - events all
    return markdown(rebuild(projection.evolve, facts, SessionState()), facts, free)


def outline(text: str) -> list[str]:
    """The headings that a parser finds, without what stands in code."""
    headings: list[str] = []
    for node in SyntaxTreeNode(PARSER.parse(text)).walk():
        if node.type == "heading":
            inline = node.children[0].children
            plain = "".join("…" if one.type == "code_inline" else one.content for one in inline)
            headings.append(f"{node.markup} {plain}".replace("(empty)", "…"))
    return headings


def expected(message: Message, place: int) -> list[str]:
    """The headings of a message."""
    role = {"user": "User", "assistant": "Assistant", "tool": "Tools"}[message.role]
    parts = message.parts
    labelled = not all(isinstance(part, TextPart) for part in parts)
    labels = {
        TextPart: "### Text" if labelled else "",
        RefusalPart: "### Refusal",
        ReasoningPart: "### Reasoning",
        ToolCallPart: "### Call of …, …",
    }
    headings = [
        f"### {'Error' if part.is_error else 'Result'} of …, …"
        if isinstance(part, ToolResultPart)
        else labels.get(type(part), "")
        for part in parts
    ]
    return [f"## {place}. {role}", *filter(None, headings)]


@given(st.lists(messages, max_size=4), texts, texts, texts)
def test_recorded_text_forges_nothing(said: list[Message], name: str, title: str, system: str):
    """Whatever was said, a parser finds the headings of ours alone, and no HTML and no image."""
    tool = ToolDefinition(name, name, EMPTY_OBJECT)
    started = SessionStarted(
        session_id=name,
        system=system,
        library="0",
        metadata=to_raw({"title": title}, of="a test"),
    )
    declared = ToolsDeclared(tools=(tool,), digest="")
    text = document(started, declared, *(MessageAdded(message=message) for message in said))

    messages = [line for at, one in enumerate(said, 1) for line in expected(one, at)]
    assert outline(text) == ["# Session …", "## System prompt", *messages, "## Usage"]
    assert set(structure(text)) == {"heading"}


def test_a_whole_document():
    """Each message with its role, calls in code, results, attachments and what cannot be read."""
    call = ToolCallPart("call_1", "look", '{"at": "```"}')
    thought = ReasoningPart("Hm."), ReasoningPart("", OURS)
    shown = ImagePart.from_bytes(PIXEL)
    result = ToolResultPart("call_1", (TextPart("A cat."), shown))
    text = document(
        STARTED,
        MetadataChanged(metadata=to_raw({"title": "Cats"}, of="a test")),
        MessageAdded(message=Message.user("What is it?", FilePart.from_bytes(b"a", "text/x", "f"))),
        MessageAdded(message=Message.assistant(*thought, call)),
        MessageAdded(message=Message.tool(result)),
        MessageAdded(message=Message.assistant("# A cat", OpaquePart(OURS))),
    )

    start, _, rest = text.partition("- hash:")
    assert start == (
        "# Session `s`\n\n- title: `Cats`\n"
        "- recorded: 1970-01-01 00:00:00 UTC to 1970-01-01 00:00:00 UTC\n- version: 6\n"
    )
    assert rest.partition("\n\n")[2].split("\n\n") == [
        "## System prompt",
        "> Be brief.",
        "## 1. User",
        "### Text",
        "> What is it?",
        f"- file: `f`, `text/x`, 1 bytes, SHA-256 `{hashlib.sha256(b'a').hexdigest()}`",
        "## 2. Assistant",
        "### Reasoning",
        "> Hm.",
        "### Reasoning",
        "*Something that only `openai` can read.*",
        "### Call of `look`, `call_1`",
        '````json\n{"at": "```"}\n````',
        "## 3. Tools",
        "### Result of `look`, `call_1`",
        "> A cat.",
        f"- image: `image/png`, 4 bytes, SHA-256 `{hashlib.sha256(PIXEL).hexdigest()}`",
        "## 4. Assistant",
        "### Text",
        "```\n# A cat\n```",
        "*Something that only `openai` can read.*",
        "## Usage",
        "- in all: 0 model calls, 0 tokens in, 0 out, US$ 0.000000\n",
    ]


def test_what_was_cleared_is_not_in_it():
    """The document shows what the session shows."""
    added = [MessageAdded(message=Message.user(text)) for text in ("One", "Two")]
    text = document(STARTED, added[0], HistoryCleared(), added[1], SystemChanged(system=None))

    assert "One" not in text
    assert outline(text) == ["# Session …", "## 1. User", "## Usage"]


def test_an_open_turn_is_marked():
    """What is not finished is told apart from the history."""
    text = document(STARTED, MessageAdded(message=Message.user("One")), begun("Two"))

    marked = "**From here on the turn that began at version 3 is not finished.**"
    assert text.split("\n\n")[5:8] == ["> One", marked, "## 2. User"]


@pytest.mark.parametrize(
    ("cost", "words"), [(None, "cost unknown"), (Decimal("0.0123"), "US$ 0.012300")]
)
def test_usage_and_cost(cost: Decimal | None, words: str):
    """The end says what each model was asked and what it took."""
    used = Usage(1200, 34)
    asked = msgspec.structs.replace(requested(), provider="openai", model="m")
    answer = msgspec.structs.replace(responded("Hi", usage=used), model="m-1")
    facts = recorded(STARTED, begun(), asked, answer)
    seen: list[list[ModelUsage]] = []

    def priced(calls: object) -> Decimal | None:
        seen.append(list(calls))  # pyright: ignore[reportArgumentType] - an iterable
        return cost

    text = markdown(rebuild(projection.evolve, facts, SessionState()), facts, priced)

    took = f"1 model call, 1,200 tokens in, 34 out, {words}"
    assert text.rsplit("\n\n", 1)[1] == f"- `m-1` of `openai`: {took}\n- in all: {took}\n"
    assert seen == [[ModelUsage("openai", "m-1", used)]] * 2
