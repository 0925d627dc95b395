"""Gemini as real servers speak it."""

import json
from collections import Counter
from typing import Any

import pytest

from agent.engine.provider import Answer
from agent.engine.providers.generate_content.decoding import read_body
from agent.engine.providers.generate_content.parts import camel
from tests.engine.providers.generate_content.given import (
    ORIGIN,
    items,
    stream_parser,
    whole_parser,
)
from tests.engine.providers.given import body_of, prompt, provider_of
from tests.engine.providers.recordings import (
    Pairs,
    Record,
    answer_pairs,
    check_recordings,
    needs_recordings,
    outcome,
    reads,
    recordings,
)

pytestmark = needs_recordings


parser = reads(stream_parser, whole_parser)


def compared(found: Answer, expected: Record) -> Pairs:
    """Everything that the oracle says; it counts thoughts beside the output."""
    used = expected.get("usage") or {}
    given = (used.get("input") or 0) + (used.get("tool_use_input") or 0)
    made = (used.get("output") or 0) + (used.get("reasoning") or 0)
    return [
        *answer_pairs(found, expected),
        ("input", found.usage.input_tokens, given),
        ("output", found.usage.output_tokens, made),
        ("cached", found.usage.cached_tokens, used.get("cached_input")),
        ("reasoned", found.usage.reasoning_tokens, used.get("reasoning")),
    ]


@pytest.mark.parametrize("cuts", [0, 1, 40, 2000])
def test_we_read_recordings_as_the_vendor_does(cuts: int) -> None:
    """Whole and cut at random bytes: text, calls, usage and errors are what its SDK sees."""
    check_recordings("generate_content", cuts, parser, compared, {})


def joined(parts: list[Any]) -> list[Any]:
    """The same parts: bare text without what is empty, joined with its neighbours."""
    kept: list[Any] = []
    for part in parts:
        bare = part.keys() <= {"text", "thought"}
        if bare and not part["text"]:
            continue
        if bare and kept and kept[-1].keys() == part.keys():
            kept[-1] = {**part, "text": kept[-1]["text"] + part["text"]}
        else:
            kept.append(part)
    return kept


def said(body: str) -> list[Any]:
    """The parts of a recorded response."""
    try:
        value = json.loads(body)
    except ValueError:
        value = [json.loads(line[5:]) for line in body.splitlines() if line.startswith("data:")]
    events = value if isinstance(value, list) else [value]
    contents = [one.get("content", {}) for event in events for one in event.get("candidates", ())]
    return [part for content in contents for part in content.get("parts", ())]


def test_what_was_said_goes_back_as_it_came() -> None:
    """Every part with its signature, in its place; only a call's missing signature is added."""
    seen = 0
    for record, _ in recordings("generate_content"):
        found = outcome(record, parser(record), [])
        if not isinstance(found, Answer):
            continue
        sent = [part for item in items(found.message) for part in item["parts"]]
        parts = [_unsigned(part) for part in sent]
        assert parts == joined(said(record["response"]["body"])), record["id"]
        seen += bool(parts)
    assert seen > 200


def _unsigned(part: Any) -> Any:
    invented = part.get("thoughtSignature") == "skip_thought_signature_validator"
    return {key: value for key, value in part.items() if not (invented and "Sig" in key)}


# Requests


def meaning(contents: list[Any]) -> list[Any]:
    """What contents say, however it is written."""
    said: list[Any] = []
    for content in contents:
        role = content.get("role") or "user"
        parts = joined([_unsigned(camel(part)) for part in content["parts"]])
        if said and said[-1][0] == role:
            said[-1][1].extend(parts)
        else:
            said.append((role, parts))
    return [(role, sorted(parts, key=_result_of)) for role, parts in said]


def _result_of(part: Any) -> str:
    """Results stand before what else a user says, in any order."""
    if "functionResponse" not in part:
        return "~"
    return json.dumps(part["functionResponse"], sort_keys=True)


def test_recorded_requests_survive_being_read() -> None:
    """Read and written back, a conversation says the same."""
    kinds = Counter[str]()
    for record, _ in recordings("generate_content"):
        body = record["request"]["body"]
        transcript = read_body(body, ORIGIN)
        asked = prompt(ORIGIN.model, system=transcript.system)
        again = body_of(provider_of("gemini"), transcript.messages, asked)
        assert meaning(again["contents"]) == meaning(body["contents"]), record["id"]
        given = (body.get("systemInstruction") or {}).get("parts", [])
        texts = [part["text"] for part in again.get("systemInstruction", {}).get("parts", ())]
        assert "".join(texts) == "\n\n".join(part["text"] for part in given)
        kinds.update(message.role for message in transcript.messages)
    assert kinds.keys() == {"user", "assistant", "tool"}
