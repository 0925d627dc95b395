import itertools
import json
from collections.abc import Iterator

import pytest

from agent.engine.errors import MalformedResponse
from agent.engine.provider import Answer, Delta
from agent.engine.providers.origin import Origin
from agent.engine.providers.parsers import MOST_CALLS, EventParser, Reading, WholeParser
from agent.engine.providers.wire import Object
from agent.eventstore.messages import Message, ToolCallPart
from tests.engine.providers.ollama_chat.given import line, lines, stream_parser
from tests.engine.providers.reading import Read, cut

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


class Calling(Reading):
    """An answer with so many calls."""

    def __init__(self, count: int) -> None:
        super().__init__(Origin("openai", "chat_completions", "m"))
        self._calls = [ToolCallPart(f"{number}", "a", "{}") for number in range(count)]

    def whole(self, body: Object) -> Iterator[Delta]:
        """Take anything."""
        self.complete = bool(body)
        return iter(())

    def event(self, kind: str, data: Object) -> Iterator[Delta]:
        """Take anything."""
        return self.whole({kind: data})

    def answer(self) -> Answer:
        """The calls."""
        return Answer(Message.assistant(*self._calls), "tool_calls")


@pytest.mark.parametrize(
    ("parser", "body"), [(WholeParser, b'{"a": 1}'), (EventParser, b"data: {}\n\n")]
)
def test_an_absurd_number_of_calls(parser: type[WholeParser | EventParser], body: bytes) -> None:
    """Each call would be run, so an answer has at most so many, whatever the protocol."""
    assert len(Read(parser(Calling(MOST_CALLS)), body).calls) == MOST_CALLS
    with pytest.raises(MalformedResponse, match="more than 1000 tool calls"):
        Read(parser(Calling(MOST_CALLS + 1)), body)
