"""The turn that a rerun takes again, and what cannot be said otherwise in it or before it."""

import os
from typing import Any

import pytest

from agent import Message
from agent.engine.errors import ConfigurationError
from agent.eventstore.errors import AgentError, InvalidEvent
from agent.eventstore.messages import ToolCallPart
from tests.engine.reruns import (
    by_hand,
    known,
    later,
    listed,
    untouched,
)

NOTHING = (
    "which holds nothing to replace; edit= takes versions of prompts, messages, answers, tool "
    "results and system prompts"
)
SYSTEM = "give another system prompt with system=, not with edit="
FOLLOW = "and their results follow it: give a message with the same calls"
ANEW = "the model gives it anew; rerun the next turn to put words in its mouth"
CALL = ToolCallPart("c2", "weather", "{}")
REFUSED: list[tuple[int | None, Any, str]] = [
    (None, {99: "x"}, "edit= names version 99; the turn that is taken again ends at 25"),
    (7, {23: "x"}, "edit= names version 23; the turn that is taken again ends at 21"),
    (None, {0: "x"}, "edit= names version 0; the turn that is taken again ends at 7"),
    (None, {"8": "x"}, "edit= takes versions, which are numbers, not '8'"),
    (None, {True: "x"}, "edit= takes versions, which are numbers, not True"),
    (None, ["x"], "edit= takes new content by version, {12: 'text'}, not list"),
    (None, None, "edit= takes new content by version, {12: 'text'}, not NoneType"),
    (None, {1: "x"}, SYSTEM),
    (None, {2: "x"}, SYSTEM),
    (
        None,
        {24: "x"},
        f"version 24 is an answer of the turn that is taken again: {ANEW}",
    ),
    (21, {7: "x"}, f"version 7 is 'turn.completed', {NOTHING}"),
    (None, {23: "x"}, f"version 23 is 'model.requested', {NOTHING}"),
    (
        None,
        {22: None},
        "a prompt is text, a user's Message, or a list of parts, not of type NoneType",
    ),
    (
        None,
        {22: Message.assistant("x")},
        "a turn begins with a user's message, not one of role 'assistant'",
    ),
    (21, {6: 7}, "edit= takes text or a message, not int"),
    (
        21,
        {6: Message.user("x")},
        "edit= replaces a message of role 'assistant' by one of the same, not by one of 'user'",
    ),
    (
        21,
        {10: "No calls"},
        f"version 10 is an answer whose tool calls have the ids call_10_0, call_10_1, {FOLLOW}",
    ),
    (
        21,
        {6: Message.assistant(CALL)},
        f"version 6 is an answer whose tool calls have the ids (none), {FOLLOW}",
    ),
]


@pytest.mark.parametrize(("at", "edit", "words"), REFUSED)
@pytest.mark.parametrize("dry_run", [False, True])
def test_refused_edits(at: int | None, edit: Any, words: str, dry_run: Any):
    """With words that say what to do; no fork is left behind."""
    session = later()
    facts = list(session.events())
    with pytest.raises(ConfigurationError) as caught:
        session.rerun(at, edit=edit, dry_run=dry_run)
    assert str(caught.value) == words
    assert listed(session) == ["s"]
    untouched(session, facts)


BROKEN: list[tuple[Any, str]] = [
    ({3: "No call"}, "tool call 'c1' has a result, but the message before does not make this call"),
    ({4: "rain"}, "a message of role 'tool' cannot hold TextPart"),
    ({5: Message.assistant(CALL)}, "tool call 'c2' has no result"),
    ({6: "\ud800"}, "lone surrogate"),
    ({5: "\ud800"}, "lone surrogate"),
]


@pytest.mark.parametrize(("edit", "words"), BROKEN)
def test_edits_that_no_history_can_hold(edit: Any, words: str):
    """As where messages are given by hand; no fork is left behind."""
    session = by_hand()
    with pytest.raises(AgentError) as caught:
        session.rerun(5, edit=edit)
    assert words in str(caught.value)
    assert listed(session) == ["s"]


@pytest.mark.parametrize("content", [os, b"x", "\ud800"])
def test_results_that_no_log_can_keep(content: object):
    """As from a tool; no fork is left behind."""
    session = known()
    with pytest.raises(InvalidEvent):
        session.rerun(edit={18: content})
    assert listed(session) == ["s"]


def test_an_edit_that_changes_nothing():
    """The same words again are no mistake."""
    rerun = later("Bye").rerun(21, edit={6: "Hi", 22: "Thanks"})
    assert (rerun.error, rerun.departure) == (None, None)


def test_the_prompt_of_a_failed_turn():
    """It never became a part of the history."""
    session = known(ValueError("no"), "Bye", until=7)
    with pytest.raises(ValueError, match="no"):
        session.run("Try")
    session.run("Thanks")
    with pytest.raises(ConfigurationError, match="version 8 is not in"):
        session.rerun(11, edit={8: "Other"})
