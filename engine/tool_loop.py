"""The event loop on which the async tools of sync turns run.

There is one for the process, in a thread of its own: what async tools share (a lock, a client)
belongs to one loop, from call to call and from turn to turn.
"""

from __future__ import annotations

import asyncio
import atexit
import queue
import threading

from agent.eventstore.processes import renewed_in_children

_STOP_GRACE = 1.0


class _ToolLoop:
    """The loop of this process, with its thread."""

    def __init__(self) -> None:
        self._inherited: list[asyncio.AbstractEventLoop | None] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self.after_fork()
        renewed_in_children(self)

    def after_fork(self) -> None:
        """Begin anew in a child. The parent's loop is kept: closing it would disturb the parent."""
        self._inherited.append(self._loop)
        self._loop = None
        self._lock = threading.RLock()

    def get(self) -> asyncio.AbstractEventLoop:
        """The loop, started when first asked for."""
        with self._lock:
            if self._loop is None:
                self._loop = self._start()
            return self._loop

    def _start(self) -> asyncio.AbstractEventLoop:
        started: queue.SimpleQueue[tuple[asyncio.AbstractEventLoop, asyncio.Event]]
        started = queue.SimpleQueue()

        async def serve() -> None:
            ended = asyncio.Event()
            started.put((asyncio.get_running_loop(), ended))
            await ended.wait()

        # asyncio.run cancels what still runs at the end, and lets it clean up.
        thread = threading.Thread(
            target=lambda: asyncio.run(serve()), name="async tools", daemon=True
        )
        thread.start()
        loop, ended = started.get()

        def stop() -> None:
            if self._loop is loop:
                loop.call_soon_threadsafe(ended.set)
                thread.join(_STOP_GRACE)

        atexit.register(stop)
        return loop


tool_loop = _ToolLoop().get
