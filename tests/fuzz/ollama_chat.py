"""What a body of Ollama's protocol is, for the fuzzer."""

from tests.engine.providers.ollama_chat.given import (
    call,
    items,
    line,
    lines,
    stream_parser,
    whole_parser,
)
from tests.fuzz.bodies import Body
from tests.fuzz.corpus import WORDS

STREAMS = (
    lines(line(content="Hi"), line(done=True)),
    lines(*(line(content=word) for word in WORDS.split(" ")), line(done=True)),
    lines(line(thinking="Let me "), line(thinking="see"), line(content="x", done=True)),
    lines(
        line(tool_calls=[call("add", {"a": 1, "b": [2]})]),
        line(tool_calls=[call("look_up", {"key": "Zo\xeb"}, id="call_x")]),
        line(done=True),
    ),
    lines(line(content="cut"), line(done=True, reason="length")).replace(b"\n", b"\r\n"),
    lines(line(content="a"), {"error": "llama runner terminated"}),
    b'{"message":{"content":"\\ud83c"},"done":true}',
)

WHOLES = (
    lines(line(content="Hello", done=True)),
    lines(line(content=WORDS, thinking="Hm", done=True)),
    lines(line(tool_calls=[call("add", {"a": 1}), call("now", "{}")], done=True)),
    b'{"error":{"message":"no such model"}}',
    b'{"done":true,"prompt_eval_count":1.0}',
)

STREAM = Body(stream_parser, items, STREAMS)
WHOLE = Body(whole_parser, items, WHOLES)
