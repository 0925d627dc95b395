"""What every backend decides alike: which events may stand where, what a retry is, who owns what.

No I/O. A backend reads the facts that these functions ask for and stores what they return.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from agent.eventstore.chain import GENESIS, SALT_BYTES
from agent.eventstore.errors import (
    AttachmentMissing,
    ConflictError,
    CorruptLog,
    InvalidAppend,
    UnknownStream,
)
from agent.eventstore.events import PayloadErased, SessionForked, attachments_of
from agent.eventstore.record import Head, Prepared, Recorded, record
from agent.eventstore.residue import PAYLOAD_ERASED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from agent.eventstore.messages import Blob
    from agent.eventstore.values import Erasure

STARTED, FORKED, DELETED = "session.started", "session.forked", "session.deleted"

IDENTITY_TYPES = (FORKED, "metadata.changed", STARTED)
"""The types that tell whose stream it is: what a listing reads of each."""

T = TypeVar("T")


def to_append(stream: str, prepared: Sequence[Prepared], expected: Head | None) -> list[Recorded]:
    """Place events after ``expected``. Raises :class:`InvalidAppend` if they can't stand there."""
    _check_name(stream)
    try:
        recorded = record(prepared, stream=stream, after=expected)
    except ValueError as error:
        raise InvalidAppend(str(error)) from error
    if not recorded:
        raise InvalidAppend("nothing to append")
    previous = expected.hash if expected else GENESIS
    for fact, given in zip(recorded, prepared, strict=True):
        if isinstance(given, Recorded) and given.hash != fact.hash:
            raise InvalidAppend(f"{given.type} was recorded as version {given.version}, elsewhere")
        check_place(fact, previous)
        previous = fact.hash
    return recorded


def to_fork(child: str, prepared: Prepared, parent: Head) -> Recorded:
    """Place a child's first own event after ``parent``, the fork point."""
    if prepared.type != FORKED:
        raise InvalidAppend(f"a fork begins with {FORKED}, not with {prepared.type}")
    return to_append(child, [prepared], parent)[0]


def to_delete(stream: str, prepared: Prepared, head: Head) -> Recorded:
    """Place the last event of a stream."""
    if prepared.type != DELETED:
        raise InvalidAppend(f"a deletion is recorded as {DELETED}, not as {prepared.type}")
    return record([prepared], stream=stream, after=head)[0]


class ToErase(NamedTuple):
    """A stream that holds events to be erased, and the ``payload.erased`` that go into it."""

    stream: str
    expected: Head
    prepared: Sequence[Prepared]


class Erasing(NamedTuple):
    """The same, placed: what is appended, and what is erased of the stream up to there."""

    expected: Head
    recorded: Sequence[Recorded]
    erasures: Sequence[Erasure]

    @property
    def stream(self) -> str:
        """The name of the stream."""
        return self.recorded[0].stream


def to_erase(streams: Sequence[ToErase], residues: Mapping[str, bytes]) -> list[Erasing]:
    """Place the events that say what is erased, and check that they say what will be left.

    ``residues`` are the bytes that are left, by the hash (hex) of their event. Raises
    :class:`InvalidAppend`.
    """
    placed: list[Erasing] = []
    for stream, expected, prepared in streams:
        recorded = to_append(stream, prepared, expected)
        erasures: list[Erasure] = []
        for fact in recorded:
            if not isinstance(fact.event, PayloadErased):
                raise InvalidAppend(f"an erasure is recorded as {PAYLOAD_ERASED}, not {fact.type}")
            erasures += fact.event.erased
        for one in erasures:
            left = hashlib.sha256(residues.get(one.hash, b"")).hexdigest()
            if left != one.residue or not 1 <= one.version <= expected.version:
                raise InvalidAppend(f"what is left of version {one.version} is something else")
        placed.append(Erasing(expected, recorded, erasures))
    return placed


def check_erasure(stream: str, erasure: Erasure, found: bytes | None) -> None:
    """Refuse to erase another event than the one that was meant."""
    if found is None or found.hex() != erasure.hash:
        raise InvalidAppend(f"version {erasure.version} of {stream!r} is another event")


def all_done(done: Iterable[Head | None]) -> bool:
    """Whether an erasure is a retry, from what :func:`settle` says of each of its streams."""
    heads = list(done)
    if None in heads and any(heads):
        raise InvalidAppend("some of these streams have been told of the erasure, others have not")
    return None not in heads


def check_told(
    placed: Sequence[Erasing],
    streams: Iterable[tuple[str, Head]],
    hash_at: Callable[[str, int], bytes | None],
) -> None:
    """Refuse an erasure that a stream is not told of, of ``streams`` all that there are.

    Whoever shares an event shares all before it, so the first that is missing tells.
    """
    everything = {(one.version, one.hash) for erasing in placed for one in erasing.erasures}
    told = {erasing.stream: {(e.version, e.hash) for e in erasing.erasures} for erasing in placed}
    for stream, head in streams:
        missing = everything - told.get(stream, set())
        version, digest = min(missing, default=(0, ""))
        if not 0 < version <= head.version:
            continue
        found = hash_at(stream, version)
        if found is not None and found.hex() == digest:
            advice = "It shares what is to be erased, and has to be told of it."
            raise ConflictError(stream, expected=None, actual=head, advice=advice)


def _check_name(stream: str) -> None:
    try:
        usable = bool(stream.encode())
    except UnicodeEncodeError:
        usable = False
    if not usable:
        raise InvalidAppend(f"{stream!r} cannot name a stream; give some text")


def check_place(fact: Recorded, previous: bytes) -> None:
    """Refuse an event that cannot stand after ``previous``. Raises :class:`InvalidAppend`."""
    # The digest covers salt and payload as one: a fixed length keeps their boundary.
    if fact.salt is not None and len(fact.salt) != SALT_BYTES:
        raise InvalidAppend(f"a salt has {SALT_BYTES} bytes, not {len(fact.salt)}")
    if (fact.salt is None) is not fact.erased:
        raise InvalidAppend(f"{fact.type} needs either a salt or the digest of an erased event")
    if (fact.type == STARTED) != (fact.version == 1):
        raise InvalidAppend(f"{fact.type} cannot be version {fact.version} of a stream")
    if fact.type == DELETED:
        raise InvalidAppend("a stream is deleted by delete(), not by append()")
    if fact.type == FORKED:
        event = fact.event
        if not (
            isinstance(event, SessionForked)
            and event.at == fact.version - 1
            and event.parent_hash == previous.hex()
        ):
            raise InvalidAppend(f"{FORKED} at version {fact.version} names another fork point")


def settle(
    recorded: Sequence[Recorded],
    *,
    expected: Head | None,
    actual: Head | None,
    hash_at: Callable[[int], bytes | None],
) -> Head | None:
    """None if the events are to be written, their head if this is a retry of a done append.

    ``hash_at`` tells the hash of a version of the stream. Raises :class:`ConflictError`.
    """
    if actual == expected:
        return None
    last = recorded[-1]
    if actual and actual.version >= last.version and hash_at(last.version) == last.hash:
        return last.head
    raise ConflictError(last.stream, expected=expected, actual=actual)


def check_fork_point(parent: str, at: int, head: Head | None) -> None:
    """Refuse a fork point outside of the parent."""
    if head is None:
        raise UnknownStream(f"there is no session {parent!r} to fork", stream=parent)
    if not 1 <= at <= head.version:
        message = f"session {parent!r} has versions 1 to {head.version}, not {at}"
        raise UnknownStream(message, stream=parent)


def attachments(recorded: Iterable[Recorded]) -> list[tuple[Recorded, Blob]]:
    """Each event with each attachment that it names; what is left of an erased one names none."""
    return [
        (fact, blob)
        for fact in recorded
        if _may_name_a_blob(fact.payload)
        for blob in attachments_of(fact.event)
    ]


def _may_name_a_blob(payload: bytes) -> bool:
    """Spares most events the look at each of their parts; letters may stand there as escapes."""
    return b"blob" in payload or b"\\u00" in payload


def check_attachments(
    attached: Sequence[tuple[Recorded, Blob]], size_of: Callable[[str], int | None]
) -> None:
    """Refuse events whose attachments neither came along nor are there, of the size they say.

    ``size_of`` tells the bytes that the log holds under a digest. Raises
    :class:`AttachmentMissing`.
    """
    brought = {blob for _, blob in attached if blob.data is not None}
    for _, blob in attached:
        if blob not in brought and size_of(blob.digest) != blob.size:
            raise AttachmentMissing(blob.digest, size=blob.size)


def segments(lineage: Sequence[tuple[T, int]], after: int, until: int) -> list[tuple[T, int, int]]:
    """Which owner holds which range of a stream, in order.

    ``lineage`` runs from the stream itself to its root: each owner with the version up to which
    it inherits. Answers (owner, after, until) for the ranges that lie in ``after..until``.
    """
    ranges: list[tuple[T, int, int]] = []
    for owner, inherited in lineage:
        if until > max(after, inherited):
            ranges.append((owner, max(after, inherited), until))
        until = min(until, inherited)
    return ranges[::-1]


def verified(
    recorded: Iterable[Recorded], *, stream: str, after: Head | None = None
) -> Iterator[Recorded]:
    """Pass events on, and raise :class:`CorruptLog` at the first that breaks the chain."""
    previous = after or Head(0, GENESIS)
    for fact in recorded:
        version = previous.version + 1
        if fact.version != version:
            reason = f"version {fact.version} follows version {previous.version}"
            raise CorruptLog(reason, stream=stream, version=version)
        if not _matches(fact, previous.hash):
            raise CorruptLog("the event does not match its hash", stream=stream, version=version)
        previous = fact.head
        yield fact


def _matches(fact: Recorded, previous: bytes) -> bool:
    try:
        return fact.hash_after(previous, fact.version) == fact.hash
    except ValueError:
        return False
