"""Keys stay where they belong: in the headers of requests."""

import json
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from agent import Agent, tool
from agent.engine.providers.vendors import VENDORS
from agent.errors import ProviderError
from agent.eventstore.events import ModelFailed
from agent.stores import SQLiteStore
from tests.engine.given import kinds
from tests.engine.providers.chat_completions import given as chat
from tests.engine.providers.generate_content import given as gemini
from tests.engine.providers.given import ONE_OF_EACH_API
from tests.engine.providers.messages import given as messages
from tests.engine.providers.ollama_chat import given as ollama
from tests.engine.providers.responses import given as responses
from tests.fakes.chat_server import Request
from tests.fakes.endpoint import Endpoint, Sent

KEY = "sk-proj-0123456789abcdef"
STREAM = "text/event-stream"
OUTCOMES = [
    *("model.responded", "tool.returned", "model.responded", "turn.completed"),
    *("model.failed", "turn.resumed", "model.responded", "turn.completed"),
    *("model.responded", "tool.returned", "model.failed"),
    *("turn.resumed", "model.responded", "turn.completed"),
]
"""What becomes of a turn with a call, of one that is cut, and of one that fails after a call."""


class Telltale:
    """A server that is asked with the key, and only in the headers."""

    def __init__(self, replies: Iterator[Sent]) -> None:
        self.replies = replies
        self.keys: list[bool] = []

    def __call__(self, request: Request) -> Sent:
        """The next reply."""
        self.keys.append(KEY in "".join(request.headers.values()))
        assert KEY not in request.path
        assert KEY.encode() not in request.body
        return next(self.replies)


def failures(word: str) -> Iterator[Sent]:
    """A word in each kind of failure: in a status, an answer, and a stream."""
    error = {"error": {"message": f"Bad key {word}", "type": word, "code": word}}
    yield Sent(401, [json.dumps(error).encode()])
    yield Sent(500, [f"<h1>{word}</h1>".encode()])
    yield Sent(200, [f"no JSON: {word}".encode()])
    yield Sent(200, [f"data: no JSON: {word}\n\n".encode()], STREAM)
    failed = f"event: error\ndata: {json.dumps(error)}\n\n"
    yield Sent(200, [failed.encode()], STREAM)
    yield Sent(302, [f"to {word}".encode()])


class Answers(NamedTuple):
    """Bodies of a protocol: a call, a text, and the text as a stream, in two pieces."""

    called: bytes
    said: bytes
    streamed: bytes


ANSWERS = {
    "chat_completions": Answers(
        chat.completion({"tool_calls": [chat.call("look", "{}", id="c1")]}, finish="tool_calls"),
        chat.completion({"content": "So."}),
        chat.sse(
            chat.chunk({"content": "So"}), chat.chunk({"content": "."}), chat.chunk(finish="stop")
        )
        + chat.DONE,
    ),
    "responses": Answers(
        json.dumps(responses.response(responses.call("look"))).encode(),
        json.dumps(responses.response(responses.text("So."))).encode(),
        responses.delta("So") + responses.delta(".") + responses.end(responses.text("So.")),
    ),
    "messages": Answers(
        messages.body(messages.tool_use("look", {}), stop_reason="tool_use"),
        messages.body(messages.text("So.")),
        messages.stream(messages.text("So.")),
    ),
    "generate_content": Answers(
        gemini.body(gemini.call("look", {})),
        gemini.body({"text": "So."}),
        gemini.sse(gemini.response({"text": "So"}, finish=None), gemini.response({"text": "."})),
    ),
    "ollama_chat": Answers(
        ollama.lines(ollama.line(done=True, tool_calls=[ollama.call("look", {})])),
        ollama.lines(ollama.line(done=True, content="So.")),
        ollama.lines(ollama.line(content="So"), ollama.line(content="."), ollama.line(done=True)),
    ),
}


def successes(answers: Answers, word: str) -> Iterator[Sent]:
    """A turn with a call, one that is cut half way, and one that fails after a call."""
    failed = Sent(401, [json.dumps({"error": {"message": f"Bad key {word}"}}).encode()])
    half = answers.streamed[: answers.streamed.index(b'"."')]
    yield Sent(200, [answers.called])
    yield Sent(200, [answers.said])
    yield Sent(200, [half], STREAM)
    yield Sent(200, [answers.streamed], STREAM)
    yield Sent(200, [answers.called])
    yield failed
    yield Sent(200, [answers.said])


@tool
def look() -> str:
    """Look."""
    return "Seen"


def told_by(error: BaseException, *, with_locals: bool) -> str:
    """What is shown of an error, as some tools do it with all local values."""
    whole = traceback.TracebackException.from_exception(error, capture_locals=with_locals)
    return "".join(whole.format())


@pytest.mark.parametrize("repeated", [True, False])
@pytest.mark.parametrize("name", ONE_OF_EACH_API)
def test_the_key_is_in_no_file_log_or_error(
    name: str, repeated: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even where the server repeats it; if it does not, no local value shows it either."""
    caplog.set_level(logging.DEBUG)
    path, telltale = tmp_path / "sessions.db", Telltale(failures(KEY if repeated else "word"))
    said: list[str] = []
    with Endpoint(telltale) as server, SQLiteStore(path) as store:
        agent = Agent(name, "m", base_url=server.url, api_key=KEY, store=store, max_retries=0)
        with agent:
            session = agent.session("s")
            for streamed in (False, False, False, True, True, True):
                with pytest.raises(ProviderError) as caught:
                    session.stream("Hi").finish() if streamed else session.run("Hi")
                said += [told_by(caught.value, with_locals=not repeated), repr(vars(caught.value))]
            said += [repr(agent), repr(session), json.dumps(session.to_dict())]
    assert telltale.keys == [True] * 6
    assert ("[key]" in "\n".join(said)) is repeated
    check_hidden(said, tmp_path, caplog)


@pytest.mark.parametrize("repeated", [True, False])
@pytest.mark.parametrize("name", ONE_OF_EACH_API)
def test_the_key_is_in_no_turn_that_succeeds(
    name: str, repeated: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """At once, with a tool, or resumed after a stream that was cut and after a failure."""
    caplog.set_level(logging.DEBUG)
    path, answers = tmp_path / "sessions.db", ANSWERS[VENDORS[name].api]
    telltale = Telltale(successes(answers, KEY if repeated else "word"))
    said: list[str] = []
    with Endpoint(telltale) as server, SQLiteStore(path) as store:
        agent = Agent(
            name, "m", base_url=server.url, api_key=KEY, store=store, max_retries=0, tools=[look]
        )
        with agent:
            session = agent.session("s")
            said.append(repr(session.run("Hi")))
            with pytest.raises(ProviderError) as cut:
                said.extend(map(repr, session.stream("And?")))
            said += [repr(session.unfinished_turn), *map(repr, session.resume_stream())]
            with pytest.raises(ProviderError) as refused:
                session.run("Then?")
            said += [repr(session.unfinished_turn), repr(session.resume())]
            for caught in (cut, refused):
                said.append(told_by(caught.value, with_locals=not repeated))
                said.append(repr(vars(caught.value)))
            said += [repr(agent), repr(session), json.dumps(session.to_dict())]
            facts = list(session.events())
            said += map(repr, facts)
            partials = [fact.event.partial for fact in facts if isinstance(fact.event, ModelFailed)]
            assert [partial and partial.text for partial in partials] == ["So", None]
            assert [kind for kind in kinds(session) if kind in OUTCOMES] == OUTCOMES
    assert telltale.keys == [True] * 7
    assert ("[key]" in "\n".join(said)) is repeated
    check_hidden(said, tmp_path, caplog)


def check_hidden(said: list[str], folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The key is in nothing of this, no log record and no file."""
    said += [str(vars(record)) for record in caplog.records]
    assert KEY not in "\n".join(said)
    for file in folder.iterdir():
        assert KEY.encode() not in file.read_bytes()
