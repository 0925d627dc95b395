"""Keys stay where they belong: in the headers of requests."""

import json
import logging
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import Agent
from agent.errors import ProviderError
from agent.stores import SQLiteStore
from tests.engine.providers.given import ONE_OF_EACH_API
from tests.fakes.chat_server import Request
from tests.fakes.endpoint import Endpoint, Sent

KEY = "sk-proj-0123456789abcdef"


class Telltale:
    """A server that says a word in each of its failures: in a status, an answer, and a stream."""

    def __init__(self, word: str) -> None:
        self.word = word
        self.replies = self._replies()
        self.keys: list[bool] = []

    def __call__(self, request: Request) -> Sent:
        """The next reply."""
        self.keys.append(KEY in "".join(request.headers.values()))
        assert KEY not in request.path
        assert KEY.encode() not in request.body
        return next(self.replies)

    def _replies(self) -> Iterator[Sent]:
        word = self.word
        error = {"error": {"message": f"Bad key {word}", "type": word, "code": word}}
        yield Sent(401, [json.dumps(error).encode()])
        yield Sent(500, [f"<h1>{word}</h1>".encode()])
        yield Sent(200, [f"no JSON: {word}".encode()])
        yield Sent(200, [f"data: no JSON: {word}\n\n".encode()], "text/event-stream")
        failed = f"event: error\ndata: {json.dumps(error)}\n\n"
        yield Sent(200, [failed.encode()], "text/event-stream")
        yield Sent(302, [f"to {word}".encode()])


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
    path, telltale = tmp_path / "sessions.db", Telltale(KEY if repeated else "word")
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
    said += [str(vars(record)) for record in caplog.records]
    assert KEY not in "\n".join(said)
    assert ("[key]" in "\n".join(said)) is repeated
    for file in tmp_path.iterdir():
        assert KEY.encode() not in file.read_bytes()
