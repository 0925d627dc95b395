"""What is left of each kind of event once it is erased, and that it is all."""

import hashlib
from typing import Any

import msgspec
import pytest

from agent.eventstore import events as e
from agent.eventstore.codec import CODEC
from agent.eventstore.messages import Message, Part, TextPart, ToolCallPart, ToolResultPart
from agent.eventstore.rawjson import EMPTY_OBJECT
from agent.eventstore.record import Recorded, prepare, record
from agent.eventstore.residue import ERASED, Residues, residue_of
from agent.eventstore.values import Erasure
from tests.eventstore.exports import erased
from tests.eventstore.samples import SAMPLES

KEPT = {
    "session.forked",
    "session.deleted",
    "history.cleared",
    "history.rewound",
    "turn.resumed",
    "model.requested",
    "tool.called",
    "approval.requested",
    "approval.granted",
    "turn.completed",
    "payload.erased",
}
"""Types that hold nobody's words."""

NAMES = {
    *("type", "role", "call_id", "provider_id", "session_id", "library", "kind", "how", "tool"),
    *("name", "finish_reason", "raw_finish_reason", "model", "completed_calls", "digest", "host"),
    *("reasoning_effort", "verbosity", "service_tier", "prompt_cache", "tool_choice", "own"),
    *("error", "code", "arguments", "parameters", "schema"),
}
"""Fields of text that are nobody's words: ids, names, what happened."""

samples = pytest.mark.parametrize("event", SAMPLES.values(), ids=lambda event: event.type)


def texts(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Every text in plain data, with the name of its field."""
    match value:
        case str():
            return [(name, value)]
        case dict():
            return [found for key, one in value.items() for found in texts(one, key)]
        case list():
            return [found for one in value for found in texts(one, name)]
        case _:
            return []


@samples
def test_no_words_are_left(event: e.Event):
    """Every text that is left is an id, a name or an outcome."""
    left = residue_of(event)
    if event.type in KEPT:
        assert left == event
        return
    found = texts(msgspec.json.decode(CODEC.encode(left)))
    said = [one for one in found if one[0] not in NAMES and one[1] not in ("", ERASED)]
    assert said == []
    assert {text for name, text in found if name == "arguments"} <= {"{}"}
    assert left != event or event == e.SystemChanged(system=None)


@samples
def test_the_residue_of_a_residue_is_itself(event: e.Event):
    """So nobody can hide a text in one: it would not be its own residue."""
    left = residue_of(event)
    assert residue_of(left) == left
    assert CODEC.decode(left.type, left.schema, CODEC.encode(left)) == left


def test_parts_keep_their_places():
    """Calls are named after their place, and each part before them counts."""
    (asked,) = (s for s in SAMPLES.values() if isinstance(s, e.ModelResponded))
    left = residue_of(asked)
    assert isinstance(left, e.ModelResponded)
    assert len(left.message.parts) == len(asked.message.parts)
    calls = [(part.call_id, part.name, part.provider_id) for part in asked.message.tool_calls]
    assert [(p.call_id, p.name, p.provider_id) for p in left.message.tool_calls] == calls


@pytest.mark.parametrize(
    ("parts", "left"),
    [
        ((TextPart("a"), TextPart("b")), (TextPart(ERASED), TextPart(ERASED))),
        (
            (ToolCallPart("c", "add", '{"a": 1}', "p"),),
            (ToolCallPart("c", "add", "{}", "p"),),
        ),
        (
            (ToolResultPart("c", (TextPart("1"), TextPart("2")), is_error=True),),
            (ToolResultPart("c", (TextPart(ERASED), TextPart(ERASED)), is_error=True),),
        ),
    ],
)
def test_a_message_keeps_its_form(parts: tuple[Part, ...], left: tuple[Part, ...]):
    """As many parts, of kinds that every model takes."""
    event = e.MessageAdded(message=Message("user", parts))
    assert residue_of(event) == e.MessageAdded(message=Message("user", left))


def test_tools_are_declared_anew_after_it():
    """What is left of tools has another digest, so whoever goes on declares his own."""
    (declared,) = (s for s in SAMPLES.values() if isinstance(s, e.ToolsDeclared))
    left = residue_of(declared)
    assert isinstance(left, e.ToolsDeclared)
    assert [tool.name for tool in left.tools] == [tool.name for tool in declared.tools]
    assert {(tool.description, bytes(tool.parameters)) for tool in left.tools} == {
        ("", bytes(EMPTY_OBJECT))
    }
    assert left.digest != declared.digest


# Holding them against the events that speak of them


def chained(*events: e.Event) -> list[Recorded]:
    """Events of one stream."""
    prepared = [prepare(event, recorded_at=0, salt=bytes(16)) for event in events]
    return record(prepared, stream="a", after=None)


def said(text: str) -> e.MessageAdded:
    """A message."""
    return e.MessageAdded(message=Message.user(text))


STARTED = e.SessionStarted(session_id="a", library="0")


def named(fact: Recorded) -> e.PayloadErased:
    """The event that tells of an erased one."""
    digest = hashlib.sha256(fact.payload).hexdigest()
    return e.PayloadErased(erased=(Erasure(fact.version, fact.hash.hex(), digest),))


def complaints(facts: list[Recorded]) -> list[tuple[int, str]]:
    """What is found wrong, and where."""
    residues = Residues()
    return [(fact.version, words) for one in facts for fact, words in residues.see(one)]


def test_what_is_left_as_it_was_said_is_right():
    """Nothing to complain of, and nobody is missing."""
    first = erased(chained(STARTED, said("x"))[1])
    facts = chained(STARTED, said("x"), named(first))
    residues = Residues()
    assert complaints([facts[0], first, facts[2]]) == []
    for fact in (facts[0], first, facts[2]):
        assert list(residues.see(fact)) == []
    assert residues.unwitnessed == 0


def test_what_was_altered_since_is_found():
    """The place is that of the erased event."""
    first = erased(chained(STARTED, said("x"))[1])
    facts = chained(STARTED, said("x"), named(first))
    forged = msgspec.structs.replace(first, payload=first.payload + b" ")
    assert complaints([facts[0], forged, facts[2]]) == [
        (2, "what is left of the erased event has been altered")
    ]


def test_what_was_not_erased_is_found():
    """An event that says that it was, while the text is still there."""
    first = erased(chained(STARTED, said("x"))[1])
    facts = chained(STARTED, said("x"), named(first))
    assert complaints(facts) == [(3, "version 2 was to be erased, and is still there")]


def test_what_nobody_speaks_of_is_counted():
    """An erased event without one that says so."""
    facts = chained(STARTED, said("x"))
    residues = Residues()
    for fact in (facts[0], erased(facts[1])):
        assert list(residues.see(fact)) == []
    assert residues.unwitnessed == 1
