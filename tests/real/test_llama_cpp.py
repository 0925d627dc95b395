"""Everything that a session can do, with a server that nobody here has written."""

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from agent import Agent, Message, Session, TextDelta, ToolCallPart, ToolResultPart, tool
from agent.errors import BadRequest, ConnectionFailed, ModelNotFound
from agent.eventstore.events import ModelFailed, ModelRequested, ModelResponded
from tests.engine.given import kinds
from tests.real.llama_server import CONTEXT, LlamaServer
from tests.real.relay import Relay

ENDLESS: dict[str, Any] = {"max_tokens": CONTEXT - 1000, "extra": {"ignore_eos": True}}
TOO_LONG = "x" * 2 * CONTEXT
ATTEMPTS = 40
PATIENCE = 30.0


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
def shout(text: str) -> str:
    """Say it loudly."""
    return text.upper()


def agent_at(relay: Relay, **options: Any) -> Agent:
    """An agent that asks the server behind the relay."""
    return Agent("openai", "tiny", base_url=relay.base_url, timeout=PATIENCE, **options)


def answers(session: Session) -> list[ModelResponded]:
    """What the model answered."""
    return [fact.event for fact in session.events() if isinstance(fact.event, ModelResponded)]


def check_digests(session: Session, bodies: Sequence[bytes]) -> None:
    """Hold every recorded digest to the bytes that came out of the connection."""
    recorded = [f.event.digest for f in session.events() if isinstance(f.event, ModelRequested)]
    assert recorded == [hashlib.sha256(body).hexdigest() for body in bodies]


# Turns


def test_a_turn(relay: Relay):
    """Text, usage, finish reason and model come from the server; its bytes are in the log."""
    with agent_at(relay) as agent:
        session = agent.session(system="Be brief.")
        response = session.run("Hello", max_tokens=7, seed=1, extra={"ignore_eos": True})

    assert response.text == answers(session)[0].message.text
    assert (response.finish_reason, response.usage.output_tokens) == ("length", 7)
    assert response.usage.input_tokens > len("Be brief.Hello")
    assert answers(session)[0].response_id
    sent = json.loads(relay.bodies[0])
    assert [item["role"] for item in sent["messages"]] == ["system", "user"]
    assert (sent["max_tokens"], sent["seed"], sent["ignore_eos"]) == (7, 1, True)
    check_digests(session, relay.bodies)


def test_all_four_ways_to_ask_agree(relay: Relay):
    """The same seed gives the same text and usage, streamed or not, sync or async."""

    async def ask() -> list[tuple[str, int, str]]:
        whole = await session().run_async("Hello")
        async with await session().stream_async("Hello") as stream:
            pieces = [event.text async for event in stream if isinstance(event, TextDelta)]
        assert "".join(pieces) == stream.response.text
        return [shown(whole), shown(stream.response)]

    def session() -> Session:
        return agent.session(system="Be brief.")

    def shown(response: Any) -> tuple[str, int, str]:
        return response.text, response.usage.total_tokens, response.finish_reason

    with agent_at(relay, max_tokens=40, seed=3) as agent:
        with session().stream("Hello") as stream:
            pieces = [event.text for event in stream if isinstance(event, TextDelta)]
        assert "".join(pieces) == stream.response.text
        found = [shown(session().run("Hello")), shown(stream.response), *asyncio.run(ask())]

    assert len(set(found)) == 1


def test_an_answer_ends_by_itself_or_at_a_stop_word(relay: Relay):
    """Both are `stop`; the stop word is not in the text."""
    with agent_at(relay) as agent:
        ended = agent.session().run("Hello")
        stopped = agent.session().run("Hello", stop=["a", "e", "]"], **ENDLESS)

    assert ended.finish_reason == stopped.finish_reason == "stop"
    assert not set(stopped.text) & set("ae]")


# Tools


@pytest.mark.parametrize("streamed", [False, True])
def test_tools(relay: Relay, streamed: bool):
    """A forced call runs, its result goes back, and the model ends the turn by itself."""
    with agent_at(relay, tools=[add, shout]) as agent:
        session = agent.session()
        if streamed:
            with session.stream("Go", tool_choice="required") as events:
                seen = [event.type for event in events]
            assert {"tool_call", "tool_result"} <= set(seen)
            response = events.response
        else:
            response = session.run("Go", tool_choice="required")

    first = session.messages[1]
    assert first.tool_calls
    assert {call.name for call in first.tool_calls} <= {"add", "shout"}
    assert [r.call_id for r in session.messages[2].tool_results] == [
        call.call_id for call in first.tool_calls
    ]
    assert not any(r.is_error for r in session.messages[2].tool_results)
    assert response.finish_reason == "stop"
    check_digests(session, relay.bodies)


def test_parallel_tools(relay: Relay):
    """Several calls in one answer run together; all are answered in the order of the calls."""
    with agent_at(relay, tools=[add, shout], tool_choice="required") as agent:
        for _ in range(ATTEMPTS):
            session = agent.session()
            session.run("Go", parallel_tool_calls=True)
            _, asked, answered, *_ = session.messages
            called = [call.call_id for call in asked.tool_calls]
            assert [result.call_id for result in answered.tool_results] == called
            if len(called) > 1:
                return
    pytest.fail("the model never made two calls at once")


def test_no_tool(relay: Relay):
    """A choice of none is obeyed, whatever the model would like."""
    with agent_at(relay, tools=[add], tool_choice="none", max_tokens=200) as agent:
        session = agent.session()
        session.run("Go", extra={"ignore_eos": True})

    assert kinds(session).count("tool.called") == 0


def test_a_server_that_does_not_obey(relay: Relay):
    """This one ignores a named tool and a wish for single calls: they go out, and the turn ends."""
    with agent_at(relay, tools=[add, shout], parallel_tool_calls=False) as agent:
        agent.session().run("Go", tool_choice="shout")

    sent = json.loads(relay.bodies[0])
    assert sent["tool_choice"] == {"type": "function", "function": {"name": "shout"}}
    assert sent["parallel_tool_calls"] is False


def test_a_call_that_was_cut_does_not_spoil_the_history(relay: Relay):
    """The server parses the arguments of the history: what is no JSON is sent as text in some."""
    cut = ToolCallPart("call_1_0", "add", '{"a": 1, "b":')
    with agent_at(relay, tools=[add]) as agent:
        session = agent.session(
            messages=[
                Message.user("Go"),
                Message.assistant(cut),
                Message.tool(ToolResultPart("call_1_0", (), is_error=True)),
            ]
        )
        session.run("Again", tool_choice="none")

    assert session.messages[1].tool_calls == (cut,)


# Structured output


class Trip(BaseModel):
    """What a grammar has to hold the model to."""

    city: str
    days: int
    tags: list[str]
    booked: bool | None


def test_structured_output(relay: Relay):
    """The server keeps a model of noise to the schema."""
    with agent_at(relay) as agent:
        session = agent.session()
        response = session.json("Plan a trip", schema=Trip)
        again = asyncio.run(session.json_async("Another", schema=Trip))

    assert isinstance(response.output, Trip)
    assert Trip.model_validate_json(again.text) == again.output
    assert "output.rejected" not in kinds(session)
    check_digests(session, relay.bodies)


# Going away


def test_a_stream_that_is_dropped(relay: Relay):
    """The connection is closed, the log has what had come, the history and the next turn go on."""
    with agent_at(relay) as agent:
        session = agent.session()
        session.run("Hello", max_tokens=5)
        before = session.messages
        with session.stream("Write a long story", **ENDLESS) as stream:
            heard = [event.text for event in islice(stream, 3) if isinstance(event, TextDelta)]

        assert relay.dropped.wait(PATIENCE)
        assert session.messages == before
        (failed,) = [f.event for f in session.events() if isinstance(f.event, ModelFailed)]
        assert failed.partial == Message.assistant("".join(heard))
        assert kinds(session)[-1] == "turn.abandoned"
        session.run("Go on", max_tokens=5)
    check_digests(session, relay.bodies)


def test_an_async_turn_that_is_cancelled(relay: Relay):
    """The request is given up, and the session can be used at once."""

    async def main() -> None:
        async with agent_at(relay) as agent:
            session = agent.session()
            task = asyncio.create_task(session.run_async("Write a long story", **ENDLESS))
            await asyncio.to_thread(relay.asked.wait, PATIENCE)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

            assert await asyncio.to_thread(relay.dropped.wait, PATIENCE)
            assert kinds(session)[-1] == "turn.abandoned"
            assert session.messages == []
            await session.run_async("Hello", max_tokens=5)
            check_digests(session, relay.bodies)

    asyncio.run(main())


# Errors


@pytest.mark.parametrize("streamed", [False, True])
def test_a_conversation_that_is_too_long(relay: Relay, streamed: bool):
    """The server's own words say so; it is not tried again, and the session lives on."""
    with agent_at(relay) as agent:
        session = agent.session()
        with pytest.raises(BadRequest, match="exceeds the available context size") as raised:
            session.stream(TOO_LONG).finish() if streamed else session.run(TOO_LONG)
        session.run("Hello")

    assert [message.role for message in session.messages] == ["user", "assistant"]
    assert (raised.value.status, raised.value.retryable) == (400, False)
    assert raised.value.type == "exceed_context_size_error"
    assert len(relay.bodies) == 2


def test_a_path_that_the_server_does_not_have(relay: Relay):
    """The error names the address to correct."""
    agent = Agent("openai", "tiny", base_url=f"{relay.base_url}/nowhere", timeout=PATIENCE)
    with agent, pytest.raises(ModelNotFound, match="v1/nowhere") as raised:
        agent.session().run("Hello")

    assert raised.value.status == 404


def test_a_request_that_the_server_cannot_take(relay: Relay):
    """What was wrong with it is the server's to say."""
    with agent_at(relay) as agent, pytest.raises(BadRequest, match="failed to parse grammar"):
        agent.session().run("Hello", extra={"grammar": "root ::= ("})


# Many at once


def test_several_threads(relay: Relay):
    """One agent serves many sessions at once; each has its own answers, all of them whole."""
    with agent_at(relay, max_tokens=30) as agent:
        sessions = [agent.session() for _ in range(6)]

        def talk(session: Session) -> None:
            for number in range(4):
                session.run(f"Hello {number}")

        threads = [threading.Thread(target=talk, args=(session,)) for session in sessions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert [len(session.messages) for session in sessions] == [8] * 6
    digests = [
        fact.event.digest
        for session in sessions
        for fact in session.events()
        if isinstance(fact.event, ModelRequested)
    ]
    assert sorted(digests) == sorted(hashlib.sha256(body).hexdigest() for body in relay.bodies)


def test_several_tasks(relay: Relay):
    """Async turns of one agent run at once, in one event loop after another."""

    async def main() -> list[str]:
        sessions = [agent.session() for _ in range(6)]
        await asyncio.gather(*(session.run_async("Hello") for session in sessions))
        return [session.messages[-1].role for session in sessions]

    with agent_at(relay, max_tokens=30) as agent:
        assert asyncio.run(main()) == asyncio.run(main()) == ["assistant"] * 6


# The server itself


def test_a_server_that_dies(tiny_model: Path, llama: LlamaServer):
    """A stream breaks off with an error; its text is in the log, the history as it was before."""
    with LlamaServer(tiny_model) as server:
        url = "http://{}:{}/v1".format(*server.address)
        with Agent("openai", "tiny", base_url=url, max_retries=0) as agent:
            session = agent.session()
            session.run("Hello", max_tokens=5)
            stream = session.stream("Write a long story", **ENDLESS)
            heard = next(stream)
            server.kill()
            with pytest.raises(ConnectionFailed, match="broke the connection") as broken:
                list(stream)
            with pytest.raises(ConnectionFailed):
                session.run("Hello again")

    assert broken.value.retryable
    assert len(session.messages) == 2
    failed, _ = [f.event for f in session.events() if isinstance(f.event, ModelFailed)]
    assert isinstance(heard, TextDelta)
    assert failed.partial
    assert failed.partial.text.startswith(heard.text)


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks at processes in /proc")
def test_the_server_ends_with_the_tests(tiny_model: Path, llama: LlamaServer):
    """Tests that are killed leave no server behind."""
    program = (
        "import sys, time; from pathlib import Path; from tests.real.llama_server import *\n"
        "with LlamaServer(Path(sys.argv[1])) as server:\n"
        "    print(server.process_id, flush=True); time.sleep(600)"
    )
    tests = subprocess.Popen(
        [sys.executable, "-c", program, str(tiny_model)],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    )
    with tests:
        assert tests.stdout
        server = Path("/proc", tests.stdout.readline().strip())
        assert server.exists()
        os.kill(tests.pid, signal.SIGKILL)
    end = time.monotonic() + PATIENCE
    while server.exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert not server.exists()
