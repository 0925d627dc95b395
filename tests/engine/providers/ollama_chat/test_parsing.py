import json
from typing import Any

import pytest

from agent.engine.errors import MalformedResponse, ServerFailed
from agent.eventstore.messages import ReasoningPart, TextPart, ToolCallPart
from agent.eventstore.values import Usage
from tests.engine.providers.ollama_chat.given import (
    ORIGIN,
    call,
    items,
    line,
    lines,
    stream_parser,
    streamed,
    whole,
    whole_parser,
)
from tests.engine.providers.reading import Read

CALLS = [call("add", {"a": 1}), call("now", {}, id="call_x")]


def test_an_answer_is_the_same_whole_and_streamed() -> None:
    """Thoughts, text and calls, each joined; the last line counts."""
    in_pieces = streamed(
        line(thinking="Let me "),
        line(thinking="see"),
        line(content="It\u2028"),
        line(content="is"),
        line(tool_calls=CALLS[:1]),
        line(tool_calls=CALLS[1:]),
        line(done=True),
    )
    at_once = whole(thinking="Let me see", content="It\u2028is", tool_calls=CALLS)
    assert in_pieces.answer == at_once.answer
    assert "".join(in_pieces.texts) == "It\u2028is"
    assert "".join(in_pieces.reasonings) == "Let me see"
    answer = at_once.answer
    assert answer.message.parts == (
        ReasoningPart("Let me see", ORIGIN.opaque({})),
        TextPart("It\u2028is"),
        ToolCallPart("", "add", '{"a":1}'),
        ToolCallPart("call_x", "now", "{}", opaque=ORIGIN.opaque(CALLS[1])),
    )
    assert (answer.finish_reason, answer.raw_finish_reason) == ("tool_calls", "stop")
    assert (answer.usage, answer.model) == (Usage(20, 3), "llama3.2")


def test_what_was_said_goes_back() -> None:
    """To the model that said it, thoughts and ids included."""
    said = {"content": "Yes", "thinking": "Hm", "tool_calls": CALLS}
    assert items(whole(**said).answer.message) == [{"role": "assistant", **said}]


@pytest.mark.parametrize(
    ("reason", "finish"),
    [("stop", "stop"), ("length", "length"), ("load", "other"), ("", "stop")],
)
def test_why_an_answer_ends(reason: str, finish: str) -> None:
    """Older servers say nothing when all is well."""
    answer = streamed(line(content="a"), line(done=True, reason=reason)).answer
    assert (answer.finish_reason, answer.raw_finish_reason) == (finish, reason or None)


@pytest.mark.parametrize(
    "given",
    [
        b"",
        lines(line(content="a")),
        lines(line(content="a"), line(done=True))[:-20],
        b"<html>",
        lines({"done": True}),
        lines(line(done=True, tool_calls=[call("", {})])),
        lines(line(done=True, tool_calls=[call("a", {})] * 1001)),
    ],
)
def test_what_is_no_answer(given: bytes) -> None:
    """Cut, of another form, or without a message."""
    for parser in (stream_parser(), whole_parser()):
        with pytest.raises(MalformedResponse):
            Read(parser, given)


def test_the_last_line_may_lack_its_end() -> None:
    """What it says is whole all the same."""
    given = lines(line(content="a"), line(done=True)).rstrip()
    assert Read(stream_parser(), given).answer.message.text == "a"


@pytest.mark.parametrize("error", ["runner terminated", {"message": "runner terminated"}])
def test_an_error_may_come_inside_a_stream(error: Any) -> None:
    """Nothing after it counts."""
    with pytest.raises(ServerFailed, match="terminated"):
        streamed(line(content="a"), {"error": error}, line(done=True))


def test_arguments_may_be_text() -> None:
    """Some servers write them as such; none at all are none."""
    read = whole(tool_calls=[call("a", '{"b": 1}'), {"function": {"name": "c"}}])
    assert read.calls == [("", "a", '{"b": 1}'), ("", "c", "{}")]
    assert json.loads(read.calls[0][2]) == {"b": 1}
