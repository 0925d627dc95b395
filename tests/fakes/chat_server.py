"""A local fake of OpenAI's `POST /v1/chat/completions`, as strict as the real one.

    with ChatServer() as server:
        server.script([Error(429, headers={"retry-after": "0"}), Text("Hello")])
        ...  # a client that talks to server.base_url
        assert len(server.requests) == 2

Scripted replies are used up first, in order, by valid requests only; then the deterministic
model of `chat_model` answers. Every request is recorded, refused ones too.
"""

import dataclasses
import socket
import struct
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self, TypeAlias, cast

from tests.fakes import chat_model, chat_wire
from tests.fakes.chat_replies import (
    CloseConnection,
    Error,
    Hang,
    RawBody,
    Reply,
    Stream,
    Text,
)
from tests.fakes.chat_validation import ApiError, check_body, check_headers, parse

PATH = "/v1/chat/completions"
POLL = 0.005
CACHED_PROMPTS = 16
RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Request:
    """A request as it came in; `json` is None when the body could not be parsed."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    json: Any

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The conversation that was sent."""
        return self.json["messages"]


Manners: TypeAlias = Callable[[dict[str, Any]], dict[str, Any]]
Scripted: TypeAlias = Reply | Callable[[Request], Reply]


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: dict[str, str]
    body: Iterable[bytes]
    streamed: bool = False
    how: Stream | None = None


class ChatServer:
    """A context manager that serves on 127.0.0.1 and a free port.

    A subclass serves another API: its path, what it refuses, what it thinks and how it answers.

    ``manners`` makes another vendor of it: given a body, it refuses what that vendor refuses and
    returns the body without what only that vendor takes.
    """

    path = PATH

    def __init__(self, manners: Manners = dict) -> None:
        self._manners = manners
        self.requests: list[Request] = []
        self.connections = 0
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._script: deque[Scripted] = deque()
        self._prompts: deque[str] = deque(maxlen=CACHED_PROMPTS)
        self._answered = 0
        self._open: set[socket.socket] = set()
        self._failures: list[BaseException] = []
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.chat = self
        self._thread = threading.Thread(target=self._http.serve_forever, args=(POLL,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.closing.set()
        self._http.shutdown()
        self._thread.join()
        with self._lock:
            for connection in self._open:
                _quietly(connection.shutdown, socket.SHUT_RDWR)
        self._http.server_close()
        if self._failures and error is None:
            raise AssertionError("the fake server itself failed") from self._failures[0]

    @property
    def base_url(self) -> str:
        """The address to give to a client, `/v1` included."""
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """The parsed bodies of all requests."""
        return [request.json for request in self.requests]

    @property
    def unused(self) -> int:
        """The number of scripted replies that nobody has asked for yet."""
        return len(self._script)

    def script(self, replies: Iterable[Scripted]) -> None:
        """Queue replies; a function makes its reply from the request."""
        self._script.extend(replies)

    def unscript(self) -> None:
        """Drop the replies that nobody has asked for."""
        self._script.clear()

    def opened(self, connection: socket.socket) -> None:
        """Take note of a connection, to close it at the end."""
        with self._lock:
            self.connections += 1
            self._open.add(connection)

    def closed(self, connection: socket.socket) -> None:
        """Forget a connection."""
        with self._lock:
            self._open.discard(connection)

    def failed(self, error: BaseException) -> None:
        """Keep an error of the fake itself, to raise it at the end."""
        self._failures.append(error)

    def answer(self, request: Request) -> tuple[int, _Answer | Hang | CloseConnection]:
        """Record a request, check it, and return its number and what to send back."""
        with self._lock:
            self._answered += 1
            number = self._answered
            self.requests.append(request)
        try:
            request = self.check(request)
        except ApiError as error:
            return number, _plain(Error(error.status, error.body))
        with self._lock:
            scripted = self._script.popleft() if self._script else None
        if scripted is None:
            reply: Reply = self.think(request)
        else:
            reply = scripted if isinstance(scripted, Reply) else scripted(request)
        if isinstance(reply, Hang | CloseConnection):
            return number, reply
        if isinstance(reply, Error | RawBody):
            return number, _plain(reply)
        how = reply if isinstance(reply, Stream) else Stream(reply)
        body = self.completed(number, request, how)
        if request.json.get("stream"):
            headers = {"content-type": "text/event-stream; charset=utf-8"}
            return number, _Answer(200, headers, body, streamed=True, how=how)
        return number, _Answer(200, {"content-type": "application/json"}, body, how=how)

    def check(self, request: Request) -> Request:
        """The request in the API's own words. Raise `ApiError` for what it refuses."""
        if request.path != self.path:
            raise ApiError(f"Invalid URL ({request.method} {request.path})", status=404)
        if request.method != "POST":
            raise ApiError(f"Not allowed to {request.method} on {request.path}", status=405)
        check_headers(request.headers)
        body = self._manners(parse(request.body))
        self.check_body(body)
        return dataclasses.replace(request, json=body)

    def check_body(self, body: Any) -> None:
        """Raise `ApiError` for a body that the API refuses."""
        check_body(body)

    def think(self, request: Request) -> Reply:
        """Answer a request for which nothing is scripted."""
        return chat_model.answer(request.json)

    def completed(self, number: int, request: Request, how: Stream) -> Iterable[bytes]:
        """The pieces of the body of an answer."""
        prompt = chat_wire.prompt_text(request.json)
        with self._lock:
            cached = chat_wire.cached_tokens(prompt, list(self._prompts))
            self._prompts.append(prompt)
        completion = chat_wire.Completion(number, request.json, how.reply, cached)
        if request.json.get("stream"):
            return chat_wire.stream_events(completion, how)
        return [chat_wire.completion_body(completion)]


def _plain(reply: Error | RawBody) -> _Answer:
    headers = {"content-type": "application/json"}
    headers.update({name.lower(): value for name, value in reply.headers.items()})
    body = chat_wire.error_body(reply) if isinstance(reply, Error) else reply.body
    return _Answer(reply.status, headers, [body])


def _quietly(action: Callable[..., object], *arguments: object) -> None:
    try:
        action(*arguments)
    except OSError:
        return


class _Http(ThreadingHTTPServer):
    chat: ChatServer
    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def handle_error(self, request: Any, client_address: Any) -> None:
        error = sys.exception()
        if error is not None and not isinstance(error, ConnectionError):
            self.chat.failed(error)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def chat(self) -> ChatServer:
        return cast("_Http", self.server).chat

    def setup(self) -> None:
        super().setup()
        self.chat.opened(self.connection)

    def finish(self) -> None:
        self.chat.closed(self.connection)
        super().finish()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Say nothing: the tests watch stderr."""

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve()

    def _serve(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self._read_body(headers)
        request = Request(self.command, self.path, headers, body, _parsed(body))
        number, answer = self.chat.answer(request)
        match answer:
            case Hang(seconds=seconds):
                self.chat.closing.wait(seconds)
                self.close_connection = True
            case CloseConnection():
                self._reset()
            case _Answer():
                self._send(number, answer)

    def _read_body(self, headers: Mapping[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(headers.get("content-length", "0")))
        parts: list[bytes] = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _reset(self) -> None:
        """Make the close below an RST instead of a FIN."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.close_connection = True

    def _send(self, number: int, answer: _Answer) -> None:
        self.send_response(answer.status)
        self.send_header("x-request-id", f"req_{number:08d}")
        self.send_header("openai-processing-ms", "1")
        for name, value in answer.headers.items():
            self.send_header(name, value)
        how = answer.how or Stream(Text(""))
        if answer.streamed:
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            self._write(answer.body, how, chunked=True)
            return
        body = b"".join(answer.body)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self._write([body], how, chunked=False)

    def _write(self, body: Iterable[bytes], how: Stream, *, chunked: bool) -> None:
        left = how.cut_after
        for data in _resized(body, how.write):
            part = data if left is None else data[:left]
            if part:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
            if left is not None:
                left -= len(part)
                if left == 0:
                    self.close_connection = True
                    return
            if how.delay:
                self.chat.closing.wait(how.delay)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")


def _resized(body: Iterable[bytes], size: int | None) -> Iterator[bytes]:
    if size is None:
        yield from body
        return
    data = b"".join(body)
    for start in range(0, len(data), size):
        yield data[start : start + size]


def _parsed(body: bytes) -> Any:
    try:
        return parse(body)
    except ApiError:
        return None
