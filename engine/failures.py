"""Errors as facts: what the log keeps of them."""

from __future__ import annotations

from agent.engine.errors import LimitExceeded, ProviderError
from agent.eventstore.values import Failure


class RecordedFailure(ProviderError):
    """A failure of the past, served again. ``retryable`` says whether it was tried again then."""

    def __init__(self, failure: Failure, *, retried: bool) -> None:
        super().__init__(failure.message, status=failure.status, retryable=retried)
        self.failure = failure


def failure_of(error: Exception) -> Failure:
    """An error as a fact."""
    name, text = type(error).__name__, str(error).encode(errors="replace").decode()
    match error:
        case RecordedFailure():
            return error.failure
        case ProviderError():
            told = (error.status, error.code, error.request_id, error.retryable)
            return Failure(name, text, *told)
        case LimitExceeded():
            return Failure(name, text, code=error.limit)
        case _:
            return Failure(name, text)
