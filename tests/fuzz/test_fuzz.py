import pytest

from tests.fuzz.runner import run
from tests.fuzz.targets import NAMES, target

CASES = 1000
FEWER = {"lines": 400, "rows": 200, "turn": 200}
SEED = 1

PASSED = {
    "stream": "Answer",
    "whole": "Answer",
    "responses-stream": "Answer",
    "responses-whole": "Answer",
    "gemini-stream": "Answer",
    "gemini-whole": "Answer",
    "ollama-stream": "Answer",
    "ollama-whole": "Answer",
    "messages-stream": "Answer",
    "messages-whole": "Answer",
    "failure": "RateLimited",
    "sse": "5 events",
    "arguments": "run",
    "output": "fits and rejected",
    "export": "the original",
    "forged": "accepted, then a turn",
    "lines": "imported",
    "rows": "all is well",
    "turn": "Response",
}
"""What came of cases that were let through: without any, a target would prove nothing."""


@pytest.mark.unreplayed
@pytest.mark.parametrize("name", NAMES)
def test_what_comes_from_outside_has_an_outcome(name: str) -> None:
    """Mutated input ends in a result or an error of ours, in bounded time and memory."""
    made = target(name)
    count = FEWER.get(name, CASES)
    try:
        tally = run(made, SEED, range(count))
    finally:
        made.close()
    assert {kind: found.trace for kind, found in tally.findings.items()} == {}
    assert tally.outcomes.total() == count
    assert 0 < tally.outcomes[PASSED[name]] < count
