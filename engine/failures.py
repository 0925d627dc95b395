"""Errors as facts: what the log keeps of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.engine.errors import ProviderError
from agent.eventstore.values import Failure

if TYPE_CHECKING:
    from agent.eventstore.errors import AgentError


def failure_of(error: AgentError) -> Failure:
    """An error as a fact."""
    text = str(error).encode(errors="replace").decode()
    if not isinstance(error, ProviderError):
        return Failure(type(error).__name__, text)
    return Failure(
        type(error).__name__, text, error.status, error.code, error.request_id, error.retryable
    )
