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
    attached,
    deleted,
    forked,
    places,
    said,
    started,
)
from agent.eventstore.errors import ConflictError, InvalidExport, UnknownEvent
from agent.eventstore.export import export_events, import_events, parse_export, session_id_of
from agent.eventstore.log import EventLog
from agent.eventstore.record import Prepared, Recorded, record
from agent.eventstore.version import library_version

type_of = type
Data = dict[str, Any]

DIGEST = hashlib.sha256(b"x").hexdigest()
NESTED = b"[" * 10_000 + b"]" * 10_000


def sample(*, stream: str = "a", extra: tuple[Prepared, ...] = ()) -> list[Recorded]:
    """A stream of four events, one with an attachment."""
    facts = [started("a"), said("one"), attached(b"x"), said("\N{SNOWMAN}"), *extra]
    return record(facts, stream=stream, after=None)


def source() -> MemoryLog:
    """A log that holds the sample."""
    log = MemoryLog()
    log.put_blob(b"x")
    log.append("a", sample(), expected=None)
    return log


def exported(recorded: list[Recorded] | None = None) -> Data:
    """An export, of the sample unless of others."""
    return export_events(recorded or sample(), source())


def erased(fact: Recorded) -> Recorded:
    """The same event with its digest in place of salt and payload."""
    fields = {name: getattr(fact, name) for name in fact.__struct_fields__}
    return Recorded(**{**fields, "salt": None, "payload": None, "erased_digest": fact.digest})


def refusal(data: Data) -> InvalidExport:
    """How an export is refused."""
    with pytest.raises(InvalidExport) as caught:
        parse_export(data)
    return caught.value


# Round trips


def test_envelope():
    """An export says what it is, whose session it holds, and where that ends."""
    head = sample()[-1]

    expected = {
        "format": "agent-session",
        "format_version": 1,
        "session_id": "a",
        "version": 4,
        "hash": head.hash.hex(),
        "library": library_version(),
        "attachments": {DIGEST: base64.b64encode(b"x").decode()},
    }
    assert expected == {name: value for name, value in exported().items() if name != "events"}


def test_entries_hold_the_stored_text():
    """Each event is its stored text in one readable string, with what the chain needs."""
    fact = sample()[3]
    assert fact.salt
    assert fact.payload

    expected = {
        "version": 4,
        "type": "message.added",
        "schema": 1,
        "recorded_at": 0,
        "codec": 1,
        "hash": fact.hash.hex(),
        "salt": fact.salt.hex(),
        "payload": fact.payload.decode(),
    }
    assert expected == exported()["events"][3]
    assert "\N{SNOWMAN}" in exported()["events"][3]["payload"]


def test_round_trip(log: EventLog):
    """An imported session has the same events, head and attachments."""
    export = parse_export(exported())

    head = import_events(log, "a", export)

    assert sample()[-1].head == head == log.head("a")
    assert [f.hash for f in sample()] == [f.hash for f in log.read("a")]
    assert log.get_blob(DIGEST) == b"x"
    assert exported() == export_events(list(log.read("a")), log)


def test_round_trip_through_json(log: EventLog):
    """An export goes through JSON text unchanged, in any spacing and order of keys."""
    data = exported()

    text = json.dumps(data, indent=2, sort_keys=True)
    import_events(log, "a", parse_export(json.loads(text)))

    assert data == json.loads(text) == export_events(list(log.read("a")), log)


def test_import_under_another_name(log: EventLog):
    """A session imported under another name is an independent stream with the same history."""
    import_events(log, "a", parse_export(exported()))
    import_events(log, "b", parse_export(exported()))
    log.delete("a", deleted())

    assert [("b", n) for n in (1, 2, 3, 4)] == places(log.read("b"))
    assert exported() == export_events(list(log.read("b")), log)


def test_parsing_writes_nothing():
    """A parsed export is only its events and attachments, ready to be recorded."""
    export = parse_export(exported())

    assert ("a", sample(), {DIGEST: b"x"}) == (
        export.session_id,
        export.recorded,
        export.attachments,
    )
    assert sample()[-1].head == export.head


def test_erased_payload_round_trip(log: EventLog):
    """An erased event is exported by its digest, and imported so; its attachment is not asked."""
    facts = sample()
    facts[2] = erased(facts[2])
    data = exported(facts)

    import_events(log, "a", parse_export(data))

    assert {"digest"} == {"digest", "salt", "payload"} & set(data["events"][2])
    assert data["attachments"] == {}
    assert data == export_events(list(log.read("a")), log)
    chain = list(core.verified(log.read("a"), stream="a"))
    assert facts[2].digest == chain[2].erased_digest


# Forks


def test_export_of_a_fork_is_whole(log: EventLog):
    """The export of a fork holds the inherited events; imported, they are rows of its own."""
    origin = source()
    point = sample()[2].head
    origin.fork("a", "b", at=3, prepared=forked("b", "a", point))
    head = origin.head("b")
    data = export_events(list(origin.read("b")), origin)

    import_events(log, "b", parse_export(data))

    assert data["session_id"] == "b"
    assert head == log.head("b")
    assert [("b", n) for n in (1, 2, 3, 4)] == places(log.read("b")) == places(log.read_all())


def test_imported_fork_needs_no_parent(log: EventLog):
    """A fork imported beside its parent stays whole when the parent goes."""
    origin = source()
    origin.fork("a", "b", at=3, prepared=forked("b", "a", sample()[2].head))
    data = export_events(list(origin.read("b")), origin)
    import_events(log, "a", parse_export(exported()))
    import_events(log, "b", parse_export(data))

    log.delete("a", deleted())

    assert [("b", n) for n in (1, 2, 3, 4)] == places(core.verified(log.read("b"), stream="b"))
    assert log.get_blob(DIGEST) == b"x"


def test_session_id_is_that_of_the_last_fork():
    """A stream's id is the one of its start, or of the last fork it went through."""
    facts = sample()
    child = record([forked("b", "a", facts[1].head)], stream="b", after=facts[1].head)

    assert session_id_of(facts) == "a"
    assert session_id_of([*facts[:2], *child]) == "b"
    assert session_id_of([erased(facts[0]), *facts[1:2], *child]) == "b"


# Existing streams


def test_import_appends_the_missing_tail(log: EventLog):
    """Into a stream that it continues, an import appends what is missing, and only that."""
    facts = sample()
    head = log.append("a", facts[:2], expected=None)

    assert facts[-1].head == import_events(log, "a", parse_export(exported()))

    assert [("a", n) for n in (1, 2, 3, 4)] == places(log.read_all())
    assert facts[1].head == head


def test_import_again_changes_nothing(log: EventLog):
    """An import of what is there already answers with the head and stores nothing."""
    export = parse_export(exported())

    assert import_events(log, "a", export) == import_events(log, "a", export)
    assert len(list(log.read_all())) == 4


def test_import_into_a_longer_stream_conflicts(log: EventLog):
    """A stream that is ahead of the export is not overwritten; the error says so."""
    import_events(log, "a", parse_export(exported()))
    head = log.append("a", [said("more")], expected=log.head("a"))

    with pytest.raises(ConflictError, match="is ahead") as caught:
        import_events(log, "a", parse_export(exported()))

    assert (sample()[-1].head, head) == (caught.value.expected, caught.value.actual)
    assert head == log.head("a")


@pytest.mark.parametrize("length", [1, 4, 6])
def test_import_into_another_stream_conflicts(log: EventLog, length: int):
    """A stream with other events is not overwritten, be it shorter, equal or longer."""
    other = [started("other"), *(said(str(n)) for n in range(5))]
    head = log.append("a", other[:length], expected=None)

    with pytest.raises(ConflictError, match="different"):
        import_events(log, "a", parse_export(exported()))

    assert head == log.head("a")
    assert len(list(log.read_all())) == length


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


def test_nothing_is_written_on_failure(log: EventLog):
    """When an import fails, the log is as it was, attachments included."""
    log.append("a", [started("other")], expected=None)
    before = list(log.read_all())

    with pytest.raises(ConflictError):
        import_events(log, "a", parse_export(exported()))
    data = exported()
    data["events"][3]["payload"] += " "
    with pytest.raises(InvalidExport, match="Nothing was imported"):
        import_events(log, "b", parse_export(data))

    assert before == list(log.read_all())
    assert [info.stream for info in log.streams()] == ["a"]
    with pytest.raises(Exception, match=DIGEST):
        log.get_blob(DIGEST)


# Events of later releases


def test_unknown_events_are_exported():
    """An event of a later release is exported as it is, with the attachments that it names."""
    log = source()
    blob = '{"kind":"blob","digest":"%s","size":1}'
    payload = f'{{"pictures":[{blob % DIGEST},{blob % ("0" * 64)}]}}'.encode()
    future = Prepared("session.painted", 2, 0, 1, b"salt", payload)
    facts = record([started("a"), future], stream="a", after=None)

    data = export_events(facts, log)

    assert payload.decode() == data["events"][1]["payload"]
    assert list(data["attachments"]) == [DIGEST]


def test_session_id_of_a_later_release():
    """A start in a later schema still tells the session's id."""
    payload = b'{"type":"session.started","session_id":"z","colour":"red"}'
    fact = Prepared("session.started", 2, 0, 1, b"salt", payload)

    assert session_id_of(record([fact], stream="a", after=None)) == "z"
