"""Errors as facts: what the log keeps of them."""

from __future__ import annotations

from agent.engine.errors import ProviderError
from agent.eventstore.values import Failure


def failure_of(error: Exception) -> Failure:
    """An error as a fact."""
    text = str(error).encode(errors="replace").decode()
    if not isinstance(error, ProviderError):
        return Failure(type(error).__name__, text)
    return Failure(
        type(error).__name__, text, error.status, error.code, error.request_id, error.retryable
    )
