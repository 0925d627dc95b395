"""Logging: structlog over the standard library's logger ``agent``.

Silent until the application configures logging, and never on stdout. structlog is imported when
the first line is really wanted.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger

_logger = logging.getLogger("agent")
_logger.addHandler(logging.NullHandler())


def log(event: str, *, level: int = logging.INFO, **fields: Any) -> None:  # noqa: ANN401 - log fields
    """Say what happened, with fields; costs nothing while nobody listens."""
    if _logger.isEnabledFor(level) and _logger.hasHandlers():
        _structured().log(level, event, **fields)


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
