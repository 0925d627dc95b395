import base64
import json

import pytest

from agent.eventstore import core
from agent.eventstore.conformance.facts import (
    deleted,
    fixed,
    forked,
    places,
    said,
    started,
)
from agent.eventstore.errors import ConflictError, InvalidExport
from agent.eventstore.export import (
    export_digest,
    export_events,
    import_events,
    parse_export,
    session_id_of,
)
from agent.eventstore.log import EventLog
from agent.eventstore.record import Prepared, Recorded, record
from agent.eventstore.version import library_version
from tests.eventstore.exports import DIGEST, erased, exported, sample, source

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
        "digest": export_digest(exported()),
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
    """A parsed export is only its events, with their attachments, ready to be recorded."""
    export = parse_export(exported())

    assert ("a", sample()) == (export.session_id, export.recorded)
    ((_, blob),) = core.attachments(export.recorded)
    assert (blob.digest, blob.data) == (DIGEST, b"x")
    assert sample()[-1].head == export.head


def test_erased_payload_round_trip(log: EventLog):
    """An erased event is exported with what is left of it; its attachment is not asked for."""
    facts = sample()
    facts[2] = erased(facts[2])
    data = exported(facts)

    import_events(log, "a", parse_export(data))

    assert {"digest", "payload"} == {"digest", "salt", "payload"} & set(data["events"][2])
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


def test_export_can_become_another_session(log: EventLog):
    """Under a new id, an export goes on as a fork of itself, independent of the first."""
    import_events(log, "a", parse_export(exported()))
    export = parse_export(exported())

    other = export.continued(fixed(export.fork_event("b")))
    head = import_events(log, "b", other)

    assert (other.session_id, other.head) == ("b", head)
    assert session_id_of(log.read("b")) == "b"
    assert [("b", n) for n in (1, 2, 3, 4, 5)] == places(log.read("b"))
    assert parse_export(export_events(list(log.read("b")), log)).head == head
    log.delete("a", deleted())
    assert log.get_blob(DIGEST) == b"x"


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


def test_session_id_that_a_later_release_does_not_tell():
    """A fork in a later schema that calls its session differently leaves the id known so far."""
    facts = record([started("a")], stream="a", after=None)
    future = Prepared("session.forked", 2, 0, 1, bytes(16), b'{"name":"z"}')
    unread = Recorded(
        *(getattr(future, name) for name in future.__struct_fields__),
        stream="a",
        version=2,
        hash=bytes(32),
    )

    assert session_id_of([*facts, unread]) == "a"
