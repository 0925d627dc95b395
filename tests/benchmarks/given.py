"""Sessions of a chosen length, models without a network, CPU time, and figures with their bars."""

import statistics
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec

from agent import Agent
from agent.engine.http import Exchange
from agent.engine.provider import Answer, Delta
from agent.engine.providers.chat_completions.api import ChatCompletions
from agent.engine.providers.vendors import OPENAI
from agent.stores import SQLiteStore
from agent.testing import ScriptedModel

QUESTION, ANSWER = "x" * 600, "y" * 600
"""Messages of about 650 bytes as JSON."""


class Figure(NamedTuple):
    """A measured value; ``bar`` is what it must not pass, or must reach where ``least``."""

    what: str
    value: float
    unit: str
    bar: float | None = None
    least: bool = False

    def __str__(self) -> str:
        line = f"{self.what}: {self.value:.3g} {self.unit}"
        if self.bar is None:
            return line
        held = self.value >= self.bar if self.least else self.value <= self.bar
        word = "at least" if self.least else "at most"
        return f"{line} ({word} {self.bar:g}{'' if held else ': NOT HELD'})"


def parrot() -> ScriptedModel:
    """A model that answers at once, with 600 characters."""
    return ScriptedModel(lambda _: ANSWER)


class Played(ChatCompletions):
    """OpenAI's protocol whole, but for the network: each call is answered with the same bytes."""

    def __init__(self, chunks: list[bytes]) -> None:
        super().__init__(OPENAI, base_url="http://localhost/v1", api_key="none")
        self._transport = _Player(chunks)  # pyright: ignore[reportAttributeAccessIssue] - it has what is used


class _Player:
    def __init__(self, chunks: list[bytes]) -> None:
        self._chunks = chunks

    def send(self, exchange: Exchange) -> Iterator[Delta | Answer]:
        """What the transport does, without httpx."""
        for chunk in self._chunks:
            yield from exchange.parser.feed(chunk)
        yield from exchange.parser.finish()
        yield exchange.parser.answer()

    def close(self) -> None:
        """There is nothing to close."""


def completion(text: str) -> bytes:
    """An answer as OpenAI sends it."""
    usage = {
        "prompt_tokens": 1423,
        "completion_tokens": 187,
        "total_tokens": 1610,
        "prompt_tokens_details": {"cached_tokens": 1280, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }
    message = {"role": "assistant", "content": text, "refusal": None, "annotations": []}
    body = {
        "id": "chatcmpl-CQ5nXyLm0wTzV3pQ8rK1sD7uFhGjA",
        "object": "chat.completion",
        "created": 1760000000,
        "model": "gpt-4o-2024-08-06",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": usage,
    }
    return msgspec.json.encode(body)


def filled(store: SQLiteStore, key: str, turns: int) -> None:
    """Put a session of so many plain turns into a store."""
    session = Agent(parrot()).session(key)
    for _ in range(turns):
        session.run(QUESTION)
    if turns:
        store.save(key, session.to_dict())


def cpu_ms(work: Callable[[], object], times: int = 1) -> float:
    """CPU milliseconds of one call, the mean of so many."""
    start = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - start) / times * 1000


def median(samples: list[float]) -> float:
    """The median."""
    return statistics.median(samples)
