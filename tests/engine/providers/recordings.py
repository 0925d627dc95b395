"""Recordings of real servers, and what the vendors' own clients make of them.

They lie beside the repository, if anywhere; tests that need them are skipped without them.
"""

import functools
import gzip
import json
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from agent.engine.errors import (
    AuthenticationFailed,
    BadRequest,
    ModelNotFound,
    ProviderError,
    RateLimited,
    ServerFailed,
)
from agent.engine.http.exchange import Parser
from agent.engine.provider import Answer
from agent.engine.providers.failures import Asked, read_failure
from tests.engine.providers.reading import Read, cut

CORPUS = Path(__file__).parents[4] / "shared" / "corpus"

needs_recordings = pytest.mark.skipif(not CORPUS.is_dir(), reason="no ../shared/corpus")

Record = dict[str, Any]
Outcome = Answer | ProviderError
Pairs = list[tuple[str, object, object]]
"""What is compared: its name, ours, theirs."""

CLASSES: dict[str, tuple[type[ProviderError], ...]] = {
    "BadRequestError": (BadRequest,),
    "AuthenticationError": (AuthenticationFailed,),
    "PermissionDeniedError": (AuthenticationFailed,),
    "NotFoundError": (ModelNotFound,),
    "RateLimitError": (RateLimited,),
    "InternalServerError": (ServerFailed,),
    "APIError": (BadRequest, RateLimited, ServerFailed),
    "ClientError": (BadRequest, AuthenticationFailed, ModelNotFound, RateLimited),
}


@functools.cache
def _expected() -> dict[str, Record]:
    return {one["id"]: one for one in _lines("expected.jsonl.gz")}


def _lines(name: str) -> Iterator[Record]:
    with gzip.open(CORPUS / name, "rt") as file:
        for line in file:
            yield json.loads(line)


def recordings(api: str) -> Iterator[tuple[Record, Record | None]]:
    """Each recording of an API with what is expected of its response, if anything is."""
    for record in _lines("records.jsonl.gz"):
        if record["api"] == api:
            yield record, _expected().get(record["id"])


def reads(stream: Callable[[], Parser], whole: Callable[[], Parser]) -> Callable[[Record], Parser]:
    """What reads a recorded response, by whether it is a stream."""
    return lambda record: stream() if record["stream"] else whole()


def outcome(record: Record, parser: Parser, places: list[int]) -> Outcome:
    """What we make of a recorded response that comes in pieces."""
    response = record["response"]
    body = response["body"].encode()
    if response["status"] >= 400:
        asked = Asked(record["provider"], "m", "https://example.com", "K")
        return read_failure(asked, response["status"], response["headers"], body)
    try:
        return Read(parser, *cut(body, places)).answer
    except ProviderError as error:
        return error


def check_recordings(
    api: str,
    cuts: int,
    parser: Callable[[Record], Parser],
    compared: Callable[[Answer, Record], Pairs],
    exceptions: Mapping[str, str],
) -> None:
    """Whole or cut at random bytes, we read what is expected; but for the exceptions, by id."""
    chance, different = random.Random(cuts), dict[str, list[str]]()
    for record, expected in recordings(api):
        if expected is None:
            continue
        length = len(record["response"]["body"].encode())
        places = [chance.randint(0, length) for _ in range(cuts)]
        found = outcome(record, parser(record), places)
        seen = differences(found, expected, compared)
        if seen:
            different[record["id"]] = seen
    assert {name: seen for name, seen in different.items() if name not in exceptions} == {}


def differences(
    found: Outcome, expected: Record, compared: Callable[[Answer, Record], Pairs]
) -> list[str]:
    """What we see differently; "" and null are the same."""
    if isinstance(found, ProviderError) or expected["kind"] == "error":
        return _error_differences(found, expected)
    return [
        f"{name}: {ours!r}, {theirs!r}"
        for name, ours, theirs in compared(found, expected)
        if (ours or theirs) and ours != theirs
    ]


def _error_differences(found: Outcome, expected: Record) -> list[str]:
    if not isinstance(found, ProviderError) or expected["kind"] != "error":
        return [f"{found!r}, {expected['kind']}"]
    code = expected.get("code")
    pairs: Pairs = [
        ("class", isinstance(found, CLASSES[expected["error_class"]]), True),
        ("status", found.status, expected["status"]),
        ("message", expected["message"].rstrip(".") in str(found), True),
        ("type", found.type, expected.get("error_type")),
    ]
    if code is not None:
        pairs.append(("code", found.code, str(code)))
    return [f"{name}: {ours!r}, {theirs!r}" for name, ours, theirs in pairs if ours != theirs]


def answer_pairs(found: Answer, expected: Record) -> Pairs:
    """What the oracles of all APIs say in the same words."""
    message = found.message
    return [
        ("text", message.text, expected["text"]),
        ("reasoning", Read.reasoning_of(message), expected.get("reasoning")),
        ("calls", calls(found), expected_calls(expected)),
        ("finish reason", found.raw_finish_reason, expected["finish_reason"]),
        ("id", found.response_id, expected.get("response_id")),
        ("model", found.model, expected.get("model")),
    ]


def calls(found: Answer) -> list[tuple[str, str, Any]]:
    """Id, name and decoded arguments of each call."""
    return [
        (call.call_id, call.name, json.loads(call.arguments or "{}"))
        for call in found.message.tool_calls
    ]


def expected_calls(expected: Record) -> list[tuple[str, str, Any]]:
    """The same as the oracle saw them."""
    return [(call["id"] or "", call["name"], call["arguments"]) for call in expected["tool_calls"]]
