"""A session to export, and its export."""

import hashlib
from typing import Any

from agent.eventstore.backends.memory import MemoryLog
from agent.eventstore.codec import CODEC
from agent.eventstore.conformance.facts import (
    attached,
    said,
    started,
)
from agent.eventstore.export import export_events
from agent.eventstore.record import Prepared, Recorded, record
from agent.eventstore.residue import residue_of

Data = dict[str, Any]

DIGEST = hashlib.sha256(b"x").hexdigest()
"""The name of the one attachment."""


def sample(*, stream: str = "a", extra: tuple[Prepared, ...] = ()) -> list[Recorded]:
    """A stream of four events, one with an attachment."""
    facts = [started("a"), said("one"), attached(b"x"), said("\N{SNOWMAN}"), *extra]
    return record(facts, stream=stream, after=None)


def source() -> MemoryLog:
    """A log that holds the sample."""
    log = MemoryLog()
    log.put_blob(b"x")
    log.append("a", sample(), expected=None)
    return log


def exported(recorded: list[Recorded] | None = None) -> Data:
    """An export, of the sample unless of others."""
    return export_events(recorded or sample(), source())


def erased(fact: Recorded) -> Recorded:
    """The same event without its texts, its digest in place of the salt."""
    return fact.as_erased(CODEC.encode(residue_of(fact.event)))
