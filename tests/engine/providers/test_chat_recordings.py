"""Recordings of real servers, if there are any beside the repository."""

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest

from agent.engine.errors import (
    AuthenticationFailed,
    BadRequest,
    MalformedResponse,
    ModelNotFound,
    ProviderError,
    RateLimited,
    ServerFailed,
)
from agent.engine.provider import Answer
from agent.engine.providers.chat_failures import Asked, read_failure
from agent.engine.providers.chat_parsing import StreamParser, WholeParser
from tests.engine.providers.given import Read, cut

CORPUS = Path(__file__).parents[4] / "shared" / "corpus"

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason="no ../shared/corpus")

CLASSES: dict[str, tuple[type[ProviderError], ...]] = {
    "BadRequestError": (BadRequest,),
    "AuthenticationError": (AuthenticationFailed,),
    "PermissionDeniedError": (AuthenticationFailed,),
    "NotFoundError": (ModelNotFound,),
    "RateLimitError": (RateLimited,),
    "InternalServerError": (ServerFailed,),
    "APIError": (BadRequest, RateLimited, ServerFailed),
}
EXCEPTIONS = {
    "56bb3d8a9423e752": "the oracle joins an id and a name that the server repeats",
    "67f77b7538c51b01": "the body is a line of text, which the oracle takes for an empty answer",
    "36b5939a09997027": "the oracle leaves id and model out where a choice has no message",
}


def recordings() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each recording with what is expected of it."""

    def lines(name: str) -> list[dict[str, Any]]:
        with gzip.open(CORPUS / name, "rt") as file:
            return [json.loads(line) for line in file]

    expected = {one["id"]: one for one in lines("expected.jsonl.gz")}
    chosen = (one for one in lines("records.jsonl.gz") if one["api"] == "chat_completions")
    return [(one, expected[one["id"]]) for one in chosen]


def read(record: dict[str, Any], places: list[int]) -> Answer | ProviderError:
    """What we make of a recorded response that comes in pieces."""
    response = record["response"]
    body = response["body"].encode()
    if response["status"] >= 400:
        asked = Asked("openai", "m", "https://example.com", "K")
        return read_failure(asked, response["status"], response["headers"], body)
    parser = StreamParser("openai") if record["stream"] else WholeParser("openai")
    try:
        return Read(parser, *cut(body, places)).answer
    except ProviderError as error:
        return error


def differences(found: Answer | ProviderError, expected: dict[str, Any]) -> list[str]:
    """What we see differently; "" and null are the same."""
    if isinstance(found, ProviderError) or expected["kind"] == "error":
        return _error_differences(found, expected)
    message, used = found.message, expected.get("usage") or {}
    counted = found.usage
    pairs: list[tuple[str, Any, Any]] = [
        ("text", message.text, expected["text"]),
        ("refusal", message.refusal, expected.get("refusal")),
        ("reasoning", _reasoning(message), expected.get("reasoning")),
        ("calls", _calls(message), _expected_calls(expected)),
        ("finish reason", found.raw_finish_reason, expected["finish_reason"]),
        ("input", counted.input_tokens, used.get("input")),
        ("output", counted.output_tokens, used.get("output")),
        ("cached", counted.cached_tokens, used.get("cached_input")),
        ("reasoned", counted.reasoning_tokens, used.get("reasoning")),
        ("id", found.response_id, expected.get("response_id")),
        ("model", found.model, expected.get("model")),
    ]
    return [
        f"{name}: {ours!r}, {theirs!r}"
        for name, ours, theirs in pairs
        if (ours or theirs) and ours != theirs
    ]


def _error_differences(found: Answer | ProviderError, expected: dict[str, Any]) -> list[str]:
    if not isinstance(found, ProviderError) or expected["kind"] != "error":
        return [f"{found!r}, {expected['kind']}"]
    code = expected.get("code")
    pairs: list[tuple[str, Any, Any]] = [
        ("class", isinstance(found, CLASSES[expected["error_class"]]), True),
        ("status", found.status, expected["status"]),
        ("message", expected["message"].rstrip(".") in str(found), True),
        ("type", found.type, expected.get("error_type")),
    ]
    if code is not None:
        pairs.append(("code", found.code, str(code)))
    return [f"{name}: {ours!r}, {theirs!r}" for name, ours, theirs in pairs if ours != theirs]


def _reasoning(message: Any) -> str:
    return "".join(part.text for part in message.parts if part.type == "reasoning")


def _calls(message: Any) -> list[tuple[str, str, Any]]:
    return [
        (call.call_id, call.name, json.loads(call.arguments or "{}")) for call in message.tool_calls
    ]


def _expected_calls(expected: dict[str, Any]) -> list[tuple[str, str, Any]]:
    return [(call["id"] or "", call["name"], call["arguments"]) for call in expected["tool_calls"]]


@pytest.mark.parametrize("cuts", [0, 1, 40, 2000])
def test_we_read_recordings_as_the_vendors_do(cuts: int) -> None:
    """Whole and cut at random bytes: text, calls, usage and errors are what their SDKs see."""
    chance = random.Random(cuts)
    different: dict[str, list[str]] = {}
    for record, expected in recordings():
        length = len(record["response"]["body"].encode())
        places = [chance.randint(0, length) for _ in range(cuts)]
        found = differences(read(record, places), expected)
        if found:
            different[record["id"]] = found
    unexpected = {name: found for name, found in different.items() if name not in EXCEPTIONS}
    assert unexpected == {}


def test_the_exceptions_are_what_we_say() -> None:
    """Where the oracle is wrong, this is what we read instead."""
    found = {
        record["id"]: read(record, []) for record, _ in recordings() if record["id"] in EXCEPTIONS
    }
    repeated = found["56bb3d8a9423e752"]
    assert isinstance(repeated, Answer)
    assert _calls(repeated.message) == [("0", "llm_version", {})]
    assert isinstance(found["67f77b7538c51b01"], MalformedResponse)
    filtered = found["36b5939a09997027"]
    assert isinstance(filtered, Answer)
    assert (filtered.finish_reason, filtered.usage.output_tokens) == ("content_filter", 19)
