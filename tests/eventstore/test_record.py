import pytest

from agent.eventstore.chain import GENESIS
from agent.eventstore.codec import CODEC
from agent.eventstore.conformance.facts import said, started
from agent.eventstore.errors import CorruptLog, InvalidEvent, UnknownEvent
from agent.eventstore.events import MessageAdded, SystemChanged
from agent.eventstore.messages import Message
from agent.eventstore.record import Head, Prepared, Recorded, prepare, record

EVENT = MessageAdded(message=Message.user("hello"))


def recorded(tag: str, payload: bytes, *, schema: int = 1) -> Recorded:
    """An event as it was read, at version 7."""
    return Recorded(
        tag, schema, 0, 1, b"salt", payload, stream="a", version=7, hash=bytes(32), position=70
    )


def test_prepared_is_fixed():
    """Preparing fixes the bytes, the time and the salt of an event."""
    expected = Prepared("message.added", 1, 5, 1, b"salt", CODEC.encode(EVENT))

    assert expected == prepare(EVENT, recorded_at=5, salt=b"salt")


def test_prepared_knows_its_event():
    """A prepared event is not decoded again; one that was read is decoded once."""
    fact = prepare(EVENT, recorded_at=5, salt=b"salt")
    read = Prepared("message.added", 1, 5, 1, b"salt", fact.payload)

    assert fact.event is EVENT
    assert read.event == EVENT
    assert read.event is read.event


def test_preparing_refuses_what_cannot_be_stored():
    """An event that would lose something is refused before anything is recorded."""
    with pytest.raises(InvalidEvent):
        prepare(SystemChanged(system="\ud800"), recorded_at=0, salt=b"")


def test_recording_chains():
    """Recorded events have consecutive versions, and each hash covers the one before."""
    first, second = record([started("a"), said("x")], stream="a", after=None)

    assert (1, started("a").hash_after(GENESIS, 1)) == (first.version, first.hash)
    assert (2, said("x").hash_after(first.hash, 2)) == (second.version, second.hash)
    assert ("a", None, Head(2, second.hash)) == (second.stream, second.position, second.head)


def test_recording_goes_on():
    """Recording in two steps is recording in one."""
    facts = [started("a"), said("x"), said("y")]
    whole = record(facts, stream="a", after=None)

    head = record(facts[:1], stream="a", after=None)[-1].head

    assert whole[1:] == record(facts[1:], stream="a", after=head)


def test_recording_does_not_depend_on_the_name():
    """The name of a stream is no part of the hash: an export verifies under any."""
    a, b = (record([started("a"), said("x")], stream=name, after=None) for name in "ab")

    assert [fact.hash for fact in a] == [fact.hash for fact in b]


def test_recording_keeps_the_event():
    """What was prepared is not decoded again."""
    (fact,) = record([prepare(EVENT, recorded_at=0, salt=b"")], stream="a", after=Head(1, GENESIS))

    assert fact.event is EVENT


def test_recorded_again_is_the_same():
    """Recorded events can be recorded elsewhere, as an import does."""
    facts = record([started("a"), said("x")], stream="a", after=None)

    assert [f.hash for f in facts] == [f.hash for f in record(facts, stream="b", after=None)]


def test_position_is_told_later():
    """An event keeps all but its position when the log tells that."""
    (fact,) = record([prepare(EVENT, recorded_at=0, salt=b"")], stream="a", after=Head(1, GENESIS))

    placed = fact.at_position(9)

    assert (fact.position, placed.position) == (None, 9)
    assert (fact.hash, fact.version, fact.stream) == (placed.hash, placed.version, placed.stream)
    assert placed.event is EVENT


@pytest.mark.parametrize(
    ("tag", "schema", "known"), [("a.later", 1, None), ("message.added", 2, 1)]
)
def test_unknown_event_names_its_place(tag: str, schema: int, known: int | None):
    """An event of a later release says which one, and where it stands."""
    with pytest.raises(UnknownEvent) as caught:
        _ = recorded(tag, b"{}", schema=schema).event

    error = caught.value
    assert (tag, schema, known, 7) == (error.type, error.schema, error.known, error.version)


@pytest.mark.parametrize(
    ("tag", "payload", "schema"),
    [
        ("system.changed", b'{"type":"system.changed","system":"\xff"}', 1),
        ("metadata.changed", b'{"metadata":' + b"[" * 10_000 + b"]" * 10_000 + b"}", 1),
        ("metadata.changed", b'{"type":"metadata.changed"}', 1),
        ("metadata.changed", b"", 1),
        ("history.cleared", b'{"type":"history.cleared"}', 0),
    ],
    ids=["no UTF-8", "nested", "incomplete", "empty", "schema 0"],
)
def test_unreadable_event_names_its_place(tag: str, payload: bytes, schema: int):
    """Bytes that do not decode, in whichever way, are a corrupt log at that version."""
    with pytest.raises(CorruptLog, match="does not decode") as caught:
        _ = recorded(tag, payload, schema=schema).event

    assert (caught.value.stream, caught.value.version) == ("a", 7)
