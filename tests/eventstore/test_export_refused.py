import base64
import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.eventstore import core
from agent.eventstore.backends.memory import MemoryLog
from agent.eventstore.conformance.facts import (
    deleted,
    forked,
    said,
    started,
)
from agent.eventstore.errors import InvalidExport, UnknownEvent
from agent.eventstore.export import export_events, parse_export
from agent.eventstore.record import Prepared, record
from tests.eventstore.exports import DIGEST, Data, exported, sample, source

NESTED = b"[" * 10_000 + b"]" * 10_000


def refusal(data: Data) -> InvalidExport:
    """How an export is refused."""
    with pytest.raises(InvalidExport) as caught:
        parse_export(data)
    return caught.value


# What is no export


@pytest.mark.parametrize(
    "change",
    [
        {"format": "other"},
        {"format": None},
        {"format_version": 2},
        {"format_version": "1"},
        {"format_version": True},
        {"session_id": "b"},
        {"session_id": None},
        {"version": 3},
        {"version": 5},
        {"version": "4"},
        {"hash": "00" * 32},
        {"hash": ""},
        {"library": None},
        {"events": []},
        {"events": None},
        {"events": {}},
        {"events": [None]},
        {"attachments": None},
        {"attachments": {}},
        {"attachments": {DIGEST: None}},
        {"colour": "red"},
    ],
    ids=repr,
)
def test_envelope_that_lies_is_refused(change: Data):
    """An export whose envelope is not that of its events is refused."""
    refusal({**exported(), **change})


@pytest.mark.parametrize("field", ["format", "format_version", "session_id", "hash", "events"])
def test_envelope_with_a_gap_is_refused(field: str):
    """An export that lacks a field is refused."""
    data = exported()
    del data[field]

    assert refusal(data).version == 0


def test_unknown_format_version_says_what_to_do():
    """An export of a later format names its version and the way out."""
    assert "format version 2" in str(refusal({**exported(), "format_version": 2}))
    assert "the release that wrote it" in str(refusal({**exported(), "format_version": 2}))


def test_events_out_of_order_are_refused():
    """Two events that changed places are found at the first of them."""
    data = exported()
    data["events"][1:3] = data["events"][2:0:-1]

    assert refusal(data).version == 2


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_cut_event_is_found(version: int):
    """A missing event is found at its place, the last one by the envelope."""
    data = exported()
    del data["events"][version - 1]

    assert (0 if version == 4 else version) == refusal(data).version


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_repeated_event_is_found(version: int):
    """An event that stands twice is found at the second place."""
    data = exported()
    data["events"].insert(version, data["events"][version - 1])

    assert version + 1 == refusal(data).version


def test_added_event_is_found():
    """An event that was added at the end, correctly chained, is not part of the envelope."""
    longer = export_events(sample(extra=(said("more"),)), source())

    refusal({**exported(), "events": longer["events"]})


@given(st.data())
def test_any_edit_of_an_event_is_found(data: st.DataObject):
    """Whatever single character of an event is changed, the import is refused at its version."""
    export = exported()
    version = data.draw(st.integers(1, 4), label="version")
    entry = export["events"][version - 1]
    field = data.draw(st.sampled_from(sorted(entry)), label="field")
    text = str(entry[field])
    place = data.draw(st.integers(0, len(text) - 1), label="place")
    other = data.draw(st.characters(exclude_characters=text[place]), label="character")
    entry[field] = _as(text[:place] + other + text[place + 1 :], like=entry[field])

    assert version == refusal(export).version


@given(st.data())
def test_any_edit_of_the_text_changes_nothing(data: st.DataObject):
    """Whatever single byte of the JSON text is changed: it is refused, or the session is the same.

    The same it is where the byte means nothing: a space, or the release that made the export.
    """
    whole = exported()
    text = json.dumps(whole).encode()
    place = data.draw(st.integers(0, len(text) - 1), label="place")
    byte = data.draw(st.integers(0, 255), label="byte")
    try:
        read = json.loads(text[:place] + bytes([byte]) + text[place + 1 :])
    except ValueError:
        return
    try:
        export = parse_export(read)
    except InvalidExport:
        return
    known = parse_export(whole)
    assert (known.session_id, known.recorded) == (export.session_id, export.recorded)
    assert [blob.data for _, blob in core.attachments(export.recorded)] == [b"x"]


@given(st.data())
def test_any_renamed_field_is_found(data: st.DataObject):
    """A field that is renamed, left out or added is refused at its version."""
    export = exported()
    version = data.draw(st.integers(1, 4), label="version")
    entry = export["events"][version - 1]
    field = data.draw(st.sampled_from(sorted(entry)), label="field")
    value = entry.pop(field)
    if data.draw(st.booleans(), label="renamed"):
        entry[field + "s"] = value

    assert version == refusal(export).version


def _as(text: str, *, like: object) -> object:
    if not isinstance(like, int) or not text.isascii():
        return text
    try:
        return int(text)
    except ValueError:
        return text


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("recorded_at", 2**70),
        ("schema", -1),
        ("schema", 2**40),
        ("codec", 999),
        ("version", -2),
        ("version", 2**70),
        ("type", "x" * 40),
        ("type", "\ud800"),
        ("payload", "\ud800"),
        ("payload", ""),
        ("salt", "zz"),
        ("salt", ""),
        ("hash", ""),
        ("digest", "00" * 32),
    ],
)
def test_impossible_value_is_found(field: str, value: object):
    """A value that no event can have is refused like any other."""
    data = exported()
    data["events"][2][field] = value

    assert refusal(data).version == 3


@pytest.mark.parametrize("field", ["hash", "salt"])
def test_hex_is_taken_literally(field: str):
    """Hex in capitals or with spaces is another text, although of the same bytes."""
    for change in (str.upper, lambda text: f"{text[:2]} {text[2:]}"):
        data = exported()
        data["events"][2][field] = change(data["events"][2][field])
        assert refusal(data).version == 3


@pytest.mark.parametrize("missing", [("salt",), ("payload",), ("salt", "payload")])
def test_event_needs_payload_or_digest(missing: tuple[str, ...]):
    """An event has salt and payload, or a digest in their place: nothing between."""
    data = exported()
    entry = data["events"][2]
    for field in missing:
        del entry[field]

    assert refusal(data).version == 3
    entry["digest"] = sample()[2].digest.hex()
    if missing != ("salt", "payload"):
        assert refusal(data).version == 3


# Attachments


def test_changed_attachment_is_found():
    """An attachment of other content than its name says is refused."""
    data = exported()
    data["attachments"][DIGEST] = base64.b64encode(b"y").decode()

    assert DIGEST in str(refusal(data))


@pytest.mark.parametrize("text", ["eA", "e A==", "\N{SNOWMAN}", "eA==\n"])
def test_broken_attachment_is_found(text: str):
    """An attachment that is no plain base64 is refused."""
    data = exported()
    data["attachments"][DIGEST] = text

    assert DIGEST in str(refusal(data))


def test_missing_attachment_is_found():
    """An export without an attachment that an event names is refused, at that event."""
    data = exported()
    data["attachments"] = {}

    assert refusal(data).version == 3


def test_surplus_attachment_is_found():
    """An attachment that no event names was not in the session."""
    data = exported()
    name = hashlib.sha256(b"y").hexdigest()
    data["attachments"][name] = base64.b64encode(b"y").decode()

    assert name in str(refusal(data))


# Exports made to deceive: correctly chained, and still not what this release may hold


def forged(*facts: Prepared) -> Data:
    """A correctly chained export of any events."""
    return export_events(record([started("a"), *facts], stream="a", after=None), MemoryLog())


def test_unknown_event_is_refused():
    """An event of an unknown type is refused by its own error, which names it and the place."""
    future = Prepared("session.painted", 1, 0, 1, bytes(16), b'{"type":"session.painted"}')

    with pytest.raises(UnknownEvent) as caught:
        parse_export(forged(said("x"), future))

    assert (caught.value.type, caught.value.version) == ("session.painted", 3)


@pytest.mark.parametrize(
    "fact",
    [
        Prepared("metadata.changed", 1, 0, 1, b"", b'{"metadata":' + NESTED + b"}"),
        Prepared("system.changed", 1, 0, 1, b"", b'{"system":' + NESTED + b"}"),
        Prepared("metadata.changed", 1, 0, 1, b"", NESTED),
        Prepared("system.changed", 1, 0, 1, b"", b"{}"),
        Prepared("system.changed", 0, 0, 1, b"", b'{"system":null}'),
        Prepared("system.changed", 1, 0, 1, b"", b'{"system":null,"colour":1}'),
    ],
    ids=["nested", "nested elsewhere", "all nested", "incomplete", "schema 0", "unknown field"],
)
def test_undecodable_event_is_refused(fact: Prepared):
    """An event that does not decode is refused, at its version."""
    assert refusal(forged(fact)).version == 2


@pytest.mark.parametrize("fact", [started("b"), deleted(), forked("b", "a", sample()[1].head)])
def test_misplaced_event_is_refused(fact: Prepared):
    """A second start, a deletion, and a fork from elsewhere cannot stand in a stream."""
    refusal(forged(fact))


def test_stream_without_start_is_refused():
    """A stream begins with its start, however well it is chained."""
    facts = record([said("x")], stream="a", after=None)

    refusal({**export_events(facts, MemoryLog()), "session_id": ""})


def test_deeply_nested_envelope_is_refused():
    """Nesting in place of an event or of the attachments is refused, not recursed into."""
    value: Any = []
    for _ in range(10_000):
        value = [value]
    data = exported()

    assert refusal({**data, "events": [*data["events"][:2], value]}).version == 3
    refusal({**data, "attachments": value})
    refusal({**data, "session_id": value})
