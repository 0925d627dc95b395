"""Signed notes and the keys that sign them (C2SP signed-note), with Ed25519.

Needs the extra ``sign``: ``pip install 'agent-sessions[sign]'``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import TYPE_CHECKING, Any, Self

import msgspec

from agent.eventstore.errors import InvalidNote

if TYPE_CHECKING:
    from types import ModuleType

_ED25519 = b"\x01"
_PRIVATE = "PRIVATE+KEY+"
_KEY_BYTES = 32
_SIGNATURE = re.compile(r"— ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")


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
