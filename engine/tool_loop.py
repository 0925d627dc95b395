"""The event loop on which the async tools of sync turns run.

There is one for the process, in a thread of its own: what async tools share (a lock, a client)
belongs to one loop, from call to call and from turn to turn.
"""

from __future__ import annotations

import asyncio
import atexit
import threading

from agent.eventstore.processes import leave_to_parent, renewed_in_children

_STOP_GRACE = 1.0


class ToolLoop:
    """A loop in a thread of its own. ``over`` once the interpreter has begun to exit."""

    def __init__(self) -> None:
        self.over = False
        self._began = threading.Event()
        # asyncio.run cancels at the end what still runs, and lets it clean up.
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve()), name="async tools", daemon=True
        )
        self._thread.start()
        self._began.wait()
        atexit.register(self._stop)

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._began.set()
        await self._ended.wait()

    def _stop(self) -> None:
        if _current.running is self:
            self.over, _current.running = True, None
            self.loop.call_soon_threadsafe(self._ended.set)
            self._thread.join(_STOP_GRACE)


class _Current:
    """The loop of this process."""

    def __init__(self) -> None:
        self.running: ToolLoop | None = None
        self.after_fork()
        renewed_in_children(self)

    def after_fork(self) -> None:
        """Begin anew in a child process."""
        leave_to_parent(self.running)
        self.running = None
        self._lock = threading.RLock()

    def get(self) -> ToolLoop:
        with self._lock:
            if self.running is None:
                self.running = ToolLoop()
            return self.running


_current = _Current()


def tool_loop() -> ToolLoop:
    """The loop, started when first asked for."""
    return _current.get()
