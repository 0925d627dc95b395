"""Strict pairing of tool calls and results: what every provider demands of a history."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.eventstore.errors import AgentError

if TYPE_CHECKING:
    from agent.eventstore.messages import Message


class PairingError(AgentError):
    """A tool call without its result, or a result without its call, in the history.

    ``call_id`` names it. A missing result can be added as the next message; ``clear`` or a fork of
    an earlier version leaves behind what cannot be mended.
    """

    def __init__(self, reason: str, *, call_id: str) -> None:
        super().__init__(f"tool call {call_id!r} {reason}")
        self.call_id = call_id


class Pairing:
    """Checks a history message by message, in the order in which a model would read it.

    Only the message before counts: the check may begin after any, given as ``last``.
    """

    def __init__(self, last: Message | None = None) -> None:
        self._waiting = _asked(last) if last else ()

    def copy(self) -> Pairing:
        """An independent check that has seen the same."""
        pairing = Pairing()
        pairing._waiting = self._waiting
        return pairing

    def see(self, message: Message) -> None:
        """Take the next message. Raises :class:`PairingError`."""
        results = [part.call_id for part in message.tool_results]
        for call_id in results:
            if results.count(call_id) > 1:
                raise PairingError("has several results; keep one", call_id=call_id)
            if call_id not in self._waiting:
                raise PairingError(
                    "has a result, but the message before does not make this call; add the "
                    "assistant's message with the call first",
                    call_id=call_id,
                )
        for call_id in self._waiting:
            if call_id not in results:
                raise _missing(call_id)
        calls = _asked(message)
        for call_id in calls:
            if calls.count(call_id) > 1:
                raise PairingError(
                    "is made twice in one message; give each call its own id", call_id=call_id
                )
        self._waiting = calls

    def end(self) -> None:
        """The history ends here. Raises :class:`PairingError` for calls that still wait."""
        for call_id in self._waiting:
            raise _missing(call_id)


def _asked(message: Message) -> tuple[str, ...]:
    return tuple(part.call_id for part in message.tool_calls)


def _missing(call_id: str) -> PairingError:
    return PairingError(
        "has no result; the next message must be Message.tool(ToolResultPart(...), ...) with the "
        "results of all calls, or clear the history",
        call_id=call_id,
    )
