import pytest

from agent.engine.errors import BadRequest, RateLimited, ServerFailed
from agent.engine.retries import LONGEST_WAIT, retry_delay
from agent.engine.settings import Limits
from tests.engine.given import failed, fixed_sources


def delay(
    attempt: int = 1, *, jitter: float = 0.0, max_retries: int = 2, **options
) -> float | None:
    """Seconds until the next attempt."""
    return retry_delay(
        failed(**options),
        attempt=attempt,
        limits=Limits(max_retries=max_retries),
        sources=fixed_sources(jitter=jitter),
    )


def test_waits_grow():
    """Half a second doubles with each attempt, up to eight seconds."""
    waits = [delay(attempt, max_retries=9) for attempt in range(1, 8)]

    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


@pytest.mark.parametrize(("jitter", "wait"), [(0.0, 0.5), (0.5, 0.4375), (1.0, 0.375)])
def test_chance_shortens_a_wait(jitter: float, wait: float):
    """Chance takes off up to a quarter, so that clients do not come back together."""
    assert delay(jitter=jitter) == wait


@pytest.mark.parametrize(("retries", "allowed"), [(0, 0), (1, 1), (2, 2), (5, 5)])
def test_allowed_attempts(retries: int, allowed: int):
    """There are as many further attempts as the limit says."""
    waits = [delay(attempt, max_retries=retries) for attempt in range(1, 8)]

    assert [wait is not None for wait in waits] == [n < allowed for n in range(7)]


@pytest.mark.parametrize("seconds", [0.0, 0.25, 30.0, LONGEST_WAIT])
def test_server_decides(seconds: float):
    """A wait that the server asks for is taken as it is, without chance."""
    assert delay(retry_after=seconds, jitter=1.0) == seconds


def test_too_long_a_wait():
    """A server that asks for more than the longest wait is given up."""
    assert delay(retry_after=LONGEST_WAIT + 1) is None


def test_server_does_not_raise_the_limit():
    """The number of attempts counts also where the server says when to come back."""
    assert delay(3, retry_after=0.0) is None


@pytest.mark.parametrize("error", [BadRequest("no"), ServerFailed("no"), RateLimited("no")])
def test_permanent_failures(error: Exception):
    """A failure that is not marked as retryable is not tried again."""
    assert delay(error=error) is None


@pytest.mark.parametrize("partial", ["Hel", ""])
def test_partial_answers(partial: str):
    """Never after a part of the answer was handed out, whatever the server says."""
    assert delay(partial=partial) is None
    assert delay(partial=partial, retry_after=0.0) is None
