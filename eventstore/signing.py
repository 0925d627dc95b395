"""Signed heads: checkpoints to keep elsewhere, against truncation and rewriting.

A checkpoint is a note of three lines (C2SP tlog-checkpoint: origin, size, root hash) under an
Ed25519 signature (C2SP signed-note). The root is that of an RFC 6962 Merkle tree, so other tools
can handle it. For a whole log the origin is the key's name, and the leaves are its events by
position: ``position u64 | version u64 | hash | stream name``, big-endian, which also covers
what no chain does. For a stream the origin is ``name/stream``, percent-encoded, the size its
version, and the leaves are the hashes of its events, so an export can be checked as well.

Needs the extra ``sign``: ``pip install 'agent-sessions[sign]'``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import msgspec

from agent.eventstore.errors import CorruptLog, InvalidExport, InvalidNote, UnknownStream
from agent.eventstore.export import parse_entries
from agent.eventstore.verify import (
    Finding,
    Level,
    Verification,
    verify_export,
    verify_log,
    verify_stream,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import ModuleType

    from agent.eventstore.log import EventLog
    from agent.eventstore.record import Recorded

_ED25519 = b"\x01"
_PRIVATE = "PRIVATE+KEY+"
_KEY_BYTES = 32
_SIGNATURE = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
_PLACE = struct.Struct(">QQ")


class Checkpoint(msgspec.Struct, frozen=True):
    """What a note signs: whose tree, of how many events, with which root."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The three lines."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


class VerifyingKey(msgspec.Struct, frozen=True):
    """The public half: give it to whoever is to check your notes."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        """The four bytes that stand before each signature."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:4]

    @property
    def text(self) -> str:
        """The key in one line: ``name+id+base64``."""
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(_ED25519 + self.public).decode()}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``text`` back. Raises :class:`InvalidNote`."""
        name, id_, data = _fields(text)
        key = cls(name, data)
        if key.id.hex() != id_:
            raise InvalidNote("the key's id is not that of its name and bytes")
        return key

    def open(self, note: str) -> str:
        """The text of a note that this key signed. Raises :class:`InvalidNote`."""
        text, separator, signatures = note.rpartition("\n\n")
        if not separator or not signatures.endswith("\n"):
            raise InvalidNote("it has no signatures")
        text += "\n"
        if any(character < " " and character != "\n" for character in note):
            raise InvalidNote("it holds control characters")
        found = [_signature(line) for line in signatures[:-1].split("\n")]
        own = [data[4:] for name, data in found if (name, data[:4]) == (self.name, self.id)]
        if not own:
            raise InvalidNote(f"it is not signed by {self.name}")
        for signature in own:
            self._check(signature, text)
        return text

    def _check(self, signature: bytes, text: str) -> None:
        ed25519, exceptions = _cryptography()
        try:
            ed25519.Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text.encode())
        except exceptions.InvalidSignature:
            raise InvalidNote(f"the signature of {self.name} does not match") from None


class SigningKey(msgspec.Struct, frozen=True):
    """The private half, with the name under which it signs: that of the log, as a URL has it.

    ``text`` holds the secret; ``repr`` does not.
    """

    name: str
    seed: bytes

    @classmethod
    def generate(cls, name: str) -> Self:
        """A new key. Raises :class:`InvalidNote` for a name with spaces or a plus."""
        ed25519, _ = _cryptography()
        return cls(_checked(name), ed25519.Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``text`` back. Raises :class:`InvalidNote`."""
        if not text.startswith(_PRIVATE):
            raise InvalidNote(f"a private key starts with {_PRIVATE}")
        name, id_, data = _fields(text.removeprefix(_PRIVATE))
        key = cls(name, data)
        if key.verifying.id.hex() != id_:
            raise InvalidNote("the key's id is not that of its name and bytes")
        return key

    @property
    def text(self) -> str:
        """The secret in one line."""
        data = base64.b64encode(_ED25519 + self.seed).decode()
        return f"{_PRIVATE}{self.name}+{self.verifying.id.hex()}+{data}"

    @property
    def verifying(self) -> VerifyingKey:
        """The public half."""
        return VerifyingKey(self.name, self._private().public_key().public_bytes_raw())

    def sign(self, text: str) -> str:
        """A note: the text, which ends with a newline, and its signature."""
        if not text.endswith("\n") or any(char < " " and char != "\n" for char in text):
            raise InvalidNote("its text must end with a newline and hold no control characters")
        signature = base64.b64encode(self.verifying.id + self._private().sign(text.encode()))
        return f"{text}\n— {self.name} {signature.decode()}\n"

    def _private(self) -> Any:  # noqa: ANN401 - the library may be missing
        ed25519, _ = _cryptography()
        return ed25519.Ed25519PrivateKey.from_private_bytes(self.seed)

    def __repr__(self) -> str:
        return f"SigningKey({self.name!r})"


def sign_log(log: EventLog, key: SigningKey) -> str:
    """Check a whole log and sign it. Raises :class:`CorruptLog` for the first thing found."""
    _refuse(verify_log(log))
    return key.sign(_checkpoint(key.name, map(_placed, log.read_all())).text)


def sign_stream(log: EventLog, stream: str, key: SigningKey) -> str:
    """Check a stream and sign it. Raises :class:`CorruptLog`, :class:`UnknownStream`."""
    found = verify_stream(log, stream)
    _refuse(found)
    if found.head is None:
        raise UnknownStream(f"there is no session {stream!r} to sign", stream=stream)
    leaves = (fact.hash for fact in log.read(stream, until=found.head.version))
    return key.sign(_checkpoint(origin_of(key.name, stream), leaves).text)


def verify_signed_log(
    log: EventLog, note: str, key: VerifyingKey, *, level: Level = "chain"
) -> Verification:
    """Check a log, and that it begins with what a note signed. Raises :class:`InvalidNote`.

    Deleting a session purges events: sign anew after it.
    """
    signed = opened(note, key, key.name)
    found = verify_log(log, level=level)
    return _compared(found, "", signed, log.read_all(), _placed)


def verify_signed_stream(
    log: EventLog, stream: str, note: str, key: VerifyingKey, *, level: Level = "chain"
) -> Verification:
    """Check a stream, and that it begins with what a note signed. Raises :class:`InvalidNote`."""
    signed = opened(note, key, origin_of(key.name, stream))
    found = verify_stream(log, stream, level=level)
    return _compared(found, stream, signed, log.read(stream), _hash)


def verify_signed_export(
    data: Mapping[str, Any], stream: str, note: str, key: VerifyingKey
) -> Verification:
    """Check an export against the note of the stream that it is of. Raises :class:`InvalidNote`."""
    signed = opened(note, key, origin_of(key.name, stream))
    found = verify_export(data)
    try:
        recorded = parse_entries(data)
    except InvalidExport:
        return found
    return _compared(found, stream, signed, recorded, _hash)


def opened(note: str, key: VerifyingKey, origin: str) -> Checkpoint:
    """The checkpoint of a note for ``origin``. Raises :class:`InvalidNote`."""
    lines = key.open(note).split("\n")
    try:
        name, size, root, *_ = lines
        checkpoint = Checkpoint(name, int(size), base64.b64decode(root, validate=True))
    except ValueError as error:
        raise InvalidNote("it is no checkpoint") from error
    if checkpoint.text.rstrip("\n") != "\n".join(lines[:3]) or len(checkpoint.root) != _KEY_BYTES:
        raise InvalidNote("it is no checkpoint")
    if checkpoint.origin != origin:
        raise InvalidNote(f"it is of {checkpoint.origin}, not of {origin}")
    return checkpoint


def origin_of(name: str, stream: str) -> str:
    """The origin of a stream's checkpoints."""
    return f"{name}/{quote(stream, safe='')}"


def _compared(
    found: Verification,
    stream: str,
    signed: Checkpoint,
    recorded: Iterable[Recorded],
    leaf: Callable[[Recorded], bytes],
) -> Verification:
    tree, last, reason = _Tree(), None, ""
    try:
        for fact in recorded:
            if tree.size == signed.size:
                break
            tree.add(leaf(fact))
            last = fact
    except CorruptLog as error:
        reason = error.reason
    if tree.size < signed.size:
        reason = reason or "the end is missing that a signed head covers"
        expected, actual = str(signed.size), str(tree.size)
    elif tree.root() != signed.root:
        reason = "it holds other events than a signed head covers"
        expected, actual = signed.root.hex(), tree.root().hex()
    else:
        return found
    version = last.version if last and stream else 0
    position = (last.position or 0) if last else 0
    finding = Finding(stream, version, position, reason, expected, actual)
    return msgspec.structs.replace(found, findings=[*found.findings, finding])


def _refuse(found: Verification) -> None:
    for finding in found.findings[:1]:
        raise CorruptLog(finding.reason, stream=finding.stream, version=finding.version)


def _checkpoint(origin: str, leaves: Iterable[bytes]) -> Checkpoint:
    tree = _Tree()
    for leaf in leaves:
        tree.add(leaf)
    return Checkpoint(origin, tree.size, tree.root())


def _hash(fact: Recorded) -> bytes:
    return fact.hash


def _placed(fact: Recorded) -> bytes:
    place = _PLACE.pack(max(fact.position or 0, 0), max(fact.version, 0))
    return place + fact.hash + fact.stream.encode()


class _Tree:
    """The root of an RFC 6962 Merkle tree that grows: one hash for each bit of its size."""

    def __init__(self) -> None:
        self.size = 0
        self._full: list[bytes] = []

    def add(self, leaf: bytes) -> None:
        node, size = hashlib.sha256(b"\x00" + leaf).digest(), self.size
        while size & 1:
            node, size = _node(self._full.pop(), node), size >> 1
        self._full.append(node)
        self.size += 1

    def root(self) -> bytes:
        if not self._full:
            return hashlib.sha256().digest()
        *rest, node = self._full
        for left in reversed(rest):
            node = _node(left, node)
        return node


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _signature(line: str) -> tuple[str, bytes]:
    match = _SIGNATURE.fullmatch(line)
    if match is None:
        raise InvalidNote("a signature line does not read as one")
    return match[1], _decoded(match[2])


def _fields(text: str) -> tuple[str, str, bytes]:
    name, id_, data = (*text.split("+", 2), "", "")[:3]
    key = _decoded(data)
    if key[:1] != _ED25519 or len(key) != 1 + _KEY_BYTES:
        raise InvalidNote("it is no Ed25519 key")
    return _checked(name), id_, key[1:]


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidNote(f"it does not decode: {error}") from error


def _checked(name: str) -> str:
    if not name or "+" in name or any(char.isspace() or char < " " for char in name):
        raise InvalidNote(f"{name!r} cannot name a key; give a name without spaces and plus")
    return name


def _cryptography() -> tuple[ModuleType, ModuleType]:
    try:
        from cryptography import exceptions  # noqa: PLC0415 - an extra
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415
    except ImportError as error:
        raise ModuleNotFoundError(
            "signing needs the package cryptography: pip install 'agent-sessions[sign]'",
            name="cryptography",
        ) from error
    return ed25519, exceptions
