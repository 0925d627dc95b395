"""Erasing the texts of events: what is erased, who shares it, and the events that say so."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from typing import TYPE_CHECKING, NamedTuple

from agent.eventstore import core
from agent.eventstore.codec import CODEC
from agent.eventstore.errors import NothingToErase, UnknownStream
from agent.eventstore.events import PayloadErased
from agent.eventstore.residue import residue_of
from agent.eventstore.values import Erasure

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from agent.eventstore.events import Event
    from agent.eventstore.log import EventLog
    from agent.eventstore.record import Head, Prepared, Recorded

_TOLD_AT_ONCE = 512
"""How many erasures one event tells of: a session of any length is erased by events of one size."""


class Plan(NamedTuple):
    """What would be erased of a stream, and ``forks``: all others that hold some of it.

    Each of them holds the first so many of ``erasures``. ``residues`` are the bytes that are left,
    by the hash (hex) of their event.
    """

    stream: str
    head: Head
    erasures: Sequence[Erasure]
    residues: Mapping[str, bytes]
    forks: Mapping[str, tuple[Head, int]]

    def events(self, stream: str, reason: str) -> Iterator[PayloadErased]:
        """The events that tell a stream what is erased of it."""
        count = len(self.erasures) if stream == self.stream else self.forks[stream][1]
        for first in range(0, count, _TOLD_AT_ONCE):
            told = self.erasures[first : min(first + _TOLD_AT_ONCE, count)]
            yield PayloadErased(erased=tuple(told), reason=reason)


def plan(log: EventLog, stream: str, versions: Collection[int] | None = None) -> Plan:
    """Look at what there is to erase: some versions of a stream, or all. Nothing is written.

    Raises :class:`UnknownStream` for a version that is not there, :class:`NothingToErase` for one
    that holds no text, :class:`CorruptLog` or :class:`UnknownEvent` for one that does not decode.
    """
    head = log.head(stream)
    if head is None:
        raise UnknownStream(f"there is no session {stream!r}", stream=stream)
    erasures: list[Erasure] = []
    residues: dict[str, bytes] = {}
    for fact in _named(log, stream, head, versions):
        left = left_of(fact)
        if left is not None:
            residue = CODEC.encode(left)
            erasures.append(_erasure(fact, residue))
            residues[fact.hash.hex()] = residue
        elif versions is not None:
            raise NothingToErase(stream, fact.version, fact.type, erased=fact.erased)
    if not erasures:
        raise NothingToErase(stream, head.version, "", erased=False)
    return Plan(stream, head, erasures, residues, dict(_sharing(log, stream, erasures)))


def left_of(fact: Recorded) -> Event | None:
    """What would be left of an event; None if it has no text to lose."""
    left = None if fact.erased else residue_of(fact.event)
    return None if left is None or left == fact.event else left


def erase(log: EventLog, wanted: Plan, reason: str, prepare: Callable[[Event], Prepared]) -> None:
    """Carry a plan out, in all streams at once. Raises :class:`ConflictError` if it is outdated."""
    heads = {wanted.stream: wanted.head} | {name: head for name, (head, _) in wanted.forks.items()}
    told = [
        core.ToErase(name, head, [prepare(event) for event in wanted.events(name, reason)])
        for name, head in heads.items()
    ]
    log.erase(told, wanted.residues)


def _named(
    log: EventLog, stream: str, head: Head, versions: Collection[int] | None
) -> Iterator[Recorded]:
    if versions is None:
        yield from log.read(stream, until=head.version)
        return
    for version in sorted(set(versions)):
        if not 1 <= version <= head.version:
            words = f"session {stream!r} has versions 1 to {head.version}, not {version}"
            raise UnknownStream(words, stream=stream)
        yield from log.read(stream, after=version - 1, until=version)


def _erasure(fact: Recorded, residue: bytes) -> Erasure:
    return Erasure(fact.version, fact.hash.hex(), hashlib.sha256(residue).hexdigest())


def _sharing(
    log: EventLog, stream: str, erasures: Sequence[Erasure]
) -> Iterator[tuple[str, tuple[Head, int]]]:
    """Who else holds the first of these events, and how many. Whoever shares one has all before."""
    for info in log.streams():
        if info.stream == stream or info.head is None:
            continue
        holds = _holds(log, info.stream)
        # False sorts before True.
        shared = bisect_left(erasures, True, key=lambda one: not holds(one))  # noqa: FBT003
        if shared:
            yield info.stream, (info.head, shared)


def _holds(log: EventLog, stream: str) -> Callable[[Erasure], bool]:
    def holds(one: Erasure) -> bool:
        found = log.read(stream, after=one.version - 1, until=one.version)
        return any(fact.hash.hex() == one.hash for fact in found)

    return holds
