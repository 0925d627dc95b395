"""A turn as the caller holds it: an iterator of stream events, sync or async.

Nothing is asked or written before the first event is asked for. Closing a stream before its end
abandons the turn: the log keeps what had arrived, the history stays as it was.
"""

from __future__ import annotations

import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, Self, TypeVar

from agent.engine.bound import Bound
from agent.engine.drivers import drive, drive_async, off_loop, on_loop
from agent.engine.errors import ConfigurationError, StreamAbandoned
from agent.engine.program import Order, program
from agent.engine.run import Run

if TYPE_CHECKING:
    from collections.abc import Generator

    from agent.engine.handle import Handle
    from agent.engine.stream import Response, StreamEvent

T = TypeVar("T")


class _Held(Bound, Generic[T]):
    """What both kinds of stream share: the run, and the rule that one at a time advances it."""

    _instead = "read it where it was begun, and hand over its response"

    def __init__(self, handle: Handle, order: Order[T]) -> None:
        self._handle = handle
        self._run: Run[T] = Run(
            handle.binding.key, program(handle, order), handle.setup.sources.monotonic
        )

    @property
    def response(self) -> Response[T]:
        """The turn's outcome. Raises ``RuntimeError`` before the stream has ended."""
        if self._run.response is None:
            raise RuntimeError("the turn is not complete: read the stream to its end first")
        return self._run.response

    @contextmanager
    def _holding(self) -> Generator[None]:
        with self._handle.exclusive():
            self._run.held = True
            try:
                yield
            finally:
                self._run.held = False

    @property
    def _open(self) -> bool:
        return self._run.started and not self._run.over

    def _check_mine(self) -> None:
        if self._run.elsewhere:
            raise StreamAbandoned(
                self._handle.binding.key,
                "goes on in the process that began it; take a turn of your own here",
            )


class Stream(_Held[T]):
    """The events of a turn. Also a context manager that closes the stream."""

    def __init__(self, handle: Handle, order: Order[T]) -> None:
        super().__init__(handle, order)
        self._events = drive(self._run, handle)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> StreamEvent[T]:
        with self._holding():
            if not self._run.started:
                # Also at exit, in good time: a generator that the end of the interpreter finds
                # half read would be closed among ruins.
                weakref.finalize(self, _leave, self._run, self._events)
            self._begin()
            return next(self._events)

    def finish(self) -> Response[T]:
        """Read to the end and return the response."""
        with self._holding():
            self._begin()
            for _ in self._events:
                pass
        return self.response

    def _begin(self) -> None:
        self._check_mine()
        if self._run.superseded:
            self._events.close()
            raise StreamAbandoned(self._handle.binding.key)
        if not self._run.started:
            self._handle.claim(self._run)

    def close(self) -> None:
        """End the turn here. Closing a finished stream does nothing, as in a forked child.

        Raises :class:`SessionBusy` while another thread is reading it.
        """
        if self._run.elsewhere:
            return
        if not self._open:
            self._events.close()
            return
        with self._holding():
            self._events.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _leave(run: Run[T], events: Generator[StreamEvent[T]]) -> None:
    if not (run.held or run.elsewhere):
        events.close()


class AsyncStream(_Held[T]):
    """The events of a turn, for ``async for``. Also an async context manager."""

    def __init__(self, handle: Handle, order: Order[T]) -> None:
        super().__init__(handle, order)
        self._events = drive_async(self._run, handle)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StreamEvent[T]:
        with self._holding():
            await self._begin()
            return await anext(self._events)

    async def finish(self) -> Response[T]:
        """Read to the end and return the response."""
        with self._holding():
            await self._begin()
            async for _ in self._events:
                pass
        return self.response

    async def _begin(self) -> None:
        check_loop()
        self._check_mine()
        if self._run.superseded:
            await self._events.aclose()
            raise StreamAbandoned(self._handle.binding.key)
        if not self._run.started:
            await off_loop(self._handle, self._handle.claim, self._run)

    async def aclose(self) -> None:
        """End the turn here. Closing a finished stream does nothing, as in a forked child.

        Raises :class:`SessionBusy` while another task is reading it.
        """
        if self._run.elsewhere:
            return
        if not self._open:
            await self._events.aclose()
            return
        with self._holding():
            await self._events.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()


def check_loop() -> None:
    """Raise :class:`ConfigurationError` on an event loop of another kind."""
    if not on_loop():
        raise ConfigurationError(
            "async turns run on asyncio alone; elsewhere, as under trio, call run, stream or json "
            "in a thread"
        )
