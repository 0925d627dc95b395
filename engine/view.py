"""A session as it was: what can be looked at, and never changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.eventstore.values import metadata_dict
from agent.projections.diff import Difference, diff

if TYPE_CHECKING:
    from agent.eventstore.messages import Message
    from agent.eventstore.values import ToolDefinition
    from agent.projections.session import SessionState
    from agent.projections.turn import Turn
    from agent.projections.usage import SessionUsage


class View:
    """A session at one version: read-only, and cheap to keep."""

    def __init__(self, state: SessionState) -> None:
        self._state = state

    @property
    def version(self) -> int:
        """How many events the session has, inherited ones included; 0 before its first turn."""
        return self._state.version

    @property
    def messages(self) -> list[Message]:
        """The history, a fresh list. An open turn is no part of it."""
        return self._state.conversation.messages

    @property
    def system(self) -> str | None:
        """The system prompt."""
        return self._state.conversation.system

    @property
    def metadata(self) -> dict[str, object]:
        """The application's own data about the session, a fresh dictionary."""
        return metadata_dict(self._state.conversation.metadata)

    @property
    def usage(self) -> SessionUsage:
        """Tokens spent, own and inherited apart."""
        return self._state.usage

    @property
    def tools(self) -> tuple[ToolDefinition, ...]:
        """The tools that were offered to the model last; those of a turn come with its start."""
        return self._state.conversation.tools.definitions

    @property
    def turn(self) -> Turn | None:
        """The open turn, as far as it has come; None when the session is settled."""
        return self._state.conversation.turn

    @property
    def parent(self) -> str | None:
        """The id of the session that this one was forked from."""
        return self._state.lineage.parent

    def diff(self, other: View) -> Difference:
        """How the other differs from this one, whichever sessions they belong to.

        What both have in common costs nothing, whatever its length.
        """
        return diff(self._state, other._state)
