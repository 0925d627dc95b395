from typing import get_args

import msgspec
import pytest

from agent.eventstore import core
from agent.eventstore.chain import TYPE_BYTES
from agent.eventstore.events import (
    EVENTS,
    Event,
    HistoryCleared,
    MessageAdded,
    ModelFailed,
    ToolReturned,
    TurnCompleted,
    attachments_of,
    parts_of,
)
from agent.eventstore.messages import Blob, FilePart, ImagePart, Message, TextPart, ToolResultPart
from agent.eventstore.values import Failure
from tests.eventstore.samples import BLOB, SAMPLES


def test_every_event_has_its_own_tag():
    """The union is closed: each class of it is known by one dotted tag."""
    assert len(EVENTS) == len(get_args(Event))
    assert [tag for tag in EVENTS if tag.count(".") != 1 or tag != tag.lower()] == []


def test_tags_fit_the_hash_chain():
    """Every tag fits the fixed header of the chain."""
    assert [tag for tag in EVENTS if len(tag.encode()) > TYPE_BYTES] == []


@pytest.mark.parametrize("tag", EVENTS)
def test_event_is_frozen(tag: str):
    """An event tells its type, and is never changed."""
    event = SAMPLES[tag, 1]

    assert event.type == tag
    for field in event.__struct_fields__:
        with pytest.raises(AttributeError):
            setattr(event, field, None)


def test_every_event_is_described():
    """Each class of event says in its docstring what it means."""
    assert [tag for tag, cls in EVENTS.items() if not cls.__doc__] == []


def test_fields_are_given_by_name():
    """The fields of an event have no order: they are given by name only."""
    positional = [tag for tag, cls in EVENTS.items() if cls.__match_args__]

    assert positional == []


def test_identity_types_are_events():
    """What a listing reads of each stream are types of events."""
    assert set(core.IDENTITY_TYPES) <= set(EVENTS)


def test_parts_are_found_in_every_event():
    """No event carries a message or content without telling its parts."""
    speaking = {
        tag for (tag, _), event in SAMPLES.items() if b'"text"' in msgspec.json.encode(event)
    }

    assert speaking == {tag for (tag, _), event in SAMPLES.items() if parts_of(event)}


def test_attachments_are_named_once():
    """The attachments of an event are told once each, those inside of results included."""
    one, two = Blob.of(b"1"), Blob.of(b"2")
    image, file = ImagePart(one), FilePart(two, "text/plain")
    message = Message.user(image, file, image, ToolResultPart("c", (TextPart("x"), file)))

    assert attachments_of(MessageAdded(message=message)) == (one, two)


def test_attachments_are_found_in_every_event():
    """No event carries an attachment without telling it."""
    naming = {tag for (tag, _), event in SAMPLES.items() if b'"blob"' in msgspec.json.encode(event)}

    assert naming == {tag for (tag, _), event in SAMPLES.items() if attachments_of(event)}
    assert attachments_of(SAMPLES["turn.started", 1]) == (BLOB,)


def test_silent_events_have_no_parts():
    """An event without content has no parts; a failure without partial answer has none either."""
    failed = ModelFailed(error=Failure("E", "m"), elapsed=0.0)

    assert () == parts_of(failed) == parts_of(HistoryCleared()) == parts_of(TurnCompleted())
    assert (TextPart("x"),) == parts_of(ToolReturned(call_id="c", content=(TextPart("x"),)))
