"""The hash chain: what makes a stream verifiable wherever it lies.

``digest = SHA256(salt || stored bytes)`` and
``hash_n = SHA256(prefix || hash_{n-1} || header)``, with the fixed header
``version u64 | type 32 bytes, zero-padded | schema u32 | recorded_at i64 | codec u8 | digest``,
big-endian. The stored bytes are hashed, never a re-encoding. Payload and salt can be erased
together: the digest then stands for them and the chain still verifies.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from hashlib import sha256

GENESIS = bytes(32)
JSON_CODEC = 1
SALT_BYTES = 16
TYPE_BYTES = 32
DIGEST_BYTES = 32

_PREFIX = b"agent-sessions/event/1\x00"
_HEADER = struct.Struct(f">Q{TYPE_BYTES}sIqB{DIGEST_BYTES}s")


def payload_digest(salt: bytes, payload: bytes) -> bytes:
    """The digest that enters the chain for a payload."""
    return sha256(salt + payload).digest()


def event_hash(
    previous: bytes,
    *,
    version: int,
    type: str,  # noqa: A002 - the field's name
    schema: int,
    recorded_at: int,
    codec: int,
    digest: bytes,
) -> bytes:
    """The identity of an event: it covers the event and all before it.

    Raises ``ValueError`` for a field that the fixed header would cut or cannot hold.
    """
    if len(digest) != DIGEST_BYTES:
        raise ValueError("the digest does not fit the header")
    try:
        header = _HEADER.pack(version, _name(type), schema, recorded_at, codec, digest)
    except struct.error as error:
        raise ValueError(f"a number does not fit the header: {error}") from error
    return sha256(_PREFIX + previous + header).digest()


@lru_cache(maxsize=128)  # the same few for all events
def _name(type: str) -> bytes:  # noqa: A002 - the same
    name = type.encode()
    if len(name) > TYPE_BYTES or name.endswith(b"\x00"):
        raise ValueError("the type does not fit the header")
    return name
