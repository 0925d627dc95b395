"""Chat Completions as real servers speak it."""

import pytest

from agent.engine.errors import MalformedResponse
from agent.engine.provider import Answer
from tests.engine.providers.chat_completions.given import stream_parser, whole_parser
from tests.engine.providers.recordings import (
    Outcome,
    Pairs,
    Record,
    answer_pairs,
    calls,
    check_recordings,
    needs_recordings,
    outcome,
    reads,
    recordings,
)

pytestmark = needs_recordings

EXCEPTIONS = {
    "56bb3d8a9423e752": "the oracle joins an id and a name that the server repeats",
    "67f77b7538c51b01": "the body is a line of text, which the oracle takes for an empty answer",
    "36b5939a09997027": "the oracle leaves id and model out where a choice has no message",
}


parser = reads(stream_parser, whole_parser)


def compared(found: Answer, expected: Record) -> Pairs:
    """Everything that the oracle says."""
    used = expected.get("usage") or {}
    return [
        *answer_pairs(found, expected),
        ("refusal", found.message.refusal, expected.get("refusal")),
        ("input", found.usage.input_tokens, used.get("input")),
        ("output", found.usage.output_tokens, used.get("output")),
        ("cached", found.usage.cached_tokens, used.get("cached_input")),
        ("reasoned", found.usage.reasoning_tokens, used.get("reasoning")),
    ]


@pytest.mark.parametrize("cuts", [0, 1, 40, 2000])
def test_we_read_recordings_as_the_vendors_do(cuts: int) -> None:
    """Whole and cut at random bytes: text, calls, usage and errors are what their SDKs see."""
    check_recordings("chat_completions", cuts, parser, compared, EXCEPTIONS)


def test_the_exceptions_are_what_we_say() -> None:
    """Where the oracle is wrong, this is what we read instead."""
    found: dict[str, Outcome] = {
        record["id"]: outcome(record, parser(record), [])
        for record, _ in recordings("chat_completions")
        if record["id"] in EXCEPTIONS
    }
    repeated = found["56bb3d8a9423e752"]
    assert isinstance(repeated, Answer)
    assert calls(repeated) == [("0", "llm_version", {})]
    assert isinstance(found["67f77b7538c51b01"], MalformedResponse)
    filtered = found["36b5939a09997027"]
    assert isinstance(filtered, Answer)
    assert (filtered.finish_reason, filtered.usage.output_tokens) == ("content_filter", 19)
