import itertools
import json
from collections.abc import Callable

import pytest

from agent.engine.errors import MalformedResponse
from agent.engine.http.exchange import Parser
from agent.engine.providers.parsers import MOST_CALLS, MOST_PARTS
from tests.engine.providers.chat_completions import given as chat
from tests.engine.providers.generate_content import given as gemini
from tests.engine.providers.messages import given as messages
from tests.engine.providers.ollama_chat import given as ollama
from tests.engine.providers.ollama_chat.given import line, lines, stream_parser
from tests.engine.providers.reading import Read, cut
from tests.engine.providers.responses import given as responses

BODY = lines(line(content="Zo\xeb\u2028\u0085"), line(content=" says"), line(done=True))


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n\n"])
def test_a_line_is_an_object(end: bytes) -> None:
    """Whatever ends the lines, and wherever the body is cut; other line breaks are text."""
    body = BODY.replace(b"\n", end)
    raw = json.dumps("Zo\xeb\u2028\u0085")[1:-1].encode()
    body = body.replace(raw, "Zo\xeb\u2028\u0085".encode())
    everywhere = list(range(len(body)))
    for places in (everywhere, *([place] for place in everywhere)):
        read = Read(stream_parser(), *cut(body, places))
        assert read.answer.message.text == "Zo\xeb\u2028\u0085 says"
        assert len(read.texts) == 2


def test_what_follows_the_end_is_not_read() -> None:
    """The last line says that it is the last."""
    parser = stream_parser()
    assert list(parser.feed(BODY + b"nonsense\n"))
    assert parser.ended
    assert parser.answer().message.text.endswith("says")


def test_a_line_that_is_no_object() -> None:
    """It is named, and a cut one is told from a wrong one."""
    with pytest.raises(MalformedResponse, match="not JSON"):
        Read(stream_parser(), b"<html>\n")
    with pytest.raises(MalformedResponse, match="an object was expected"):
        Read(stream_parser(), b"[1]\n")
    for length in itertools.accumulate([len(BODY.splitlines()[0]) + 10, 5]):
        with pytest.raises(MalformedResponse, match="ended in the middle"):
            Read(stream_parser(), BODY[:length])


@pytest.mark.parametrize(
    ("parser", "call", "whole"),
    [
        (
            chat.stream_parser,
            lambda n: chat.sse(chat.chunk({"tool_calls": [chat.call("f", "{}", index=n)]})),
            lambda count: chat.whole(
                chat.completion({"tool_calls": [chat.call("f", "{}", id="a")] * count})
            ),
        ),
        (
            responses.stream_parser,
            lambda n: responses.done(responses.call(), n),
            lambda count: responses.whole(*[responses.call()] * count),
        ),
        (
            messages.stream_parser,
            lambda n: messages.block_events(n, messages.tool_use("f", {})),
            lambda count: messages.whole(messages.body(*[messages.tool_use("f", {})] * count)),
        ),
        (
            gemini.stream_parser,
            lambda _: gemini.sse(gemini.response(gemini.call("f", {}), finish=None)),
            lambda count: gemini.whole(*[gemini.call("f", {})] * count),
        ),
        (
            ollama.stream_parser,
            lambda _: lines(line(tool_calls=[ollama.call("f", {})])),
            lambda count: ollama.whole(tool_calls=[ollama.call("f", {})] * count),
        ),
    ],
    ids=["chat_completions", "responses", "messages", "generate_content", "ollama_chat"],
)
def test_an_absurd_number_of_calls(
    parser: Callable[[], Parser], call: Callable[[int], bytes], whole: Callable[[int], Read]
) -> None:
    """Each call would be run: one too many is refused as it comes, whatever may follow."""
    parsing = parser()
    for number in range(MOST_CALLS):
        assert list(parsing.feed(call(number))) == []
    with pytest.raises(MalformedResponse, match="more than 1000 tool calls"):
        list(parsing.feed(call(MOST_CALLS)))

    assert len(whole(MOST_CALLS).calls) == MOST_CALLS
    with pytest.raises(MalformedResponse, match="more than 1000 tool calls"):
        whole(MOST_CALLS + 1)


@pytest.mark.parametrize(
    ("parser", "part", "whole"),
    [
        (
            messages.stream_parser,
            lambda n: messages.event("content_block_start", index=n, content_block={"type": "x"}),
            lambda count: messages.whole(messages.body(*[{"type": "x"}] * count)),
        ),
        (
            gemini.stream_parser,
            lambda n: gemini.sse(gemini.response({"x": n}, finish=None)),
            lambda count: gemini.whole(*[{"x": 1}] * count),
        ),
    ],
    ids=["messages", "generate_content"],
)
def test_an_absurd_number_of_parts(
    parser: Callable[[], Parser], part: Callable[[int], bytes], whole: Callable[[int], Read]
) -> None:
    """Where each takes room of its own, the same holds for parts of any kind."""
    parsing = parser()
    for number in range(MOST_PARTS):
        assert list(parsing.feed(part(number))) == []
    with pytest.raises(MalformedResponse, match="more than 10000 parts"):
        list(parsing.feed(part(MOST_PARTS)))

    assert len(whole(MOST_PARTS).answer.message.parts) == MOST_PARTS
    with pytest.raises(MalformedResponse, match="more than 10000 parts"):
        whole(MOST_PARTS + 1)


def test_calls_are_counted_once() -> None:
    """A response repeats the calls of its stream at its end."""
    calls = [responses.call()] * (MOST_CALLS // 2 + 1)
    stream = b"".join(responses.done(call, place) for place, call in enumerate(calls))
    assert len(responses.streamed(stream, responses.end(*calls)).calls) == len(calls)
