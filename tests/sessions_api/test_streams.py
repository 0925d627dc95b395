import asyncio

import pytest

from agent import Agent
from tests.fakes import ChatServer, Hang, Stream, Text
from tests.sessions_api.given import FACTS, shown, told


def test_deltas_join_to_the_text(agent: Agent, openai_env: ChatServer) -> None:
    """History grows only when the stream is complete; `done` comes last."""
    openai_env.script([Stream(Text("Grüße, 世界"), piece=2, write=1)])
    session = agent.session()
    pieces: list[str] = []
    events: list[str] = []
    for event in session.stream("Write a story"):
        events.append(event.type)
        if event.type == "text_delta":
            assert session.messages == []
            pieces.append(event.text)
        if event.type == "done":
            assert event.response.text == "".join(pieces) == "Grüße, 世界"
    assert len(pieces) > 2
    assert events[-1] == "done"
    assert shown(session) == [("user", "Write a story"), ("assistant", "Grüße, 世界")]


def test_async_deltas_join_to_the_text(agent: Agent) -> None:
    """`stream_async` is awaited once and then read."""
    session = agent.session()

    async def main() -> str:
        pieces: list[str] = []
        async for event in await session.stream_async("Write a poem"):
            if event.type == "text_delta":
                assert session.messages == []
                pieces.append(event.text)
        return "".join(pieces)

    assert asyncio.run(main()) == "I see 1 messages. You said: Write a poem"
    assert len(session.messages) == 2


def test_nothing_happens_before_the_first_event(agent: Agent, openai_env: ChatServer) -> None:
    """A stream that nobody reads asks nobody and stores nothing."""
    session = agent.session()
    before = session.version
    session.stream("Hello").close()
    assert openai_env.requests == []
    assert session.version == before


@pytest.mark.parametrize("closing", ["break", "close", "with"])
def test_a_dropped_stream_leaves_the_history(
    agent: Agent, openai_env: ChatServer, closing: str
) -> None:
    """The next turn goes on as if the dropped one had not been."""
    session = told(agent.session())
    before = shown(session)
    openai_env.script([Stream(Text("x" * 5000), delay=0.001)])
    stream = session.stream("Write a long story")
    if closing == "with":
        with stream as events:
            next(iter(events))
    else:
        for _ in stream:
            break
        if closing == "close":
            stream.close()
    assert session.run("What do you know about me?").text.startswith(FACTS)
    assert shown(session)[: len(before)] == before
    assert "Write a long story" not in str(openai_env.requests[-1].messages)


@pytest.mark.parametrize("closing", ["break", "with"])
def test_a_dropped_async_stream_leaves_the_history(
    agent: Agent, openai_env: ChatServer, closing: str
) -> None:
    """So does an asynchronous one."""
    session = told(agent.session())
    openai_env.script([Stream(Text("x" * 5000), delay=0.001)])

    async def main() -> str:
        stream = await session.stream_async("Write a long story")
        if closing == "with":
            async with stream as events:
                async for _ in events:
                    break
        else:
            async for _ in stream:
                break
        return (await session.run_async("What do you know about me?")).text

    assert asyncio.run(main()).startswith(FACTS)
    assert "Write a long story" not in str(openai_env.requests[-1].messages)
    assert len(session.messages) == 6


def test_a_cancelled_turn_leaves_the_history(agent: Agent, openai_env: ChatServer) -> None:
    """Cancelling the task ends the turn, and the session goes on."""
    session = agent.session()
    openai_env.script([Hang(60)])

    async def main() -> str:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(session.run_async("Write a long story"), 0.3)
        return (await session.run_async("Hello")).text

    assert asyncio.run(main()) == "I see 1 messages. You said: Hello"
    assert len(session.messages) == 2
