"""A record with some of its words replaced."""

from typing import Any

import pytest

from agent import ImagePart, Message, Session, TextPart
from agent.engine.edits import edited, edits_of
from agent.engine.scripted import Call
from agent.errors import ConfigurationError, InvalidEvent, InvalidPrompt
from agent.eventstore.core import verified
from agent.eventstore.events import ModelResponded, ToolReturned
from agent.eventstore.messages import ToolCallPart
from agent.stores import MemoryStore
from tests.engine.crashes import left, opened
from tests.engine.given import add, agent_of, fail

SUM = Call("add", {"a": 1, "b": 2}, id="theirs")


@pytest.fixture
def session() -> Session:
    """Nine events and a message by hand: a turn with a tool, and another system prompt."""
    agent = agent_of(SUM, "Three", tools=[add])
    session = agent.session("s", system="Be brief.")
    session.run("1 + 2?")
    session.add_message(Message.assistant("By hand"))
    return session


def changed(session: Session, edit: dict[int, Any]) -> dict[int, Any]:
    """The events that are others, by their versions; the chain of all verifies."""
    facts = list(session.events())
    made = list(verified(edited(facts, edit), stream="s"))
    assert [(f.version, f.type) for f in made] == [(f.version, f.type) for f in facts]
    return {
        new.version: new.event
        for old, new in zip(facts, made, strict=True)
        if new.event != old.event
    }


def test_where_everything_lies(session: Session) -> None:
    """What the tests below take for granted."""
    assert [fact.type for fact in session.events()] == [
        *("session.started", "tools.declared", "turn.started", "model.requested"),
        *("model.responded", "tool.called", "tool.returned", "model.requested"),
        *("model.responded", "turn.completed", "message.added"),
    ]


@pytest.mark.parametrize(
    ("version", "content", "expected"),
    [
        (3, "Other", Message.user("Other")),
        (3, Message.user("Other"), Message.user("Other")),
        (3, [TextPart("Other")], Message.user("Other")),
        (9, "Other", Message.assistant("Other")),
        (9, Message.assistant("Other"), Message.assistant("Other")),
        (11, "Other", Message.assistant("Other")),
    ],
)
def test_messages(session: Session, version: int, content: Any, expected: Message) -> None:
    """A prompt, an answer or a message by hand says something else, and nothing else changes."""
    (found,) = changed(session, {version: content}).items()
    event = found[1]
    assert found[0] == version
    assert (event.input if version == 3 else event.message) == expected


def test_results(session: Session) -> None:
    """A tool's result is given as the tool would have returned it."""
    (event,) = changed(session, {7: {"sum": 4}}).values()
    assert (event.content, event.is_error) == ((TextPart('{"sum":4}'),), False)
    image = ImagePart.from_bytes(b"\x89PNG")
    (event,) = changed(session, {7: [image]}).values()
    assert event.content == (image,)


def test_an_error_becomes_a_result() -> None:
    """A tool that failed has not, if its result is replaced."""
    session = agent_of(Call("fail"), "Oh", tools=[fail]).session("s")
    session.run("Try")
    (was,) = [f.event for f in session.events() if isinstance(f.event, ToolReturned)]
    assert was.is_error
    (event,) = changed(session, {7: "Fine"}).values()
    assert (event.content, event.is_error) == ((TextPart("Fine"),), False)


def test_a_result_that_a_person_gave() -> None:
    """It is replaced like that of a tool, also where the person said that the call had failed."""
    session = opened(left("pay"))
    (call,) = session.unfinished_turn.calls  # pyright: ignore[reportOptionalMemberAccess]
    session.resolve(call.call_id, failed="never paid")
    (version,) = [fact.version for fact in session.events() if fact.type == "tool.resolved"]
    (event,) = changed(session, {version: "paid"}).values()
    assert (event.how, event.content) == ("result", (TextPart("paid"),))


def test_a_retry_holds_nothing() -> None:
    """A decision to run a tool again is no result."""
    session = opened(left("pay"))
    (call,) = session.unfinished_turn.calls  # pyright: ignore[reportOptionalMemberAccess]
    session.resolve(call.call_id, retry=True)
    (version,) = [fact.version for fact in session.events() if fact.type == "tool.resolved"]
    with pytest.raises(ConfigurationError, match=r"is 'tool\.resolved', which holds nothing"):
        edited(list(session.events()), {version: "paid"})


@pytest.mark.parametrize(
    ("given", "provider_id"),
    [
        (ToolCallPart("call_5_0", "add", "{}"), "theirs"),
        (ToolCallPart("mine", "add", "{}"), "mine"),
        (ToolCallPart("mine", "add", "{}", "known"), "known"),
    ],
)
def test_calls_of_an_answer(session: Session, given: ToolCallPart, provider_id: str) -> None:
    """They have the names that the engine gives to the calls of this version."""
    (event,) = changed(session, {5: Message.assistant("So:", given)}).values()
    assert event.message.parts == (
        TextPart("So:"),
        ToolCallPart("call_5_1", "add", "{}", provider_id),
    )


@pytest.mark.parametrize(("given", "expected"), [("Other", "Other"), (None, None), ("", None)])
def test_the_system_prompt(session: Session, given: str | None, expected: str | None) -> None:
    """From the beginning, whatever it was and however often it was changed."""
    facts = list(session.events())
    assert edits_of(facts, {"system": given}) == {1: expected}
    (event,) = changed(session, edits_of(facts, {"system": given})).values()
    assert event.system == expected


def test_every_system_prompt_is_replaced() -> None:
    """One that was changed in between is the same from the beginning too."""
    store = MemoryStore()
    agent_of("a", store=store).session("s", system="One").run("1")
    session = agent_of("b", store=store).session("s", system="Two")
    session.run("2")
    facts = list(session.events())
    found = edits_of(facts, {"edit": {1: "Mine", 2: "Prompt"}, "system": "Three"})
    assert found == {1: "Mine", 6: "Three", 2: "Prompt"}


def test_nothing_to_replace(session: Session) -> None:
    """Without edits the events are those of the record."""
    facts = list(session.events())
    assert edits_of(facts, {}) == {}
    assert all(new is old for new, old in zip(edited(facts, {}), facts, strict=True))
    assert edited([], {}) == []


def test_events_before_stay_the_same(session: Session) -> None:
    """Their hashes too; those after it have others."""
    facts = list(session.events())
    made = edited(facts, {9: "Other"})
    assert [new.hash == old.hash for new, old in zip(made, facts, strict=True)] == [
        *[True] * 8,
        *[False] * 3,
    ]
    assert isinstance(made[8].event, ModelResponded)


@pytest.mark.parametrize(
    ("edit", "error", "words"),
    [
        ({99: "x"}, ConfigurationError, "edit= names version 99; the session has versions 1 to 11"),
        ({0: "x"}, ConfigurationError, "edit= names version 0; the session has versions 1 to 11"),
        ({"3": "x"}, ConfigurationError, "edit= names version '3'; the session has"),
        ({None: "x"}, ConfigurationError, "edit= names version None; the session has"),
        ({4: "x"}, ConfigurationError, "version 4 is 'model.requested', which holds nothing to"),
        ({6: "x"}, ConfigurationError, "version 6 is 'tool.called', which holds nothing to"),
        ({10: "x"}, ConfigurationError, "version 10 is 'turn.completed', which holds nothing to"),
        ({1: 3}, ConfigurationError, "a system prompt is text, not int"),
        ({3: 3}, InvalidPrompt, "a prompt is text, a user's Message, or a list of parts, not of"),
        ({3: None}, InvalidPrompt, "a prompt is text"),
        ({3: Message.assistant("x")}, InvalidPrompt, "a turn begins with a user's message"),
        ({9: 3}, ConfigurationError, "edit= takes text or a message, not int"),
        ({9: Message.user("x")}, ConfigurationError, "of role 'assistant' by one of the same, not"),
        ({3: "\ud800"}, InvalidEvent, "lone surrogate"),
        ({9: "\ud800"}, InvalidEvent, "lone surrogate"),
        ({1: "\ud800"}, InvalidEvent, "lone surrogate"),
    ],
)
def test_what_cannot_be_replaced(
    session: Session, edit: Any, error: type[Exception], words: str
) -> None:
    """It is refused, and the error says what would do."""
    with pytest.raises(error, match=words):
        edited(list(session.events()), edit)


@pytest.mark.parametrize("edit", [[1], "x", 5])
def test_what_is_no_edit(edit: Any) -> None:
    """Contents come by their versions."""
    words = f"edit= takes {{version: content}}, not {type(edit).__name__}"
    with pytest.raises(ConfigurationError, match=words):
        edits_of([], {"edit": edit})


def test_a_system_prompt_that_is_none() -> None:
    """It is refused whatever the session has."""
    with pytest.raises(ConfigurationError, match="a system prompt is text, not int"):
        edits_of([], {"system": 3})  # pyright: ignore[reportArgumentType]
