"""The chain is checked against its description, with nothing of the library but the answer."""

import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.eventstore import core
from agent.eventstore.chain import GENESIS, event_hash, payload_digest
from agent.eventstore.errors import CorruptLog
from agent.eventstore.events import SessionStarted, SystemChanged
from agent.eventstore.record import Head, Prepared, Recorded, prepare, record
from tests.eventstore.exports import erased

SALT = bytes(range(16))
PAYLOAD = b'{"type":"system.changed","system":"Be brief."}'
FIELDS = {
    "type": "system.changed",
    "schema": 1,
    "recorded_at": 1_700_000_000_000_000_000,
    "codec": 1,
    "salt": SALT,
    "payload": PAYLOAD,
}
OTHER = {
    "type": "history.cleared",
    "schema": 2,
    "recorded_at": 1_700_000_000_000_000_001,
    "codec": 2,
    "salt": bytes(16),
    "payload": PAYLOAD[:-1] + b" }",
}


def by_hand(previous: bytes, version: int, fields: dict) -> bytes:
    """The hash as `chain` describes it."""
    digest = hashlib.sha256(fields["salt"] + fields["payload"]).digest()
    header = struct.pack(">Q", version)
    header += fields["type"].encode().ljust(32, b"\0")
    header += struct.pack(">I", fields["schema"])
    header += struct.pack(">q", fields["recorded_at"])
    header += struct.pack(">B", fields["codec"])
    header += digest
    return hashlib.sha256(b"agent-sessions/event/1\0" + previous + header).digest()


def chained(count: int) -> list[Recorded]:
    """A stream of some events."""
    events = [SessionStarted(session_id="a", library="0")]
    events += [SystemChanged(system=str(number)) for number in range(1, count)]
    return record([prepare(e, recorded_at=7, salt=SALT) for e in events], stream="a", after=None)


def test_known_answer():
    """A hash is what it was in the first release, for ever."""
    expected = "ec2f920418ef743370ab4d432622b35afb5cc8f2b5f045d81f930fa4a8f7484c"

    assert expected == by_hand(GENESIS, 3, FIELDS).hex()
    assert expected == Prepared(**FIELDS).hash_after(GENESIS, 3).hex()


def test_digest_covers_salt_and_bytes():
    """The digest of a payload is the SHA-256 of salt and stored bytes."""
    assert hashlib.sha256(SALT + PAYLOAD).digest() == payload_digest(SALT, PAYLOAD)
    assert hashlib.sha256(SALT + PAYLOAD).digest() == Prepared(**FIELDS).digest


@given(
    previous=st.binary(min_size=32, max_size=32),
    version=st.integers(0, 2**64 - 1),
    schema=st.integers(0, 2**32 - 1),
    recorded_at=st.integers(-(2**63), 2**63 - 1),
    codec=st.integers(0, 255),
)
def test_header_layout(previous: bytes, version: int, schema: int, recorded_at: int, codec: int):
    """The header is laid out as described over the whole range of each field."""
    fields = {**FIELDS, "schema": schema, "recorded_at": recorded_at, "codec": codec}

    assert by_hand(previous, version, fields) == Prepared(**fields).hash_after(previous, version)


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_is_covered(field: str):
    """Another value of any field gives another hash."""
    changed = Prepared(**{**FIELDS, field: OTHER[field]})

    assert Prepared(**FIELDS).hash_after(GENESIS, 3) != changed.hash_after(GENESIS, 3)


def test_place_is_covered():
    """The same event has another hash at another version, and after another event."""
    fact = Prepared(**FIELDS)
    hashes = {
        fact.hash_after(GENESIS, 3),
        fact.hash_after(GENESIS, 4),
        fact.hash_after(SALT * 2, 3),
    }

    assert len(hashes) == 3


@pytest.mark.parametrize(
    "changed",
    [
        {"type": "x" * 33},
        {"type": "tool.called\0"},
        {"type": "\ud800"},
        {"digest": bytes(31)},
        {"digest": bytes(33)},
        {"version": -1},
        {"version": 2**64},
        {"schema": -1},
        {"schema": 2**32},
        {"recorded_at": 2**63},
        {"codec": 256},
    ],
)
def test_nothing_is_cut_to_fit(changed: dict):
    """A field that the header cannot hold whole has no hash, rather than that of another one."""
    fields = {"version": 1, "type": "tool.called", "schema": 1, "recorded_at": 0, "codec": 1}

    with pytest.raises(ValueError, match=r"fit|surrogates"):
        event_hash(GENESIS, **{**fields, "digest": bytes(32), **changed})


def test_chain_verifies():
    """Each event is chained to the one before it, the first to 32 zero bytes."""
    chain = chained(4)

    assert chain == list(core.verified(chain, stream="a"))
    previous = GENESIS
    for version, fact in enumerate(chain, start=1):
        fields = {name: getattr(fact, name) for name in FIELDS}
        assert fact.hash == by_hand(previous, version, fields)
        previous = fact.hash


def test_erased_payload_verifies():
    """Payload and salt can be erased together: their digest stands for them."""
    chain = chained(4)
    chain[1] = erased(chain[1])

    assert chain == list(core.verified(chain, stream="a"))


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("field", [*FIELDS, "hash"])
def test_any_changed_field_breaks(field: str, version: int):
    """An event of which anything was changed is found, at its version."""
    chain = chained(3)
    value = {**OTHER, "hash": bytes(32)}[field]
    fact = chain[version - 1]
    chain[version - 1] = Recorded(
        **{**{name: getattr(fact, name) for name in fact.__struct_fields__}, field: value}
    )

    with pytest.raises(CorruptLog) as caught:
        list(core.verified(chain, stream="a"))

    assert ("a", version) == (caught.value.stream, caught.value.version)


@pytest.mark.parametrize("digest", [bytes(32), b"", bytes(40)])
def test_changed_digest_breaks(digest: bytes):
    """The digest that stands for an erased payload cannot be changed either."""
    chain = chained(3)
    fact = erased(chain[1])
    fields = {name: getattr(fact, name) for name in fact.__struct_fields__}
    chain[1] = Recorded(**{**fields, "erased_digest": digest})

    with pytest.raises(CorruptLog) as caught:
        list(core.verified(chain, stream="a"))

    assert caught.value.version == 2


def test_half_a_chain_verifies_from_its_head():
    """A part of a stream verifies after the head before it, and after no other."""
    chain = chained(4)

    assert chain[2:] == list(core.verified(chain[2:], stream="a", after=chain[1].head))
    with pytest.raises(CorruptLog):
        list(core.verified(chain[2:], stream="a", after=Head(2, bytes(32))))
