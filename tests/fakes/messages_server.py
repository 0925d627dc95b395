"""A local fake of Anthropic's `POST /v1/messages`: it refuses what the real one would refuse.

Scripted answers are used up in order by valid requests only. A body that asks for a stream gets
the bytes of the second of a pair, others those of the first.
"""

import json
import re
import threading
from collections import deque
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self, cast

from tests.fakes.messages_validation import Refused, check_body

POLL = 0.005


class Reply(NamedTuple):
    """What to send: a whole answer and the same as a stream, or one body with its status."""

    whole: bytes
    stream: bytes
    status: int = 200
    headers: Mapping[str, str] = {}


def error(status: int, kind: str, words: str, **headers: str) -> Reply:
    """An error in the API's shape."""
    said = {"type": "error", "error": {"type": kind, "message": words}, "request_id": "req_body"}
    body = json.dumps(said).encode()
    return Reply(
        body, body, status, {name.replace("_", "-"): value for name, value in headers.items()}
    )


class Asked(NamedTuple):
    """A request as it came in."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """What it says."""
        return json.loads(self.body)


class MessagesServer:
    """A context manager that serves on 127.0.0.1 and a free port."""

    def __init__(self, *replies: Reply) -> None:
        self.requests: list[Asked] = []
        self._script = deque(replies)
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.fake = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(POLL,), daemon=True)

    @property
    def base_url(self) -> str:
        """The address to give to a client."""
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    @property
    def bodies(self) -> list[Any]:
        """What all requests say."""
        return [request.json for request in self.requests]

    def script(self, *replies: Reply) -> None:
        """Queue replies."""
        self._script.extend(replies)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def answer(self, asked: Asked) -> Reply:
        """Record a request, check it, and say what to send."""
        self.requests.append(asked)
        if asked.path != "/v1/messages":
            return error(404, "not_found_error", "Not found")
        if asked.headers.get("x-api-key") != "sk-ant-0123456789":
            return error(401, "authentication_error", "invalid x-api-key")
        if not re.fullmatch(r"\d{4}-\d\d-\d\d", asked.headers.get("anthropic-version", "")):
            return error(400, "invalid_request_error", "anthropic-version: header is required")
        try:
            check_body(asked.json)
        except Refused as refused:
            return error(400, "invalid_request_error", str(refused))
        return self._script.popleft()


class _Http(ThreadingHTTPServer):
    fake: MessagesServer
    daemon_threads = True
    block_on_close = False


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing."""

    def do_POST(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers["content-length"]))
        reply = cast("_Http", self.server).fake.answer(Asked(self.path, headers, body))
        streams = reply.status == 200 and json.loads(body).get("stream")
        sent = reply.stream if streams else reply.whole
        self.send_response(reply.status)
        self.send_header("request-id", "req_1")
        self.send_header("content-type", "text/event-stream" if streams else "application/json")
        self.send_header("content-length", str(len(sent)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(sent)
