import enum
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent import Message, ToolCallPart, ToolResultPart
from agent.engine.errors import InvalidPrompt
from agent.eventstore.errors import InvalidEvent
from agent.eventstore.messages import FilePart, ImagePart, ReasoningPart, TextPart
from agent.projections.pairing import PairingError
from agent.stores import SQLiteStore
from tests.engine.given import agent_of, kinds, shown

HI = Message.user("Hi")


def calls(*call_ids: str) -> Message:
    """A model's message with these calls."""
    return Message.assistant(*(ToolCallPart(call_id, "t", "{}") for call_id in call_ids))


def results(*call_ids: str) -> Message:
    """A message with these results."""
    return Message.tool(*(ToolResultPart(c, (TextPart("3"),)) for c in call_ids))


def message(role: Any, parts: Any) -> Message:
    """A message made past the constructors."""
    return Message(role, parts)


class Shout(str):
    __slots__ = ()


class Colour(enum.StrEnum):
    RED = "red"


# Prompts


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        (None, "not of type NoneType"),
        (b"x", "not of type bytes"),
        (3, "not of type int"),
        ({"role": "user", "content": "x"}, "not of type dict"),
        ((letter for letter in "ab"), "not of type generator"),
        (TextPart("x"), "not of type TextPart"),
        ([], "cannot be an empty list; give it text or parts"),
        (["x"], r"holds parts such as TextPart\(...\) .* not str"),
        ([HI], r"holds parts such as TextPart\(...\) .* not Message"),
        (range(3), "not int"),
        (Message.assistant("x"), "begins with a user's message, not one of role 'assistant'"),
        (Message.tool(), "begins with a user's message, not one of role 'tool'"),
        (message("system", (TextPart("x"),)), r"a system prompt goes into agent.session\(system"),
        (Message.user(), "needs at least one part"),
        (message("user", (3,)), "role 'user' cannot hold int"),
        (message("user", [TextPart("x")]), r"Message.user\(\*parts\) makes one"),
        ([ToolCallPart("x", "t", "{}")], "role 'user' cannot hold ToolCallPart"),
        ([ToolResultPart("x", ())], "role 'user' cannot hold ToolResultPart"),
    ],
)
def test_invalid_prompts(prompt: Any, words: str):
    """What is no user's prompt is refused before anything is recorded, and the error says why."""
    session = agent_of("Hello").session()
    with pytest.raises(InvalidPrompt, match=words):
        session.run(prompt)

    assert (session.version, session.run("Hi").text) == (0, "Hello")


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("Hi", HI),
        ("", Message.user("")),
        ("a\0b", Message.user("a\0b")),
        (Shout("Hi"), HI),
        (Colour.RED, Message.user("red")),
        (HI, HI),
        ([TextPart("Hi")], HI),
        (
            (TextPart("See"), ImagePart.from_url("http://x")),
            Message.user("See", ImagePart.from_url("http://x")),
        ),
    ],
)
def test_prompts(prompt: Any, expected: Message):
    """A prompt is text, also empty, a user's message, or its parts."""
    session = agent_of("Hello").session()
    session.run(prompt)

    assert session.messages[0] == expected
    assert all(type(p.text) is str for p in session.messages[0].parts if isinstance(p, TextPart))


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        (
            "a\ud800",
            r"turn.started: \$.input.parts\[0\].text: lone surrogate at 1, .* replace it first",
        ),
        ([TextPart("\udfff")], "lone surrogate at 0"),
        ([TextPart(3)], "Expected `str`, got `int`"),  # pyright: ignore[reportArgumentType]
        ([ImagePart("x.png")], r"\$.input.parts\[0\].source: Expected `object`, got `str`"),  # pyright: ignore[reportArgumentType]
    ],
)
def test_prompts_that_no_log_can_keep(prompt: Any, words: str):
    """The place of what cannot be stored is named; nothing is recorded and the session goes on."""
    session = agent_of("Hello").session()
    with pytest.raises(InvalidEvent, match=words):
        session.run(prompt)

    assert (session.version, session.run("Hi").text) == (0, "Hello")


def test_a_prompt_of_50_mb(tmp_path: Path):
    """A very long prompt is kept as it is, and sent."""
    prompt = "0123456789" * 5_000_000
    with SQLiteStore(tmp_path / "sessions.db", durability="os") as store:
        session = agent_of("Hello", store=store).session("s")
        assert session.run(prompt).text == "Hello"
        assert agent_of(store=store).session("s").messages[0].text == prompt


@pytest.mark.parametrize("data", ["cat.png", 3, None])
@pytest.mark.parametrize("make", [ImagePart.from_bytes, FilePart.from_bytes])
def test_attachments_are_bytes(make: Callable[..., object], data: Any):
    """A path is no attachment; the error says how to read the file."""
    with pytest.raises(TypeError, match=rf"not {type(data).__name__}; Path\(...\).read_bytes\(\)"):
        make(data, "image/png")


# History


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("Hi", r"Message.user\(...\).* not str"),
        ({"role": "user", "content": "Hi"}, "not dict"),
        (None, "not NoneType"),
        ([HI], "not list"),
        (message("system", (TextPart("x"),)), r"agent.session\(system=...\)"),
        (message(["user"], ()), "has the role 'user', 'assistant' or 'tool'"),
        (message("user", "Hi"), "makes one"),
        (message("user", (3,)), "cannot hold int"),
        (Message.user(), "needs at least one part"),
        (Message.tool(), "needs at least one part"),
        (message("tool", (TextPart("x"),)), "role 'tool' cannot hold TextPart"),
        (Message.user(ReasoningPart("x")), "role 'user' cannot hold ReasoningPart"),
        (Message.assistant(ToolResultPart("x", ())), "cannot hold ToolResultPart"),
        (calls(""), "needs a call_id and a name"),
        (Message.assistant(ToolCallPart("x", "", "{}")), "needs a call_id and a name"),
        (results(""), "its result the same id"),
    ],
)
def test_what_is_no_message(wrong: Any, words: str):
    """No history can hold it: neither a new session nor one that goes on."""
    session = agent_of("Hello").session()
    with pytest.raises(InvalidPrompt, match=words):
        agent_of().session(messages=[HI, wrong])
    with pytest.raises(InvalidPrompt, match=words):
        session.add_message(wrong)

    assert (session.version, session.run("Hi").text) == (0, "Hello")


@pytest.mark.parametrize(
    "wrong",
    [
        Message.user("\ud800"),
        Message.user(TextPart(3)),  # pyright: ignore[reportArgumentType]
        Message.assistant(ToolCallPart("x", "t", {"a": 1})),  # pyright: ignore[reportArgumentType]
    ],
)
def test_messages_that_no_log_can_keep(wrong: Message):
    """They are refused when they are given, not when the session is first used."""
    session = agent_of("Hello").session()
    with pytest.raises(InvalidEvent, match=r"message.added: \$.message.parts\[0\]"):
        agent_of().session(messages=[wrong])
    with pytest.raises(InvalidEvent, match=r"message.added: \$.message.parts\[0\]"):
        session.add_message(wrong)

    assert session.run("Hi").text == "Hello"


@pytest.mark.parametrize("wrong", [HI, None, 3])
def test_histories_are_lists(wrong: Any):
    """A single message, or what holds none, is refused by its type."""
    with pytest.raises(InvalidPrompt, match=f"a list of messages, not {type(wrong).__name__}"):
        agent_of().session(messages=wrong)


def test_history_from_a_generator():
    """Messages that can be read only once are all there."""
    messages: Any = (Message.user(letter) for letter in "ab")

    assert shown(agent_of().session(messages=messages)) == ["a", "b"]


@pytest.mark.parametrize(
    ("before", "wrong", "call_id", "words"),
    [
        ([HI], results("x"), "x", "does not make this call"),
        ([HI, calls("x"), results("x")], results("x"), "x", "does not make this call"),
        ([HI, calls("x")], results("x", "x"), "x", "has several results"),
        ([HI, calls("x", "y")], results("x"), "y", "with the results of all calls"),
        ([HI, calls("x")], HI, "x", "has no result; the next message must be Message.tool"),
        ([HI], calls("x", "x"), "x", "give each call its own id"),
    ],
)
def test_histories_that_do_not_pair(
    before: list[Message], wrong: Message, call_id: str, words: str
):
    """Calls and results that do not match are refused before they are in the log.

    The session is as before, so what was meant can still be added.
    """
    with pytest.raises(PairingError, match=words):
        agent_of().session(messages=[*before, wrong])
    session = agent_of().session()
    for each in before:
        session.add_message(each)
    with pytest.raises(PairingError, match=words) as raised:
        session.add_message(wrong)

    assert raised.value.call_id == call_id
    assert session.messages == before


@pytest.mark.parametrize("given", [True, False])
def test_a_call_that_waits_for_its_result(given: bool):
    """A turn cannot begin before the results are there; once they are added, it can."""
    session = agent_of("Three.").session(messages=[HI, calls("x")] if given else [])
    if not given:
        session.add_message(HI)
        session.add_message(calls("x"))
    with pytest.raises(PairingError, match="tool call 'x' has no result; the next message must be"):
        session.run("Well?")
    session.add_message(results("x"))

    assert session.run("Well?").text == "Three."
    assert "turn.failed" not in kinds(session)


def test_a_call_that_gets_no_result():
    """Clearing the history leaves an unanswered call behind."""
    session = agent_of("Hello").session(messages=[HI, calls("x")])
    session.clear()

    assert session.run("Hi").text == "Hello"


def test_results_after_a_clear():
    """What is no longer visible is not waited for, and cannot be answered."""
    session = agent_of().session(messages=[HI, calls("x")])
    session.clear()
    with pytest.raises(PairingError):
        session.add_message(results("x"))
