"""A streamed text delta, from a chunk of the body to the caller: parsing, the turn, the stream."""

from collections.abc import Iterator

import msgspec

from agent import Agent
from tests.benchmarks.given import Figure, Played, cpu_ms, median

DELTAS, ROUNDS = 5000, 9


def figures() -> Iterator[Figure]:
    """CPU of a long stream less that of a short one, a delta."""
    long, short = (Agent(Played(_chunks(count)), "gpt-4o") for count in (DELTAS, 0))
    samples = [cpu_ms(lambda: _read(long)) - cpu_ms(lambda: _read(short)) for _ in range(ROUNDS)]
    yield Figure("a text delta", median(samples) / DELTAS * 1000, "µs CPU", 15)


def _read(agent: Agent) -> None:
    for _ in agent.session().stream("Go on"):
        pass


def _chunks(count: int) -> list[bytes]:
    end = {"index": 0, "delta": {}, "finish_reason": "stop"}
    deltas = [{"index": 0, "delta": {"content": f" word{n}"}} for n in range(count)]
    return [*(_chunk(choice) for choice in [*deltas, end]), b"data: [DONE]\n\n"]


def _chunk(choice: dict[str, object]) -> bytes:
    body = {
        "id": "chatcmpl-CQ5nXyLm0wTzV3pQ8rK1sD7uFhGjA",
        "object": "chat.completion.chunk",
        "created": 1760000000,
        "model": "gpt-4o-2024-08-06",
        "service_tier": "default",
        "system_fingerprint": "fp_eb3c3cb84d",
        "choices": [choice],
        "usage": None,
        "obfuscation": "aZ8kQp2",
    }
    return b"data: " + msgspec.json.encode(body) + b"\n\n"
