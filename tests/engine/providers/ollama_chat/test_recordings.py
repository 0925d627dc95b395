"""Ollama as real servers speak it."""

import json
import random

from agent.engine.provider import Answer
from agent.engine.providers.ollama_chat.decoding import read_body
from tests.engine.providers.ollama_chat.given import ORIGIN, items, stream_parser, whole_parser
from tests.engine.providers.recordings import needs_recordings, outcome, reads, recordings

pytestmark = needs_recordings


parser = reads(stream_parser, whole_parser)


def test_recorded_answers_are_whole() -> None:
    """Whole and cut at random bytes: all of the text, and the counts of the last line."""
    chance = random.Random(1)
    seen = 0
    for record, _ in recordings("ollama_chat"):
        body = record["response"]["body"]
        said = [json.loads(line) for line in body.splitlines() if line]
        for cuts in (0, 1, 40, 2000):
            places = [chance.randint(0, len(body)) for _ in range(cuts)]
            found = outcome(record, parser(record), places)
            assert isinstance(found, Answer)
            assert found.message.text == "".join(line["message"]["content"] for line in said)
            assert found.usage.input_tokens == said[-1]["prompt_eval_count"]
            assert found.usage.output_tokens == said[-1]["eval_count"]
            assert (found.raw_finish_reason, found.model) == ("stop", said[0]["model"])
            seen += 1
    assert seen > 0


def test_recorded_requests_survive_being_read() -> None:
    """Read and written back, a conversation is the same."""
    for record, _ in recordings("ollama_chat"):
        given = record["request"]["body"]["messages"]
        messages = read_body({"messages": given}, ORIGIN).messages
        assert [item for message in messages for item in items(message)] == given
