import sys

import pytest

from agent.eventstore import erasing
from agent.eventstore.backends.memory import MemoryLog
from agent.eventstore.checkpoints import opened, read
from agent.eventstore.conformance.facts import fixed, said, started
from agent.eventstore.errors import InvalidNote, UnknownStream
from agent.eventstore.export import export_events
from agent.eventstore.log import EventLog
from agent.eventstore.notes import SigningKey, VerifyingKey
from agent.eventstore.signing import (
    sign_log,
    sign_stream,
    verify_signed_export,
    verify_signed_log,
    verify_signed_stream,
)
from tests.eventstore.damaged import delete, fill, fork

# The example of golang.org/x/mod/sumdb/note, whose format C2SP took over.
SECRET = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
PUBLIC = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
NOTE = TEXT + (
    "\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotp"
    "RZb6KE6RyyBwJnAM=\n"
)
KEY = SigningKey("example.com/log", bytes(range(32)))


def test_note_is_right_to_the_byte():
    """The published key signs the published note, and reads back."""
    key = SigningKey.parse(SECRET)

    assert (key.text, key.verifying.text, key.sign(TEXT)) == (SECRET, PUBLIC, NOTE)
    assert VerifyingKey.parse(PUBLIC).open(NOTE) == TEXT


def test_secret_is_not_shown():
    """A key in a traceback gives nothing away."""
    assert repr(SigningKey.parse(SECRET)) == "SigningKey('PeterNeumann')"


def test_any_changed_character_is_found():
    """In the text, the name, the key's id and the signature."""
    key = VerifyingKey.parse(PUBLIC)
    accepted: list[int] = []
    for place, character in enumerate(NOTE):
        other = "A" if character != "A" else "B"
        try:
            key.open(NOTE[:place] + other + NOTE[place + 1 :])
        except InvalidNote:
            continue
        accepted.append(place)
    assert accepted == []


def test_checkpoint_of_a_stream_has_its_version(log: EventLog):
    """Origin, size and root, each on a line."""
    fill(log)

    checkpoint = opened(sign_stream(log, "a", KEY), KEY.verifying, "example.com/log/a")

    assert checkpoint.size == 6


def test_signed_log_verifies_while_it_grows(log: EventLog):
    """A note covers what there was; more may follow."""
    fill(log)
    note = sign_log(log, KEY)
    log.append("a", [said("more")], expected=log.head("a"))

    assert verify_signed_log(log, note, KEY.verifying).findings == []


def test_signed_stream_verifies_in_log_and_export(log: EventLog):
    """Wherever the events lie."""
    fill(log)
    note = sign_stream(log, "e", KEY)
    log.append("e", [said("more")], expected=log.head("e"))
    data = export_events(list(log.read("e")), log)

    assert verify_signed_stream(log, "e", note, KEY.verifying).findings == []
    assert verify_signed_export(data, "e", note, KEY.verifying).findings == []


def test_signed_log_verifies_after_an_erasure(log: EventLog):
    """What is signed are hashes, and these stay."""
    fill(log)
    note = sign_log(log, KEY)
    erasing.erase(log, erasing.plan(log, "c"), "asked", fixed)

    assert verify_signed_log(log, note, KEY.verifying, level="full").findings == []


def shorter(log: EventLog, *, count: int, more: tuple[str, ...] = ()) -> MemoryLog:
    """A log that whole chains make up, of which the last events of the stream were cut."""
    other = MemoryLog()
    facts = list(log.read("c"))[:count]
    head = other.append("c", facts, expected=None)
    for text in more:
        head = other.append("c", [said(text)], expected=head)
    return other


def test_cut_tail_is_found(log: EventLog):
    """A chain alone takes a cut stream for a shorter one."""
    fill(log)
    note = sign_stream(log, "c", KEY)

    (found,) = verify_signed_stream(shorter(log, count=4), "c", note, KEY.verifying).findings

    reason = "the end is missing that a signed head covers"
    assert (found.stream, found.version, found.reason) == ("c", 4, reason)
    assert (found.expected, found.actual) == ("5", "4")


def test_rewriting_is_found(log: EventLog):
    """A chain alone takes a forged one for its own."""
    fill(log)
    note = sign_stream(log, "c", KEY)
    forged = shorter(log, count=3, more=("other", "words"))

    (found,) = verify_signed_stream(forged, "c", note, KEY.verifying).findings

    assert found.reason == "it holds other events than a signed head covers"


def test_note_of_another_stream_is_refused(log: EventLog):
    """It says nothing about this one."""
    fill(log)

    with pytest.raises(InvalidNote, match=r"it is of example.com/log/a, not of example.com/log/b"):
        verify_signed_stream(log, "b", sign_stream(log, "a", KEY), KEY.verifying)


def test_stream_that_is_not_there_cannot_be_signed(log: EventLog):
    """There is no head."""
    with pytest.raises(UnknownStream):
        sign_stream(log, "a", KEY)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\n"])
def test_name_that_no_note_can_hold_is_refused(name: str):
    """Spaces and plus end a name."""
    with pytest.raises(InvalidNote, match="cannot name a key"):
        SigningKey.generate(name)


def test_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    """The extra is named."""
    monkeypatch.setitem(sys.modules, "cryptography", None)

    with pytest.raises(ModuleNotFoundError, match=r"pip install 'agent-sessions\[sign\]'"):
        SigningKey.generate("a")


def test_checkpoint_marks_heads_and_every_64th_event(log: EventLog):
    """Each mark names position, version and hash; what a fork inherits is marked in its origin."""
    log.append("a", [started("a"), *(said(f"{n}") for n in range(129))], expected=None)
    fork(log, "a", "b", 70)

    marks = opened(sign_log(log, KEY), KEY.verifying, "example.com/log").marks
    facts = {fact.position: fact for fact in log.read_all()}

    places = [("a", 64, 64), ("a", 128, 128), ("a", 130, 130), ("b", 131, 71)]
    assert [(mark.stream, mark.position, mark.version) for mark in marks] == places
    assert [mark.hash for mark in marks] == [facts[mark.position].hash for mark in marks]


def test_rewriting_is_placed_between_marks(log: EventLog):
    """The version is the first that may be another one."""
    texts = [f"{n}" for n in range(200)]
    log.append("c", [started("c"), *map(said, texts)], expected=None)
    note = sign_log(log, KEY)
    forged = shorter(log, count=100, more=tuple(texts))

    (found,) = verify_signed_log(forged, note, KEY.verifying).findings

    assert (found.stream, found.version) == ("c", 65)
    assert found.reason == "it holds other events than a signed head covers"


@pytest.mark.parametrize("name", ["a b", "a/b", "Zoë\n", "%41", "東京"])
def test_any_name_can_be_signed(log: EventLog, name: str):
    """What a note could not hold is encoded."""
    log.append(name, [started(name)], expected=None)
    note = sign_log(log, KEY)

    (mark,) = opened(note, KEY.verifying, "example.com/log").marks
    assert mark.stream == name
    assert verify_signed_log(log, note, KEY.verifying).findings == []


def test_deletion_after_signing_is_told_apart(log: EventLog):
    """The others are held against their heads, whatever positions are gone."""
    fill(log)
    note = sign_log(log, KEY)
    for stream in ("b", "e"):
        delete(log, stream)

    found = verify_signed_log(log, note, KEY.verifying)

    assert (found.findings, found.deleted) == ([], ["b", "e"])


def test_session_that_came_back_is_one_that_was_deleted(log: EventLog):
    """Its events have other positions now."""
    fill(log)
    note = sign_log(log, KEY)
    facts = list(log.read("b"))
    delete(log, "b")
    log.append("b", facts, expected=None)

    found = verify_signed_log(log, note, KEY.verifying)

    assert (found.findings, found.deleted) == ([], ["b"])


def test_deletion_before_signing_explains_nothing(log: EventLog):
    """Of an earlier session with the same name."""
    fill(log)
    facts = list(log.read("b"))
    delete(log, "b")
    log.append("b", facts[:3], expected=None)
    note = sign_log(log, KEY)
    other = MemoryLog()
    other.append("b", [started("b"), said("x"), said("y")], expected=None)
    delete(other, "b")
    other.append("b", facts[:2], expected=None)

    found = verify_signed_log(other, note, KEY.verifying)

    assert ("b", "the end is missing that a signed head covers") in [
        (one.stream, one.reason) for one in found.findings
    ]
    assert found.deleted == []


def test_deletion_covers_nothing_else(log: EventLog):
    """What else was changed is found."""
    fill(log)
    note = sign_log(log, KEY)
    other = MemoryLog()
    other.put_blob(b"x")
    for stream in "abc":
        facts = list(log.read(stream))
        other.append(stream, facts if stream != "c" else facts[:4], expected=None)
    for child, parent, at in (("d", "a", 3), ("e", "d", 4)):
        fork(other, parent, child, at)
    for _ in range(20):
        other.append("b", [said("more")], expected=other.head("b"))
    delete(other, "b")

    found = verify_signed_log(other, note, KEY.verifying)

    assert [(one.stream, one.version) for one in found.findings][:1] == [("c", 4)]


def test_export_with_a_cut_tail_is_found(log: EventLog):
    """Its digest can be made anew by anybody."""
    fill(log)
    note = sign_stream(log, "c", KEY)
    data = export_events(list(log.read("c", until=3)), log)

    (found,) = verify_signed_export(data, "c", note, KEY.verifying).findings

    assert (found.stream, found.version, found.expected, found.actual) == ("c", 3, "5", "3")


@pytest.mark.parametrize(
    "text", ["", "a\n", "a\n1\n", "a\nx\nAA==\n", "a\n1\nAA==\n", "a\n1\n!\n", "a\n01\n{root}\n"]
)
def test_text_that_is_no_checkpoint_is_refused(text: str):
    """Lines, numbers and hashes are as they are written."""
    with pytest.raises(InvalidNote, match="it is no checkpoint"):
        read(text.replace("{root}", "A" * 43 + "="))
