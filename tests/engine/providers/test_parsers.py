import itertools
import json

import pytest

from agent.engine.errors import MalformedResponse
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
