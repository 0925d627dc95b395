"""Where the engine takes time, chance and names from: injected, so that tests can fix them."""

from __future__ import annotations

import os
import random
import time
import uuid
from collections.abc import Callable

import msgspec

from agent.engine.owners import this_process
from agent.eventstore.chain import SALT_BYTES
from agent.eventstore.events import Event
from agent.eventstore.record import Prepared, prepare
from agent.eventstore.values import Owner


def new_salt() -> bytes:
    """Fresh random bytes for one event."""
    return os.urandom(SALT_BYTES)


def new_id() -> str:
    """A fresh session id."""
    return uuid.uuid4().hex


class Sources(msgspec.Struct, frozen=True):
    """Time, chance and names. ``now`` in nanoseconds since 1970, ``monotonic`` in seconds."""

    now: Callable[[], int] = time.time_ns
    monotonic: Callable[[], float] = time.monotonic
    salt: Callable[[], bytes] = new_salt
    session_id: Callable[[], str] = new_id
    jitter: Callable[[], float] = random.random
    owner: Callable[[], Owner] = this_process

    def prepare(self, event: Event) -> Prepared:
        """Fix an event's time, salt and bytes."""
        return prepare(event, recorded_at=self.now(), salt=self.salt())
