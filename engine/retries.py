"""When a failed model call is made again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.engine.errors import ProviderError

if TYPE_CHECKING:
    from agent.engine.effects import CallFailed
    from agent.engine.settings import Limits
    from agent.engine.sources import Sources

LONGEST_WAIT = 120.0
"""A provider that asks for a longer wait (seconds) is not waited for."""

_FIRST_WAIT = 0.5
_LONGEST_OWN_WAIT = 8.0
_JITTER = 0.25


def retry_delay(
    failed: CallFailed, *, attempt: int, limits: Limits, sources: Sources
) -> float | None:
    """Seconds to wait before the next attempt, None to give up.

    Never after a part of the answer was handed to the caller: it would be said twice. The waits
    are those of the vendors' own clients: what the server asks for, else half a second doubled
    each time up to eight, less up to a quarter by chance.
    """
    error = failed.error
    if not isinstance(error, ProviderError) or not error.retryable:
        return None
    if failed.partial is not None or attempt > limits.max_retries:
        return None
    if error.retry_after is not None:
        return error.retry_after if error.retry_after <= LONGEST_WAIT else None
    wait = min(_FIRST_WAIT * 2 ** (attempt - 1), _LONGEST_OWN_WAIT)
    return wait * (1 - _JITTER * sources.jitter())
