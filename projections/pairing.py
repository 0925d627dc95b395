"""Strict pairing of tool calls and results: what every provider demands of a history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.eventstore.errors import AgentError

if TYPE_CHECKING:
    from agent.eventstore.messages import Message


class PairingError(AgentError):
    """A tool call without its result, or a result without its call, in the history.

    ``call_id`` names it. Add the missing message, or clear or rewind the history.
    """

    def __init__(self, reason: str, *, call_id: str) -> None:
        super().__init__(f"tool call {call_id!r}: {reason}")
        self.call_id = call_id


class Pairing:
    """Checks a history message by message, in the order in which a model would read it."""

    def __init__(self) -> None:
        self._waiting: tuple[str, ...] = ()

    def copy(self) -> Pairing:
        """An independent check that has seen the same."""
        pairing = Pairing()
        pairing._waiting = self._waiting
        return pairing

    def see(self, message: Message) -> None:
        """Take the next message. Raises :class:`PairingError`."""
        results = [part.call_id for part in message.tool_results]
        calls = [part.call_id for part in message.tool_calls]
        for call_id in results:
            if results.count(call_id) > 1:
                raise PairingError("has several results", call_id=call_id)
            if call_id not in self._waiting:
                raise PairingError(
                    "has a result, but the message before did not ask", call_id=call_id
                )
        for call_id in self._waiting:
            if call_id not in results:
                raise PairingError("has no result in the message that follows", call_id=call_id)
        for call_id in calls:
            if calls.count(call_id) > 1:
                raise PairingError("is asked for twice in one message", call_id=call_id)
        self._waiting = tuple(calls)

    def end(self) -> None:
        """The history ends here. Raises :class:`PairingError` for calls that still wait."""
        for call_id in self._waiting:
            raise PairingError("has no result", call_id=call_id)
