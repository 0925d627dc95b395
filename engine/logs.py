"""Logging: structlog over the standard library's logger ``agent``.

The lines are the events, with their figures and without their contents. Silent until the
application configures logging, and never on stdout. structlog is imported when the first line is
really wanted.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING

from agent.eventstore.events import (
    ApprovalGranted,
    ApprovalRejected,
    ApprovalRequested,
    Event,
    ModelFailed,
    ModelRequested,
    ModelResponded,
    ToolCalled,
    ToolReturned,
    TurnAbandoned,
    TurnFailed,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from structlog.stdlib import BoundLogger

    from agent.eventstore.record import Recorded

_logger = logging.getLogger("agent")
_logger.addHandler(logging.NullHandler())

_LOUD = {"model.failed": logging.WARNING, "turn.failed": logging.WARNING}


def log(event: str, *, level: int = logging.INFO, **fields: object) -> None:
    """Say what happened, with fields; costs nothing while nobody listens."""
    if _heard(level):
        _structured().log(level, event, **fields)


def log_appended(session_id: str, turn: int | None, recorded: Sequence[Recorded]) -> None:
    """Say which events have become durable; ``turn`` is the version at which their turn began."""
    for fact in recorded:
        level = _LOUD.get(fact.type, logging.INFO)
        if _heard(level):
            bound = {"session_id": session_id, "version": fact.version, "turn": turn}
            log(fact.type, level=level, **bound, **_figures(fact.event))


def _heard(level: int) -> bool:
    """Whether any handler but our own silent one would be given a line."""
    if not _logger.isEnabledFor(level):
        return False
    logger: logging.Logger | None = _logger
    while logger is not None:
        if any(not isinstance(handler, logging.NullHandler) for handler in logger.handlers):
            return True
        logger = logger.parent if logger.propagate else None
    return False


def _figures(event: Event) -> dict[str, object]:
    match event:
        case ModelRequested():
            return {"model": event.model, "step": event.step, "attempt": event.attempt}
        case ModelResponded(usage=usage):
            tokens = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
            return {"elapsed": event.elapsed, "finish_reason": event.finish_reason, **tokens}
        case ModelFailed(error=error):
            return {"elapsed": event.elapsed, "error": error.message, "status": error.status}
        case ToolCalled():
            return {"call_id": event.call_id, "tool": event.tool}
        case ToolReturned():
            failed = event.is_error
            return {"call_id": event.call_id, "elapsed": event.elapsed, "is_error": failed}
        case ApprovalRequested() | ApprovalGranted() | ApprovalRejected():
            return {"call_id": event.call_id}
        case TurnFailed(error=error):
            return {"error": error.message}
        case TurnAbandoned(reason=reason):
            return {"reason": reason}
        case _:
            return {}


@cache
def _structured() -> BoundLogger:
    import structlog  # noqa: PLC0415 - slow to import

    processors = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.render_to_log_kwargs,
    ]
    wrapped = structlog.wrap_logger(
        _logger, processors=processors, wrapper_class=structlog.stdlib.BoundLogger
    )
    return wrapped.bind()
