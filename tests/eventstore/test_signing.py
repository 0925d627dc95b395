import sys

import pytest

from agent.eventstore import erasing
from agent.eventstore.backends.memory import MemoryLog
from agent.eventstore.conformance.facts import fixed, said
from agent.eventstore.errors import InvalidNote, UnknownStream
from agent.eventstore.export import export_events
from agent.eventstore.log import EventLog
from agent.eventstore.signing import (
    SigningKey,
    VerifyingKey,
    opened,
    sign_log,
    sign_stream,
    verify_signed_export,
    verify_signed_log,
    verify_signed_stream,
)
from tests.eventstore.damaged import fill

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
