"""What can go wrong when the tables are asked."""

from __future__ import annotations

from agent.eventstore.errors import AgentError


class QueryFailed(AgentError):
    """A query that SQLite refuses, that would write, or that took too long. Nothing was changed.

    ``reason`` is SQLite's own, or how long it was given.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"the query failed: {reason}")
        self.reason = reason
