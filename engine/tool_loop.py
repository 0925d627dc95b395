"""The event loop on which the async tools of sync turns run.

There is one for the process, in a thread of its own: what async tools share (a lock, a client)
belongs to one loop, from call to call and from turn to turn.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading

_STOP_GRACE = 1.0


class _Running:
    """A loop, its thread, and the process that they belong to."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self.loop.run_forever, name="async tools", daemon=True
        )
        self._thread.start()
        atexit.register(self.stop)

    def stop(self) -> None:
        """End it with the interpreter."""
        if self.process == os.getpid():
            self.loop.call_soon_threadsafe(self.loop.stop)
            self._thread.join(_STOP_GRACE)
            if not self.loop.is_running():
                self.loop.close()


_lock = threading.Lock()
_running: list[_Running] = []
"""The newest is in use; older ones are those of parent processes."""


def tool_loop() -> asyncio.AbstractEventLoop:
    """The loop, started when first asked for."""
    with _lock:
        if not _running or _running[-1].process != os.getpid():
            _running.append(_Running())
        return _running[-1].loop
