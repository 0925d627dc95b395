import asyncio
import functools
import gc
import gzip
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from pathlib import Path

import pytest

from agent import Agent
from agent.engine.errors import (
    ConnectionFailed,
    MalformedResponse,
    ProviderError,
    ProviderTimeout,
    ServerFailed,
)
from agent.engine.http import Exchange
from agent.engine.http.transport import HTTPTransport
from agent.engine.provider import Answer, TextDelta
from agent.engine.providers.failures import Asked, read_failure
from tests.engine.providers.chat_completions.given import stream_parser, whole_parser
from tests.fakes import ChatServer, CloseConnection, Error, Hang, RawBody, Reply, Stream, Text

ROOT = Path(__file__).parents[2]
FORKING = """
import os, sys
sys.path.insert(0, sys.argv[1])
from tests.engine.test_http import HTTPTransport, ask, ask_in_a_loop, exchange

transport, url = HTTPTransport(5.0), sys.argv[2]
ask(transport, exchange(url))
child = os.fork()
if not child:
    ask(transport, exchange(url))
    ask_in_a_loop(transport, exchange(url))
    transport.close()
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
ask(transport, exchange(url))
transport.close()
"""
LONG = Text("word " * 2000)
Ask = Callable[[HTTPTransport, Exchange], str]


def exchange(url: str, *, stream: bool = True, deadline: float | None = None) -> Exchange:
    """A question in the protocol of the fake server."""
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hi"}], "stream": stream}
    return Exchange(
        "openai",
        f"{url}/chat/completions",
        {"authorization": "Bearer sk-test", "content-type": "application/json"},
        json.dumps(body).encode(),
        stream_parser() if stream else whole_parser(),
        functools.partial(read_failure, Asked("openai", "gpt-4o", url, "OPENAI_API_KEY")),
        deadline,
        "sk-test",
    )


def said(item: object) -> str:
    """The text of a delta."""
    return item.text if isinstance(item, TextDelta) else ""


def ask(transport: HTTPTransport, asked: Exchange) -> str:
    """The answer's text, joined from its deltas."""
    *deltas, answer = transport.send(asked)
    assert isinstance(answer, Answer)
    assert answer.message.text == "".join(map(said, deltas))
    return answer.message.text


async def ask_async(transport: HTTPTransport, asked: Exchange) -> str:
    """The same on an event loop."""
    *deltas, answer = [item async for item in transport.send_async(asked)]
    assert isinstance(answer, Answer)
    assert answer.message.text == "".join(map(said, deltas))
    return answer.message.text


def ask_in_a_loop(transport: HTTPTransport, asked: Exchange) -> str:
    """The same on an event loop that lives for one question."""
    return asyncio.run(ask_async(transport, asked))


@pytest.fixture
def transport() -> Iterator[HTTPTransport]:
    """A transport that allows for two seconds of silence."""
    transport = HTTPTransport(2.0)
    yield transport
    transport.close()


@pytest.fixture(params=[ask, ask_in_a_loop], ids=["sync", "async"])
def either(request: pytest.FixtureRequest) -> Ask:
    """Each way to ask."""
    return request.param


@pytest.fixture
def nobody() -> str:
    """An address where nobody listens."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{listener.getsockname()[1]}/v1"


def failed(either: Ask, transport: HTTPTransport, asked: Exchange) -> ProviderError:
    """The error that a question ends with."""
    with pytest.raises(ProviderError) as caught:
        either(transport, asked)
    assert caught.value.provider == "openai"
    return caught.value


# Connections


@pytest.mark.parametrize("stream", [False, True])
def test_a_connection_serves_many_calls(
    chat_server: ChatServer, transport: HTTPTransport, stream: bool
) -> None:
    """It is kept alive between them, also after an error status."""
    chat_server.script([Text("a"), Error(500), Text("b")])
    assert ask(transport, exchange(chat_server.base_url, stream=stream)) == "a"
    with pytest.raises(ServerFailed):
        ask(transport, exchange(chat_server.base_url, stream=stream))
    assert ask(transport, exchange(chat_server.base_url, stream=stream)) == "b"
    assert chat_server.connections == 1


def test_a_connection_serves_many_calls_of_a_loop(
    chat_server: ChatServer, transport: HTTPTransport
) -> None:
    """It is kept alive between them."""

    async def main() -> list[str]:
        url = chat_server.base_url
        return [await ask_async(transport, exchange(url, stream=n > 0)) for n in range(3)]

    assert asyncio.run(main()) == ["I see 1 messages. You said: Hi"] * 3
    assert chat_server.connections == 1


def test_calls_from_many_threads(chat_server: ChatServer, transport: HTTPTransport) -> None:
    """Each gets its own answer; there are no more connections than calls at a time."""
    chat_server.script([Text(str(n)) for n in range(40)])
    with ThreadPoolExecutor(8) as pool:
        asked = [exchange(chat_server.base_url) for _ in range(40)]
        answers = list(pool.map(functools.partial(ask, transport), asked))
    assert sorted(answers, key=int) == [str(n) for n in range(40)]
    assert chat_server.connections <= 8


def test_many_calls_of_a_loop_at_once(chat_server: ChatServer, transport: HTTPTransport) -> None:
    """They share one client from the first call on."""

    async def main() -> int:
        asked = [exchange(chat_server.base_url) for _ in range(20)]
        await asyncio.gather(*(ask_async(transport, one) for one in asked))
        return len(transport._kept)

    assert asyncio.run(main()) == 1
    assert chat_server.connections <= 20


def test_event_loops_one_after_another(chat_server: ChatServer, transport: HTTPTransport) -> None:
    """Each has its own connections, which end with it; nothing of it is kept for long."""
    for _ in range(3):
        ask_in_a_loop(transport, exchange(chat_server.base_url))
        assert len(transport._kept) == 1
        assert all(kept.client.is_closed for kept in transport._kept.values())
    gc.collect()
    assert chat_server.connections == 3


def test_event_loops_at_the_same_time(chat_server: ChatServer, transport: HTTPTransport) -> None:
    """Two threads, two loops, one transport."""
    together = threading.Barrier(2)

    async def main() -> list[str]:
        together.wait(10)
        return [await ask_async(transport, exchange(chat_server.base_url)) for _ in range(5)]

    with ThreadPoolExecutor(2) as pool:
        answers = [run.result() for run in [pool.submit(asyncio.run, main()) for _ in range(2)]]
    assert answers == [["I see 1 messages. You said: Hi"] * 5] * 2
    assert chat_server.connections == 2


def test_closing(chat_server: ChatServer, transport: HTTPTransport) -> None:
    """It ends the connections, any number of times; a later call opens another."""
    transport.close()
    ask(transport, exchange(chat_server.base_url))
    transport.close()
    transport.close()
    ask(transport, exchange(chat_server.base_url))
    assert chat_server.connections == 2


def test_closing_in_a_loop(chat_server: ChatServer, transport: HTTPTransport) -> None:
    """`aclose` ends the connections of the running loop, and those of sync calls."""

    async def main() -> None:
        await ask_async(transport, exchange(chat_server.base_url))
        await asyncio.to_thread(ask, transport, exchange(chat_server.base_url))
        await transport.aclose()
        await transport.aclose()
        assert (transport._kept, transport._client) == ({}, None)
        await ask_async(transport, exchange(chat_server.base_url))

    asyncio.run(main())
    assert chat_server.connections == 3


def test_a_transport_that_is_forgotten(chat_server: ChatServer) -> None:
    """Its connections are closed without a warning."""
    for way in (ask, ask_in_a_loop):
        way(HTTPTransport(2.0), exchange(chat_server.base_url))
        gc.collect()
    assert chat_server.connections == 2


def test_a_dropped_call_closes_its_connection(
    chat_server: ChatServer, transport: HTTPTransport
) -> None:
    """The rest of its answer is not waited for."""
    chat_server.script([Stream(LONG, delay=0.001), Text("b")])
    items = transport.send(exchange(chat_server.base_url))
    next(items)
    items.close()  # pyright: ignore[reportAttributeAccessIssue] - a generator
    assert ask(transport, exchange(chat_server.base_url)) == "b"
    assert chat_server.connections == 2


def test_a_cancelled_call_closes_its_connection(
    chat_server: ChatServer, transport: HTTPTransport
) -> None:
    """Cancelling the task that reads it leaves nothing behind."""
    chat_server.script([Stream(LONG, delay=0.001), Text("b")])

    async def main() -> str:
        begun = asyncio.Event()

        async def read() -> None:
            async for _ in transport.send_async(exchange(chat_server.base_url)):
                begun.set()

        reading = asyncio.create_task(read())
        await begun.wait()
        reading.cancel()
        await asyncio.wait([reading])
        assert reading.cancelled()
        return await ask_async(transport, exchange(chat_server.base_url))

    assert asyncio.run(main()) == "b"
    assert chat_server.connections == 2


def test_a_call_may_be_closed_by_its_reader(
    chat_server: ChatServer, transport: HTTPTransport
) -> None:
    """`aclosing` ends it properly too."""
    chat_server.script([Stream(LONG, delay=0.001), Text("b")])

    async def main() -> str:
        async with aclosing(transport.send_async(exchange(chat_server.base_url))) as items:  # pyright: ignore[reportArgumentType] - a generator
            await anext(items)
        return await ask_async(transport, exchange(chat_server.base_url))

    assert asyncio.run(main()) == "b"


@pytest.mark.parametrize("held", [False, True], ids=["dropped", "held"])
@pytest.mark.parametrize("ended", [False, True], ids=["loop ends", "loop goes on"])
def test_a_stream_left_half_read(chat_server: ChatServer, held: bool, ended: bool) -> None:
    """An event loop may end with a stream open: nothing warns, and the session goes on."""
    chat_server.script([Stream(LONG, delay=0.001), Text("b")])
    streams: list[object] = []
    with Agent(model="gpt-4o", base_url=chat_server.base_url, api_key="sk-test") as agent:
        session = agent.session()

        async def main() -> None:
            stream = await session.stream_async("Write")
            async for _ in stream:
                break
            if held:
                streams.append(stream)
            del stream
            if ended:
                assert (await session.run_async("And?")).text == "b"

        asyncio.run(main())
        gc.collect()
        if not ended:
            assert session.run("And?").text == "b"
        assert len(session.messages) == 2


def test_a_forked_child_connects_anew(chat_server: ChatServer) -> None:
    """The child has its own connection, and the parent goes on with its own."""
    command = [sys.executable, "-W", "error", "-c", FORKING, str(ROOT), chat_server.base_url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(chat_server.requests) == 4
    assert chat_server.connections == 3


# Failures of the network


def test_nobody_listens(either: Ask, transport: HTTPTransport, nobody: str) -> None:
    """Connection refused: perhaps the server is starting, perhaps the address is wrong."""
    error = failed(either, transport, exchange(nobody))
    assert type(error) is ConnectionFailed
    assert str(error).startswith("openai could not be reached; check base_url and network: ")
    assert error.retryable


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("localhost:8000/v1", "openai cannot be sent this request; check base_url and api_key"),
        ("example.com/v1", "openai cannot be sent this request; check base_url and api_key"),
        ("http://example.com:port", "check base_url: Invalid port: 'port'"),
    ],
)
def test_an_address_that_is_none(
    either: Ask, transport: HTTPTransport, url: str, words: str
) -> None:
    """Trying again does not help."""
    error = failed(either, transport, exchange(url))
    assert (type(error), str(error), error.retryable) == (ConnectionFailed, words, False)


@pytest.mark.parametrize(
    ("reply", "cls", "words"),
    [
        (CloseConnection(), ConnectionFailed, "openai broke the connection: "),
        (Stream(LONG, cut_after=300), ConnectionFailed, "openai broke the connection: "),
        (
            RawBody(200, b"garbage", {"content-encoding": "gzip"}),
            MalformedResponse,
            "openai sent an answer that does not decode: ",
        ),
        (RawBody(200, b"", {}), MalformedResponse, "malformed answer of openai: "),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_may_go_better_next_time(  # noqa: PLR0917 - pytest gives them by name
    either: Ask,
    transport: HTTPTransport,
    chat_server: ChatServer,
    reply: Reply,
    cls: type[ProviderError],
    words: str,
    stream: bool,
) -> None:
    """A broken connection or answer is ours to name, and worth another attempt."""
    chat_server.script([reply, Text("b")])
    error = failed(either, transport, exchange(chat_server.base_url, stream=stream))
    assert type(error) is cls
    assert str(error).startswith(words)
    assert error.retryable
    assert either(transport, exchange(chat_server.base_url, stream=stream)) == "b"


def test_deltas_before_a_break_are_given(chat_server: ChatServer, transport: HTTPTransport) -> None:
    """What arrived has arrived."""
    chat_server.script([Stream(LONG, cut_after=5000)])
    items = transport.send(exchange(chat_server.base_url))
    heard = [said(next(items)), said(next(items))]
    assert "".join(heard) == LONG.text[:12]
    with pytest.raises(ConnectionFailed):
        list(items)


def test_a_compressed_answer(
    either: Ask, transport: HTTPTransport, chat_server: ChatServer
) -> None:
    """It is unpacked on the way."""
    body = b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n'
    headers = {"content-encoding": "gzip", "content-type": "text/event-stream"}
    chat_server.script([RawBody(200, gzip.compress(body), headers)])
    assert either(transport, exchange(chat_server.base_url)) == "a"


def test_the_type_of_an_answer_does_not_matter(
    either: Ask, transport: HTTPTransport, chat_server: ChatServer
) -> None:
    """Servers and proxies call a stream by other names."""
    body = b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n'
    chat_server.script([RawBody(200, body, {"content-type": "text/plain"})])
    assert either(transport, exchange(chat_server.base_url)) == "a"


@pytest.mark.parametrize("stream", [False, True])
def test_a_web_page(
    either: Ask, transport: HTTPTransport, chat_server: ChatServer, stream: bool
) -> None:
    """The address is that of something else."""
    headers = {"content-type": "text/html; charset=utf-8"}
    chat_server.script([RawBody(200, b"<h1>Welcome</h1>", headers)])
    error = failed(either, transport, exchange(chat_server.base_url, stream=stream))
    assert type(error) is MalformedResponse
    assert str(error) == (
        "openai answered with a web page (text/html; charset=utf-8): check base_url"
    )
    assert not error.retryable


def test_a_redirect_is_not_followed(
    either: Ask, transport: HTTPTransport, chat_server: ChatServer
) -> None:
    """The key goes to nobody but the server that was named."""
    with ChatServer() as other:
        target = f"{other.base_url}/chat/completions"
        chat_server.script([RawBody(307, b"", {"location": target})])
        error = failed(either, transport, exchange(chat_server.base_url))
        assert other.requests == []
    assert type(error) is ConnectionFailed
    assert str(error) == (
        f"openai redirects to {target}, where the key is not sent: correct base_url"
    )
    assert (error.status, error.retryable) == (307, False)


# Time


def test_a_silent_server(either: Ask, chat_server: ChatServer) -> None:
    """It is waited for as long as `timeout` says."""
    chat_server.script([Hang(30)])
    transport = HTTPTransport(0.05)
    error = failed(either, transport, exchange(chat_server.base_url))
    transport.close()
    assert type(error) is ProviderTimeout
    assert str(error) == "openai said nothing for 0.05 s; raise timeout=... to wait longer"
    assert error.retryable


def test_a_server_that_falls_silent(either: Ask, chat_server: ChatServer) -> None:
    """Each silence counts anew, in the middle of an answer too."""
    chat_server.script([Stream(LONG, delay=30)])
    transport = HTTPTransport(0.05)
    error = failed(either, transport, exchange(chat_server.base_url))
    transport.close()
    assert (type(error), error.retryable) == (ProviderTimeout, True)


@pytest.mark.parametrize(
    "reply",
    [Hang(30), Stream(LONG, delay=0.01), Stream(LONG, delay=30)],
    ids=["silent", "dripping", "falling silent"],
)
@pytest.mark.parametrize("stream", [False, True])
def test_the_deadline(
    either: Ask, transport: HTTPTransport, chat_server: ChatServer, reply: Reply, stream: bool
) -> None:
    """It ends an answer that drips, or pauses for less than `timeout`; no other attempt is made."""
    if not stream and isinstance(reply, Stream):
        reply = Stream(LONG, delay=reply.delay, write=10)
    chat_server.script([reply])
    since = time.monotonic()
    error = failed(either, transport, exchange(chat_server.base_url, stream=stream, deadline=0.2))
    assert 0.2 <= time.monotonic() - since < 1.5
    assert type(error) is ProviderTimeout
    assert str(error) == (
        "openai had not answered at the turn's deadline; raise deadline=... to wait"
    )
    assert not error.retryable


def test_a_deadline_that_is_kept(
    either: Ask, transport: HTTPTransport, chat_server: ChatServer
) -> None:
    """It belongs to its call: a later one over the same connection has its own."""
    url = chat_server.base_url
    with pytest.raises(ProviderTimeout):
        either(transport, exchange(url, deadline=0.0))
    for deadline in (60, None):
        assert either(transport, exchange(url, deadline=deadline)) == (
            "I see 1 messages. You said: Hi"
        )


def _broken(server: ChatServer, transport: HTTPTransport) -> ConnectionFailed:
    with pytest.raises(ConnectionFailed) as caught:
        ask(transport, exchange(server.base_url))
    return caught.value


async def _broken_async(server: ChatServer, transport: HTTPTransport) -> ConnectionFailed:
    with pytest.raises(ConnectionFailed) as caught:
        await ask_async(transport, exchange(server.base_url))
    return caught.value


def test_a_connection_that_was_kept_and_is_gone(
    chat_server: ChatServer, transport: HTTPTransport
) -> None:
    """The next attempt need not wait for it; one whose connection was new has to."""
    chat_server.script([CloseConnection(), Text("Hi"), CloseConnection()])
    new = _broken(chat_server, transport)
    assert ask(transport, exchange(chat_server.base_url)) == "Hi"
    kept = _broken(chat_server, transport)
    assert (new.retryable, new.retry_after) == (True, None)
    assert (kept.retryable, kept.retry_after) == (True, 0.0)


def test_a_connection_of_a_loop_that_was_kept_and_is_gone(
    chat_server: ChatServer, transport: HTTPTransport
) -> None:
    """The same on an event loop."""

    async def ask_thrice() -> list[float | None]:
        new = await _broken_async(chat_server, transport)
        assert await ask_async(transport, exchange(chat_server.base_url)) == "Hi"
        kept = await _broken_async(chat_server, transport)
        return [new.retry_after, kept.retry_after]

    chat_server.script([CloseConnection(), Text("Hi"), CloseConnection()])
    assert asyncio.run(ask_thrice()) == [None, 0.0]
