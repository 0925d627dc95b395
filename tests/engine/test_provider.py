import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from agent import Agent, Message, TextDelta
from agent.errors import ConfigurationError, ServerFailed
from agent.providers import Answer, Delta, Frame, MessageContext, ModelRequest, Prompt, Provider

PATIENCE = 30.0


class Small(Provider):
    """The least that a provider has to be."""

    name = "small"

    def encode_message(self, message: Message, context: MessageContext) -> list[bytes]:
        """The text."""
        return [message.text.encode()]

    def encode_frame(self, prompt: Prompt) -> Frame:
        """Nothing."""
        return Frame(b"", (), b"")

    def call(self, request: ModelRequest) -> Iterator[Delta | Answer]:
        """Repeat what was said."""
        yield from (TextDelta(piece) for piece in request.body.decode())
        yield Answer(Message.assistant(request.body.decode()), "stop")


class Endless(Small):
    """Goes on until its caller hangs up."""

    closed = threading.Event()

    def call(self, request: ModelRequest) -> Iterator[Delta | Answer]:
        """Count."""
        try:
            while True:
                yield TextDelta(".")
        finally:
            self.closed.set()


class Meeting(Small):
    """Answers when all its callers are there."""

    def __init__(self, callers: int) -> None:
        self.barrier = threading.Barrier(callers)

    def call(self, request: ModelRequest) -> Iterator[Delta | Answer]:
        """Wait for the others."""
        self.barrier.wait(PATIENCE)
        return super().call(request)


class Failing(Small):
    """Breaks off."""

    def call(self, request: ModelRequest) -> Iterator[Delta | Answer]:
        """Say something first."""
        yield TextDelta("Well")
        raise ServerFailed("no", provider=self.name)


def test_a_name_and_three_methods_make_a_provider():
    """Async calls, recorded names and closing need nothing more."""

    async def main() -> tuple[str, list[str]]:
        async with Agent(Small(), "m") as agent, await agent.session().stream_async("abc") as told:
            pieces = [event.text async for event in told if isinstance(event, TextDelta)]
            return (await agent.session().run_async("x")).text, pieces

    with Agent(Small(), "m") as agent:
        session = agent.session()
        assert session.run("Hi").text == "Hi"
    requested = next(fact.event for fact in session.events() if fact.type == "model.requested")
    assert [getattr(requested, name) for name in ("provider", "api", "encoder")] == [
        "small",
        "chat",
        "1",
    ]
    assert asyncio.run(main()) == ("x", ["a", "b", "c"])


def test_a_call_in_a_thread_is_dropped():
    """The thread hangs up when its caller is gone, and nothing is left running."""

    async def main() -> None:
        session = Agent(Endless(), "m").session()
        async with await session.stream_async("Go") as stream:
            assert isinstance(await anext(stream), TextDelta)
        assert await asyncio.to_thread(Endless.closed.wait, PATIENCE)
        assert session.messages == []

    asyncio.run(main())


def test_calls_in_threads_do_not_wait_for_each_other():
    """However many async turns there are, each has its thread."""

    async def main() -> list[str]:
        agent = Agent(Meeting(40), "m")
        turns = (agent.session().run_async(str(number)) for number in range(40))
        return [response.text for response in await asyncio.gather(*turns)]

    assert asyncio.run(main()) == [str(number) for number in range(40)]


def test_an_error_in_a_thread_is_the_caller_s():
    """What the call raises ends the turn, with what had arrived in the log."""
    session = Agent(Failing(), "m", max_retries=0).session()
    with pytest.raises(ServerFailed, match="no"):
        asyncio.run(session.run_async("Hi"))

    assert [fact.type for fact in session.events()][-2:] == ["model.failed", "turn.failed"]


@pytest.mark.parametrize("wrong", [42, Small, object()])
def test_what_is_no_provider(wrong: Any):
    """The error says what to subclass."""
    with pytest.raises(ConfigurationError, match=r"subclass of agent\.providers\.Provider, not a "):
        Agent(wrong, "m")


def test_a_provider_without_its_methods():
    """Python itself names what is missing."""
    half: Any = type("Half", (Provider,), {"name": "half"})
    with pytest.raises(TypeError, match=r"call.*encode_frame.*encode_message"):
        half()
