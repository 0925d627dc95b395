"""A local server that answers each POST as a function says, and keeps what it was sent."""

import json
import sys
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self, cast

from tests.fakes.chat_server import Request


class Sent(NamedTuple):
    """An answer: its status, its pieces (each sent on its own) and its type."""

    status: int
    pieces: Sequence[bytes]
    content_type: str = "application/json"


class Endpoint:
    """A context manager that serves on 127.0.0.1 and a free port."""

    def __init__(self, answer: Callable[[Request], Sent]) -> None:
        self.requests: list[Request] = []
        self._answer = answer
        self._failures: list[BaseException] = []
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.endpoint = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.005,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()
        if self._failures and error is None:
            raise AssertionError("the fake server itself failed") from self._failures[0]

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._http.server_port}"

    def take(self, request: Request) -> Sent:
        """Keep a request, and say what to answer."""
        self.requests.append(request)
        return self._answer(request)

    def failed(self, error: BaseException) -> None:
        """Keep an error of the fake itself, to raise it at the end."""
        self._failures.append(error)


class _Http(ThreadingHTTPServer):
    endpoint: Endpoint
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception()
        if error is not None and not isinstance(error, ConnectionError):
            self.endpoint.failed(error)


class _Handler(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing: the tests watch stderr."""

    def do_POST(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers["content-length"]))
        request = Request(self.command, self.path, headers, body, json.loads(body))
        sent = cast("_Http", self.server).endpoint.take(request)
        self.send_response(sent.status)
        self.send_header("content-type", sent.content_type)
        self.end_headers()
        for piece in sent.pieces:
            self.wfile.write(piece)
            self.wfile.flush()
