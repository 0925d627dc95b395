"""Who runs a turn: this process, whether another still lives, and what this one is driving."""

from __future__ import annotations

import os
import platform
import sys
from functools import cache
from pathlib import Path

from agent.eventstore.processes import renewed_in_children
from agent.eventstore.values import Owner

_DEAD = ("Z", "X")
"""States of a process that has ended, and whose parent has not asked how yet."""


def this_process() -> Owner:
    """The process that runs this turn."""
    return _owner(os.getpid())


@cache
def _owner(process: int) -> Owner:
    seen = _seen(process)
    return Owner(platform.node(), process, seen[1] if seen else 0)


def _seen(process: int) -> tuple[str, int] | None:
    """State of a process, and its start in clock ticks since boot; None if it cannot be seen."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return None
    state, *fields = stat.rpartition(")")[2].split()
    return state, int(fields[18])


class Driven:
    """The turns that are being driven, each by its tenure."""

    def __init__(self) -> None:
        self.after_fork()
        renewed_in_children(self)

    def after_fork(self) -> None:
        """Begin anew in a child: its parent drives what it was driving."""
        self.tenures: set[bytes] = set()


DRIVEN = Driven()
"""Those that this process is driving, and might go on with."""


def is_alive(owner: Owner, tenure: bytes, me: Owner) -> bool | None:
    """Whether the owner of a turn may still be running it; None when that cannot be told from here.

    A process that goes on but has left the turn counts as gone, seen from itself.
    """
    if owner == me:
        return tenure in DRIVEN.tenures
    if owner.host != me.host:
        return None
    seen = _seen(owner.process)
    if seen is not None and owner.started:
        state, started = seen
        return state not in _DEAD and started == owner.started
    if sys.platform == "win32":  # where os.kill has no signal that only asks
        return None
    try:
        os.kill(owner.process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
