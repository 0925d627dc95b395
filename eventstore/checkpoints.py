"""Checkpoints: what a signed head says of a log or of a stream (C2SP tlog-checkpoint).

Lines of text: origin, size, root hash, and then marks. The root is that of an RFC 6962 Merkle tree,
so other tools can handle it. For a whole log the origin is the key's name, and the leaves are its
events by position: ``position u64 | version u64 | hash | stream name``, big-endian, which also
covers what no chain does. For a stream the origin is ``name/stream``, percent-encoded, the size
its version, and the leaves are the hashes of its events, so an export can be checked as well.

The root tells that something is different, and the marks where: each is a line
``position version hash stream``, for the head of each stream and every 64th event before it, and
with a minus in front for the last event of each stream that was deleted.
"""

from __future__ import annotations

import base64
import hashlib
import struct
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import msgspec

from agent.eventstore import core
from agent.eventstore.errors import InvalidNote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from agent.eventstore.notes import VerifyingKey
    from agent.eventstore.record import Recorded

_HASH_BYTES = 32
_PLACE = struct.Struct(">QQ")
_STRIDE = 64


class Mark(msgspec.Struct, frozen=True):
    """An event of a stream that was there; ``ended`` if it deleted the stream."""

    stream: str
    position: int
    version: int
    hash: bytes
    ended: bool = False

    @property
    def text(self) -> str:
        """Its line."""
        name = quote(self.stream, safe="")
        minus = "-" if self.ended else ""
        return f"{minus}{self.position} {self.version} {_base64(self.hash)} {name}\n"

    @classmethod
    def parse(cls, line: str) -> Mark:
        """Read a line back. Raises ``ValueError``."""
        position, version, digest, stream = line.split(" ")
        hash_ = base64.b64decode(digest, validate=True)
        place = int(position.removeprefix("-")), int(version)
        return cls(unquote(stream), *place, hash_, position.startswith("-"))


class Checkpoint(msgspec.Struct, frozen=True):
    """What a note signs: whose tree, of how many events, with which root and marks."""

    origin: str
    size: int
    root: bytes
    marks: tuple[Mark, ...] = ()

    @property
    def text(self) -> str:
        """Its lines."""
        first = f"{self.origin}\n{self.size}\n{_base64(self.root)}\n"
        return first + "".join(mark.text for mark in self.marks)


def checkpoint_of_log(origin: str, feed: Iterable[Recorded]) -> Checkpoint:
    """The checkpoint of all events of a log."""
    return _checkpoint(origin, feed, placed)


def checkpoint_of_stream(origin: str, stream: str, facts: Iterable[Recorded]) -> Checkpoint:
    """The checkpoint of a stream with what it inherited."""
    own = (msgspec.structs.replace(fact, stream=stream) for fact in facts)
    return _checkpoint(origin, own, hashed)


def opened(note: str, key: VerifyingKey, origin: str) -> Checkpoint:
    """The checkpoint of a note for ``origin``. Raises :class:`InvalidNote`."""
    checkpoint = read(key.open(note))
    if checkpoint.origin != origin:
        raise InvalidNote(f"it is of {checkpoint.origin}, not of {origin}")
    return checkpoint


def read(text: str) -> Checkpoint:
    """The checkpoint that a text is. Raises :class:`InvalidNote`."""
    try:
        origin, size, root, *more = text.removesuffix("\n").split("\n")
        marks = tuple(map(Mark.parse, more))
        checkpoint = Checkpoint(origin, int(size), base64.b64decode(root, validate=True), marks)
    except ValueError as error:
        raise InvalidNote("it is no checkpoint") from error
    if checkpoint.text != text or len(checkpoint.root) != _HASH_BYTES:
        raise InvalidNote("it is no checkpoint")
    return checkpoint


def origin_of(name: str, stream: str) -> str:
    """The origin of a stream's checkpoints."""
    return f"{name}/{quote(stream, safe='')}"


def stream_of(name: str, origin: str) -> str | None:
    """The stream whose checkpoints have an origin; None for that of the log itself."""
    return unquote(origin.removeprefix(f"{name}/")) if origin.startswith(f"{name}/") else None


def hashed(fact: Recorded) -> bytes:
    """The leaf of an event in the tree of a stream."""
    return fact.hash


def placed(fact: Recorded) -> bytes:
    """The leaf of an event in the tree of a log."""
    place = _PLACE.pack(max(fact.position or 0, 0), max(fact.version, 0))
    return place + fact.hash + fact.stream.encode()


def _checkpoint(
    origin: str, facts: Iterable[Recorded], leaf: Callable[[Recorded], bytes]
) -> Checkpoint:
    tree = Tree()
    marks: dict[str, list[Mark]] = {}
    ended: list[Mark] = []
    for fact in facts:
        tree.add(leaf(fact))
        place = (fact.stream, fact.position or 0, fact.version, fact.hash)
        if fact.type == core.DELETED:
            marks.pop(fact.stream, None)
            ended.append(Mark(*place, ended=True))
            continue
        kept = marks.setdefault(fact.stream, [])
        if kept and kept[-1].version % _STRIDE:
            kept.pop()
        kept.append(Mark(*place))
    living = (mark for name in sorted(marks) for mark in marks[name])
    return Checkpoint(origin, tree.size, tree.root(), (*living, *ended))


class Tree:
    """The root of an RFC 6962 Merkle tree that grows: one hash for each bit of its size."""

    def __init__(self) -> None:
        self.size = 0
        self._full: list[bytes] = []

    def add(self, leaf: bytes) -> None:
        """Append a leaf."""
        node, size = hashlib.sha256(b"\x00" + leaf).digest(), self.size
        while size & 1:
            node, size = _node(self._full.pop(), node), size >> 1
        self._full.append(node)
        self.size += 1

    def root(self) -> bytes:
        """The hash of all leaves so far."""
        if not self._full:
            return hashlib.sha256().digest()
        *rest, node = self._full
        for left in reversed(rest):
            node = _node(left, node)
        return node


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
