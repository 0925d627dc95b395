"""A turn in motion: its generator, the effect that it waits for, and who is advancing it."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from agent.engine.effects import AwaitTools, CallModel, Effect, StartTools, TurnDropped, Wait
from agent.engine.errors import TurnCancelled
from agent.engine.provider import ReasoningDelta, TextDelta
from agent.eventstore.messages import Message, Part, ReasoningPart, TextPart

if TYPE_CHECKING:
    from agent.engine.provider import Delta, ModelRequest
    from agent.engine.stream import Response

T = TypeVar("T")


class Run(Generic[T]):
    """One turn between its driver and whoever may have to end it.

    ``effect`` is what the turn waits for, None once it is over. ``held`` says that whoever
    advances or ends the turn has the session for itself. ``hang_up`` ends a model call that goes
    on by itself; any thread may call it. ``cancelled`` is the reason for which the turn is to end;
    ``wake`` then ends the wait of whoever advances it.
    """

    def __init__(
        self,
        session_id: str,
        program: Generator[Effect, Any, Response[T]],
        clock: Callable[[], float],
    ) -> None:
        self._session_id = session_id
        self._program = program
        self.clock = clock
        self.effect: Effect | None = None
        self.response: Response[T] | None = None
        self.started = False
        self.superseded = False
        self.held = False
        self._process: int | None = None
        self._ending = threading.Lock()
        self._deltas: list[Delta] = []
        self._calling_since: float | None = None
        self.hang_up: Callable[[], object] = bool
        self.cancelled: str | None = None
        self.wake: Callable[[], object] = bool
        # Not an Event: a signal handler may cancel a turn whose thread is inside of one's lock.
        self._woken: queue.SimpleQueue[None] = queue.SimpleQueue()

    @property
    def over(self) -> bool:
        """Whether the turn has ended."""
        return self.started and self.effect is None

    @property
    def elsewhere(self) -> bool:
        """Whether the turn goes on in a parent process: this is but a forked copy of it."""
        return self.started and self._process != os.getpid()

    def send(self, outcome: object) -> None:
        """Answer the effect and take the next."""
        if not self.started:
            self.started, self._process = True, os.getpid()
        if isinstance(self.effect, CallModel):
            self._deltas, self._calling_since = [], None
        try:
            self.effect = self._program.send(outcome)
        except StopIteration as stop:
            self.effect, self.response = None, stop.value
        except BaseException:
            self.effect = None
            raise

    def throw(self, error: BaseException) -> None:
        """Answer the effect with an error and take the next."""
        try:
            self.effect = self._program.throw(error)
        except BaseException:
            self.effect = None
            raise

    def cancel(self, reason: str) -> bool:
        """Have the turn end; whether it was under way. Any thread or signal handler may call it."""
        if self.over or self.elsewhere:
            return False
        if self.cancelled is None:
            self.cancelled = reason
            self._woken.put(None)
            self.wake()
        return True

    def check(self) -> None:
        """Raise :class:`TurnCancelled` where a cancelled turn ends: at what takes time.

        Not at an append: the turn is settled by what lands.
        """
        waits = isinstance(self.effect, CallModel | StartTools | AwaitTools | Wait)
        if self.cancelled is not None and waits:
            raise TurnCancelled(self._session_id, self.cancelled)

    def pause(self, seconds: float) -> None:
        """Let time pass, until the turn is cancelled."""
        with suppress(queue.Empty):
            self._woken.get(timeout=seconds)

    def may_end(self) -> bool:
        """Whether it is the caller who has to end the turn: True once, while it is open."""
        if not self.started or self.over or self.elsewhere:
            return False
        return self._ending.acquire(blocking=False)

    def drop(self, reason: str) -> None:
        """Tell the turn that its caller is gone; it may have appends to make."""
        self.hang_up()
        self.throw(TurnDropped(reason, self.partial, self.calling_for))

    def calling(self, request: ModelRequest) -> ModelRequest:
        """A model call begins, and is to know when the turn is cancelled."""
        self._calling_since = self.clock()
        return msgspec.structs.replace(request, cancelled=lambda: self.cancelled is not None)

    def heard(self, delta: Delta) -> None:
        """A piece of the answer has arrived."""
        self._deltas.append(delta)

    @property
    def calling_for(self) -> float:
        """Seconds since the model was called, to the microsecond: the log keeps every digit."""
        return 0.0 if self._calling_since is None else round(self.clock() - self._calling_since, 6)

    @property
    def partial(self) -> Message | None:
        """What has arrived of the answer, None if nothing has."""
        reasoning = "".join(d.text for d in self._deltas if isinstance(d, ReasoningDelta))
        text = "".join(d.text for d in self._deltas if isinstance(d, TextDelta))
        parts: list[Part] = [ReasoningPart(reasoning)] if reasoning else []
        parts += [TextPart(text)] if text else []
        return Message("assistant", tuple(parts)) if parts else None
