"""Answers that no well-behaved server gives, over real sockets."""

import asyncio
import gzip
import itertools
import zlib
from collections.abc import Iterator

import pytest

from agent.engine.http import limits
from agent.engine.http.limits import LONGEST_ANSWER
from agent.errors import (
    AuthenticationFailed,
    BadRequest,
    ConnectionFailed,
    MalformedResponse,
    ProviderError,
    ProviderTimeout,
    ServerFailed,
    StreamAbandoned,
)
from agent.eventstore.events import ModelFailed
from tests.engine.gates import SOON
from tests.engine.ways import (
    KEY,
    STREAMS,
    agent_at,
    answered,
    ended,
    failed,
    log_without_key,
    take,
    way,
)
from tests.fakes.raw_server import (
    DONE,
    END,
    STOP,
    STREAM,
    WHOLE,
    Act,
    Peer,
    RawServer,
    answer,
    chunk,
    completion,
    delta,
    event,
    holding,
    saying,
    sending,
)

__all__ = ["log_without_key", "way"]

of_streams = pytest.mark.parametrize("way", STREAMS)

KERNEL = 32 * 2**20
"""More than what lies in the buffers of a connection."""

HI = delta(b'"Hi"')
GZIP = b"content-encoding: gzip\r\n"


def endless(head: bytes, piece: bytes, *, pause: float = 0.0) -> Act:
    """An answer without an end; one that pauses gives up after a minute."""
    pieces = itertools.repeat(piece, int(SOON / pause)) if pause else itertools.repeat(piece)
    return sending(lambda: itertools.chain([head], pieces), pause=pause)


# Answers that are none


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "it is empty|ended before the answer: ''"),
        (b"{}", "no choices"),
        (b'{"choices":[]}', "no choices"),
        (b'{"choices":null}', "no choices"),
        (b'{"choices":[null]}', "no choices"),
        (b'{"choices":"Hi"}', "no choices"),
        (b'{"choices":[{}]}', "says nothing"),
        (b'{"choices":[{"message":null,"delta":null}]}', "says nothing"),
        (b"[1]", r"not a list|before the answer: '\[1\]'"),
        (b"3", "not a int|before the answer: '3'"),
        (b'"Hi"', "not a str|before the answer: '\"Hi\"'"),
        (completion(b'"Hi"'), "message cannot be a str"),
        (completion(b'{"content":42}'), "content cannot be a int"),
        (completion(b'{"content":true}'), "content cannot be a bool"),
        (completion(b'{"content":"Hi","tool_calls":"f"}'), "tool_calls cannot be a str"),
        (completion(b'{"content":"Hi"}', b',"usage":{"prompt_tokens":NaN}'), "not JSON"),
        (completion(b'{"content":"Hi"}')[:40], "not JSON"),
        (b'{"a":' * 10_000, "not JSON"),
        (completion(b"[" * 10_000 + b"]" * 10_000), "not JSON"),
        (b"Bad gateway", "Bad gateway"),
        (b"<html>Hello</html>", "<html>Hello</html>"),
        (bytes(range(256)), r"\\x00\\x01\\x02"),
    ],
)
def test_a_body_that_is_no_answer(way: str, body: bytes, words: str):
    """It is named, its beginning is shown, and another attempt may do better."""
    with RawServer(saying(answer(body, content_type="text/plain"))) as server:
        error = failed(server, way, MalformedResponse)

    assert error.retryable
    assert str(error).endswith("; try again, and check base_url and model if it stays so")
    with pytest.raises(MalformedResponse, match=words):
        raise error


@pytest.mark.parametrize(
    ("status", "cls", "words"),
    [
        (101, ConnectionFailed, "broke the connection: .*check base_url"),
        (103, ConnectionFailed, "broke the connection: .*check base_url"),
        (204, MalformedResponse, "empty|before the answer"),
        (206, MalformedResponse, "<h1>Hm</h1>"),
        (300, MalformedResponse, "status 300, which is none of this protocol: check base_url"),
        (304, MalformedResponse, "status 304, which is none of this protocol: check base_url"),
        (418, BadRequest, "status 418 of openai: Hm$"),
        (451, BadRequest, "status 451 of openai: Hm$"),
        (500, ServerFailed, "status 500 of openai: Hm; try again later"),
        (599, ServerFailed, "status 599 of openai: Hm; try again later"),
        (600, MalformedResponse, "status 600, which is none of this protocol: check base_url"),
        (999, MalformedResponse, "status 999, which is none of this protocol: check base_url"),
    ],
)
def test_a_status_that_is_no_success(way: str, status: int, cls: type[ProviderError], words: str):
    """Each status is named, with what its page says."""
    body = b"" if status in {101, 103, 204, 304} else b"<body><h1>Hm</h1></body>"
    with (
        RawServer(saying(answer(body, status=status, content_type="text/plain"))) as server,
        pytest.raises(cls, match=words),
    ):
        raise failed(server, way, cls)


@pytest.mark.parametrize(
    "act",
    [
        saying(answer(completion(b'{"content":"Hi"}')).replace(b"length: ", b"length: 9")),
        saying(STREAM, chunk(HI + STOP)),
        saying(STREAM, chunk(HI)[:-20]),
    ],
    ids=["length", "no last chunk", "inside a chunk"],
)
def test_a_body_that_is_cut(way: str, act: Act):
    """A body shorter than it was announced is a broken connection."""
    with RawServer(act) as server:
        error = failed(server, way, ConnectionFailed)

    assert str(error).startswith("openai broke the connection: ")
    assert error.retryable


@pytest.mark.parametrize(
    "act",
    [
        saying(answer(b'{"error":"no"}', status=401).replace(b"length: ", b"length: 9")),
        holding(answer(b'{"error":"no"}', status=401).replace(b"length: ", b"length: 9")),
        endless(STREAM.replace(b"200", b"401") + chunk(b"no " * 200), chunk(b"n" * 65536)),
        endless(STREAM.replace(b"200", b"401") + chunk(b"no " * 200), chunk(b"n"), pause=0.01),
        saying(answer(b"no", status=401, headers=b"content-encoding: br\r\n")),
    ],
    ids=["cut", "silent", "endless", "dripping", "packed"],
)
def test_an_error_whose_body_is_broken(way: str, act: Act, monkeypatch: pytest.MonkeyPatch):
    """The status is told all the same, with what came of the words."""
    monkeypatch.setattr(limits, "ERROR_WAIT", 0.2)
    with RawServer(act) as server:
        error = failed(server, way, AuthenticationFailed)
        assert server.peers[0].sent < KERNEL

    assert error.status == 401
    assert str(error).endswith("; check the key (api_key or OPENAI_API_KEY)")
    assert len(str(error)) < 1000


# Answers without an end


def bomb() -> bytes:
    """Zeros that take a thousand times as much room when they are unpacked."""
    packing = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    zeros = bytes(2**20)
    parts = [packing.compress(zeros) for _ in range((LONGEST_ANSWER >> 20) + 2)]
    return b"".join(parts) + packing.flush()


@pytest.mark.parametrize(
    "act",
    [
        endless(STREAM, chunk(delta(b'"%b"' % (b"word " * 10_000)))),
        endless(STREAM + chunk(b"data: "), chunk(b"x" * 65536)),
        endless(WHOLE + chunk(b'{"a":['), chunk(b"[]," * 20_000)),
        endless(
            WHOLE.replace(b"\r\n\r\n", b"\r\n" + GZIP + b"\r\n") + chunk(gzip.compress(b"{}")),
            chunk(b"x" * 65536),
        ),
        saying(answer(bomb(), headers=GZIP)),
        saying(STREAM, chunk(delta(b'"%b"' % (b"x" * 100_000_000)) + STOP + DONE), END),
    ],
    ids=["deltas", "one line", "one body", "after gzip", "bomb", "100 MB in one chunk"],
)
def test_an_answer_that_is_too_long(way: str, act: Act):
    """It is refused at 64 MiB, as it is sent and as it is unpacked, and the server is left."""
    with RawServer(act) as server:
        error = failed(server, way, MalformedResponse)
        assert server.peers[0].sent < LONGEST_ANSWER + KERNEL

    assert str(error) == (
        "openai sent more than 64 MiB for one answer; lower max_tokens, or check base_url"
    )
    assert not error.retryable


@pytest.mark.parametrize(
    "act",
    [
        endless(b"HTTP/1.1 200 OK\r\n", b"x-a: b\r\n" * 1000),
        endless(b"HTTP/1.1 200 OK\r\nx-a: ", b"b" * 65536),
        endless(STREAM, b"1;" + b"x" * 65536),
    ],
    ids=["headers", "one header", "chunk extension"],
)
def test_headers_without_end(way: str, act: Act):
    """They are refused as a broken connection."""
    with RawServer(act) as server:
        error = failed(server, way, ConnectionFailed)
        assert server.peers[0].sent < KERNEL

    assert str(error).startswith("openai broke the connection: Receive buffer too long")


@pytest.mark.parametrize("encoding", [b"gzip, gzip", b"br", b"zstd"])
def test_an_encoding_that_was_not_asked_for(way: str, encoding: bytes):
    """Only what can be unpacked bit by bit is taken: a bomb in a bomb is not."""
    body = answer(bomb(), headers=b"content-encoding: %b\r\n" % encoding)
    with RawServer(saying(body)) as server:
        error = failed(server, way, MalformedResponse)

    assert str(error) == (
        f"openai sent an answer packed as {encoding.decode()!r}, which was not asked for; "
        "check base_url and what stands between"
    )


SLOW = {
    "informational": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n", pause=0.01),
    "a flood of them": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
    "headers": endless(b"HTTP/1.1 200 OK\r\nx-a: ", b"b", pause=0.01),
    "keep-alive comments": endless(STREAM, chunk(b": keep-alive\n\n"), pause=0.01),
    "white space": endless(WHOLE, chunk(b"\n"), pause=0.01),
    "chunk extension": endless(STREAM + b"1;", b"x", pause=0.01),
}


@pytest.mark.parametrize("act", SLOW.values(), ids=list(SLOW))
def test_a_server_that_drips_meets_the_deadline(way: str, act: Act):
    """Whatever it sends to seem alive, `deadline` ends it."""
    with RawServer(act) as server:
        error = failed(server, way, ProviderTimeout, deadline=0.3)
        assert server.hung_up.wait(SOON)

    assert "had not answered at the turn's deadline; raise deadline=..." in str(error)
    assert not error.retryable


@pytest.mark.parametrize("name", ["headers", "keep-alive comments"])
def test_a_server_that_drips_meets_an_end(way: str, name: str, monkeypatch: pytest.MonkeyPatch):
    """Without a deadline a call ends after an hour."""
    assert limits.LONGEST_CALL == 3600
    monkeypatch.setattr(limits, "LONGEST_CALL", 0.5)
    with RawServer(SLOW[name]) as server:
        error = failed(server, way, ProviderTimeout, timeout=0.5)
        assert server.hung_up.wait(SOON)

    assert str(error) == "openai had not finished after 0.5 s; raise timeout=... above to wait"
    assert not error.retryable


def test_a_server_that_says_nothing(way: str):
    """A silence longer than `timeout` ends the call; another attempt is made."""
    with RawServer(holding()) as server:
        error = failed(server, way, ProviderTimeout, timeout=0.3)

    assert str(error) == "openai said nothing for 0.3 s; raise timeout=... to wait longer"
    assert error.retryable


# Streams


@of_streams
@pytest.mark.parametrize(
    ("act", "words"),
    [
        (saying(STREAM, chunk(HI), END), "ended in the middle of the answer"),
        (saying(STREAM, chunk(HI + HI[:30]), END), "ended in the middle of the answer"),
        (
            saying(STREAM, chunk(HI + delta('"é'.encode())[:-40]), END),
            "ended in the middle of the answer",
        ),
        (saying(STREAM, chunk(delta('"é"'.encode())[:48]), END), "ended before the answer: 'data"),
        (saying(STREAM, chunk(HI + event(b"Hi")), END), "not JSON .*: 'Hi'"),
        (
            saying(STREAM, chunk(HI + event(b'{"choices":' + b"[" * 10_000)), END),
            "not JSON .*recursion",
        ),
        (
            saying(STREAM, chunk(HI + delta(b"42") + STOP + DONE), END),
            "content cannot be a int",
        ),
    ],
    ids=["cut", "in an event", "in a character", "in the first", "no JSON", "deep", "a number"],
)
def test_a_stream_that_breaks(way: str, act: Act, words: str):
    """It is malformed; what had arrived is in the log, and no other attempt repeats it."""
    with RawServer(act) as server, agent_at(server.base_url, max_retries=1) as agent:
        session = agent.session()
        with pytest.raises(MalformedResponse, match=words):
            take(session, way)
        facts = [fact.event for fact in session.events() if isinstance(fact.event, ModelFailed)]
        assert len(facts) == len(server.peers)

    heard = [fact.partial.text for fact in facts if fact.partial]
    assert heard == (["Hi"] if "before" not in words else [])
    assert session.messages == []


@of_streams
def test_an_error_inside_of_a_stream(way: str):
    """It is raised as what its own words say."""
    said = event(b'{"error":{"message":"overloaded, %b","type":"server_error"}}' % KEY.encode())
    with RawServer(saying(STREAM, chunk(HI + said), END)) as server:
        error = failed(server, way, ServerFailed)

    assert str(error) == "openai broke off with an error: overloaded, [key]; try again"


@of_streams
@pytest.mark.parametrize(
    "act",
    [
        saying(STREAM, chunk(HI + STOP), END),
        saying(STREAM, chunk(HI + STOP + DONE), END),
        saying(STREAM, chunk(HI + DONE), END),
        saying(STREAM, chunk(HI + STOP + DONE + HI + event(b"nonsense")), END),
        saying(STREAM, chunk(HI + STOP + DONE)),
        saying(STREAM, chunk(HI + STOP + DONE), b"nonsense\r\n"),
        holding(STREAM, chunk(HI + STOP + DONE)),
        endless(STREAM + chunk(HI + STOP + DONE), chunk(HI * 1000)),
        saying(STREAM, b"".join(chunk(bytes([byte])) for byte in HI + STOP + DONE), END),
        saying(b"HTTP/1.0 200 OK\r\n\r\n" + HI + STOP + DONE),
    ],
    ids=[
        *("no marker", "marker", "no reason", "text after", "cut after", "broken after"),
        *("silent after", "endless after", "a byte a chunk", "no length"),
    ],
)
def test_a_stream_that_is_complete(way: str, act: Act):
    """A finish reason and a clean end, or the end marker alone: what follows it is not read."""
    assert answered(act, way).text == "Hi"


@of_streams
def test_a_stream_that_repeats_itself(way: str):
    """The protocol does not number its chunks: what comes twice was said twice."""
    assert answered(saying(STREAM, chunk(HI + HI + STOP + DONE), END), way).text == "HiHi"


@pytest.mark.parametrize(
    "usage",
    [
        b'{"prompt_tokens":1e308,"completion_tokens":1e308}',
        b'{"prompt_tokens":-5,"completion_tokens":-0.1}',
        b'{"prompt_tokens":"NaN","completion_tokens":[]}',
        b'{"prompt_tokens":1000000000000000000000000000000,"completion_tokens":null}',
        b'"many"',
    ],
)
def test_senseless_usage(way: str, usage: bytes):
    """What cannot be a number of tokens counts as none; the answer is kept."""
    whole = completion(b'{"content":"Hi"}', b',"usage":' + usage)
    response = answered(saying(answer(whole)), way)

    assert response.text == "Hi"
    assert (response.usage.input_tokens, response.usage.output_tokens) == (0, 0)


@of_streams
def test_absurd_indexes(way: str):
    """Indexes order the calls and name nothing else: no room is made for those between."""
    calls = b'{"index":%d,"id":"%b","function":{"name":"%b","arguments":"{}"}}'
    first = calls % (10**9, b"a", b"f") + b"," + calls % (-(10**9), b"b", b"g")
    said = event(b'{"choices":[{"delta":{"tool_calls":[%b]}}]}' % first) + DONE
    acts = (saying(STREAM, chunk(said), END), saying(STREAM, chunk(HI + DONE), END))
    with RawServer(*acts) as server, agent_at(server.base_url) as agent:
        response = take(agent.session(), way)

    assert [call.name for call in response.tool_calls] == ["g", "f"]


@pytest.mark.parametrize("indexed", [True, False])
def test_an_absurd_number_of_calls(way: str, indexed: bool):
    """More than a thousand calls are no answer: none of them is run."""
    calls = b",".join(
        b'{%b"id":"%d","function":{"name":"f","arguments":"{}"}}'
        % (b'"index":%d,' % n if indexed else b"", n)
        for n in range(20_000)
    )
    said = b'{"tool_calls":[%b]}' % calls
    with RawServer(saying(answer(completion(said)))) as server:
        error = failed(server, way, MalformedResponse)

    assert "more than 1000 tool calls" in str(error)


def test_an_absurd_number_of_choices(way: str):
    """The first is the one that was asked for."""
    more = b",".join(b'{"index":%d}' % n for n in range(1, 100_000))
    whole = completion(b'{"content":"Hi"}').replace(b"}]", b"}," + more + b"]", 1)

    assert answered(saying(answer(whole)), way).text == "Hi"


# Readers


@pytest.mark.parametrize("way", ["stream", "stream_async"])
def test_a_slow_reader_makes_the_server_wait(way: str):
    """What a stream's reader does not take stays with the server, not in memory."""

    def act(peer: Peer) -> None:
        peer.read_request()
        peer.send(STREAM)
        peer.connection.settimeout(1)
        while peer.sent < LONGEST_ANSWER:
            peer.send(chunk(HI * 1000))

    async def read(session) -> None:
        async with await session.stream_async("Hi") as stream:
            await anext(stream)
            await asyncio.to_thread(server.hung_up.wait, SOON)

    with RawServer(act) as server, agent_at(server.base_url) as agent:
        if way == "stream_async":
            asyncio.run(read(agent.session()))
        else:
            with agent.session().stream("Hi") as stream:
                next(stream)
                server.hung_up.wait(SOON)
        assert server.peers[0].sent < KERNEL


@of_streams
def test_a_stream_that_a_later_turn_took_over(way: str):
    """It hangs up at once, while somebody still holds it."""
    acts = (holding(STREAM, chunk(HI)), saying(STREAM, chunk(HI + DONE), END))
    with RawServer(*acts) as server, agent_at(server.base_url) as agent:
        session = agent.session()

        async def main() -> None:
            stream = await session.stream_async("One")
            await anext(stream)
            async for _ in await session.stream_async("Two"):
                pass
            assert await asyncio.to_thread(server.hung_up.wait, SOON)
            with pytest.raises(StreamAbandoned):
                await anext(stream)

        if way == "stream_async":
            asyncio.run(main())
        else:
            stream = session.stream("One")
            next(stream)
            take(session, way, "Two")
            assert server.hung_up.wait(SOON)
            with pytest.raises(StreamAbandoned):
                next(stream)
        assert [message.text for message in session.messages] == ["Two", "Hi"]


# The key


def echoes() -> Iterator[Act]:
    """Servers that repeat the key wherever they can."""
    key = KEY.encode()
    yield saying(b"HTTP/9 %b\r\n\r\n" % key)
    yield saying(answer(b"", status=307, headers=b"location: http://127.0.0.1/%b\r\n" % key))
    yield saying(answer(b"", content_type=f"text/html; {KEY}"))
    yield saying(answer(b"", headers=b"content-encoding: %b\r\n" % key))
    yield saying(answer(b'{"error":"%b"}' % key, status=401, headers=b"x-request-id: %b\r\n" % key))
    yield saying(answer(b'{"error":{"message":"m","code":"%b","type":"%b"}}' % (key, key)))
    for before in (60, 70, 480, 490):
        yield saying(answer(b"x" * before + key, status=400))
        yield saying(answer(b"x" * before + key))


@pytest.mark.parametrize("act", [*echoes()])
def test_a_server_that_repeats_the_key(way: str, act: Act):
    """No error, event or line of the log shows it, whole or cut."""
    with RawServer(act) as server:
        assert isinstance(ended(server, way), ProviderError)
