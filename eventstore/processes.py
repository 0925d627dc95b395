"""What the child of an ``os.fork`` inherits, made safe for it to use.

Only the forking thread lives on in a child: a lock that another thread held would be held for
ever, and what that thread was doing stays half done. So what belongs to one process is renewed in
its child; and a fork waits, for a while, until no thread is inside of a library with locks of its
own.
"""

from __future__ import annotations

import os
import sys
import time
import weakref
from typing import Any, Protocol, TypeVar


class Lock(Protocol):
    """A reentrant lock."""

    def acquire(self, *, timeout: float) -> bool:
        """Take it; False when ``timeout`` (seconds) did not suffice."""
        ...

    def release(self) -> None:
        """Give it back."""
        ...


class Renewable(Protocol):
    """Belongs to one process."""

    def after_fork(self) -> None:
        """Begin anew in a child, which has no other thread yet."""
        ...


L = TypeVar("L", bound=Lock)

_PATIENCE = 1.0
"""How long a fork waits for threads, in seconds; they may wait for another process."""

_awaited: set[weakref.ref[Any]] = set()
_renewed: set[weakref.ref[Any]] = set()
_held: list[Lock] = []
_inherited: list[object] = []


def awaited_by_forks(lock: L) -> L:
    """Let forks wait until nobody holds this lock; its owner is renewed all the same."""
    _awaited.add(weakref.ref(lock, _awaited.discard))
    return lock


def renewed_in_children(owner: Renewable) -> None:
    """Call ``owner.after_fork()`` in every forked child."""
    _renewed.add(weakref.ref(owner, _renewed.discard))


def leave_to_parent(thing: object) -> None:
    """Keep what a child has inherited and must not close: closing it would disturb the parent."""
    _inherited.append(thing)


def _before_fork() -> None:
    end = time.monotonic() + _PATIENCE
    # set.copy() cannot set off a collection, which would shrink the set meanwhile; tuple() can.
    for reference in _awaited.copy():
        lock: Lock | None = reference()
        if lock is not None and lock.acquire(timeout=max(end - time.monotonic(), 0)):
            _held.append(lock)


def _let_go() -> None:
    while _held:
        _held.pop().release()


def _in_child() -> None:
    _let_go()
    for reference in _renewed.copy():
        owner: Renewable | None = reference()
        if owner is not None:
            owner.after_fork()


if sys.platform != "win32":
    os.register_at_fork(before=_before_fork, after_in_parent=_let_go, after_in_child=_in_child)
