"""A server that sends exactly what it is told, for answers that no HTTP library would send."""

import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from typing import Self, TypeAlias

from tests.fakes.chat_server import RESET

Act: TypeAlias = Callable[["Peer"], None]


class Peer:
    """One connection, as the server sees it."""

    def __init__(self, connection: socket.socket, closing: threading.Event) -> None:
        self.connection = connection
        self.closing = closing
        self.sent = 0

    def read_request(self) -> None:
        """Wait for a whole request."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._some()
        head, _, body = data.partition(b"\r\n\r\n")
        found = re.search(rb"(?i)\ncontent-length: *(\d+)", head)
        while len(body) < int(found[1] if found else 0):
            body += self._some()

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self.connection.sendall(data)
        self.sent += len(data)

    def _some(self) -> bytes:
        data = self.connection.recv(65536)
        if not data:
            raise ConnectionResetError
        return data

    def wait(self, seconds: float) -> None:
        """Let time pass; ends early when the test does or the client hangs up."""
        self.connection.settimeout(0.01)
        left = seconds
        while left > 0 and not self.closing.is_set():
            try:
                if not self.connection.recv(1):
                    raise ConnectionResetError
            except TimeoutError:
                left -= 0.01
        self.connection.settimeout(60)


def saying(*pieces: bytes, pause: float = 0.0) -> Act:
    """Read the request, send the pieces, hang up."""
    return sending(lambda: pieces, pause=pause)


def sending(pieces: Callable[[], Iterable[bytes]], *, pause: float = 0.0) -> Act:
    """The same for pieces without end: until the client hangs up."""

    def act(peer: Peer) -> None:
        peer.read_request()
        for piece in pieces():
            peer.send(piece)
            if pause:
                peer.wait(pause)
            if peer.closing.is_set():
                return

    return act


def holding(*pieces: bytes) -> Act:
    """Read the request, send the pieces, and say no more."""

    def act(peer: Peer) -> None:
        saying(*pieces)(peer)
        peer.wait(60)

    return act


def resetting(*pieces: bytes) -> Act:
    """Read the request, send the pieces, and reset the connection."""

    def act(peer: Peer) -> None:
        saying(*pieces)(peer)
        reset(peer)

    return act


def reset(peer: Peer) -> None:
    """Reset the connection: no end is sent, what is on its way is lost."""
    peer.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)


def mute(peer: Peer) -> None:
    """Accept the connection and never say a word."""
    peer.wait(60)


class RawServer:
    """A context manager that serves on 127.0.0.1 and a free port.

    Each connection has its act, the last one those that follow too. ``hung_up`` is set when a
    client has ended a connection before its act was over.
    """

    def __init__(self, *acts: Act, tls: ssl.SSLContext | None = None) -> None:
        self.hung_up = threading.Event()
        self.peers: list[Peer] = []
        self._acts = acts
        self._tls = tls
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._accepting = threading.Thread(target=self._accept, daemon=True)

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._listener.getsockname()[1]

    @property
    def base_url(self) -> str:
        """The address to give to a client."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._closing.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            connection.settimeout(60)
            act = self._acts[min(len(self.peers), len(self._acts) - 1)]
            self.peers.append(Peer(connection, self._closing))
            thread = threading.Thread(target=self._serve, args=(self.peers[-1], act), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, peer: Peer, act: Act) -> None:
        try:
            if self._tls is not None:
                peer.connection = self._tls.wrap_socket(peer.connection, server_side=True)
            act(peer)
        except OSError:
            self.hung_up.set()
        finally:
            peer.connection.close()


# Answers, byte by byte


def answer(
    body: bytes, *, status: int = 200, content_type: str = "application/json", headers: bytes = b""
) -> bytes:
    """A whole answer with its length."""
    head = f"HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + headers + b"\r\n" + body


_HEAD = b"HTTP/1.1 200 OK\r\nconnection: close\r\ntransfer-encoding: chunked\r\ncontent-type: "
STREAM = _HEAD + b"text/event-stream\r\n\r\n"
WHOLE = _HEAD + b"application/json\r\n\r\n"
END = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """A chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(data: bytes) -> bytes:
    """An event of a stream."""
    return b"data: %b\n\n" % data


def delta(text: bytes, *, finish: bytes = b"null") -> bytes:
    """A piece of an answer's text as an event; ``text`` and ``finish`` are JSON."""
    return event(
        b'{"id":"c","choices":[{"index":0,"delta":{"content":%b},"finish_reason":%b}]}'
        % (text, finish)
    )


def completion(message: bytes, more: bytes = b"") -> bytes:
    """A whole answer's body; ``message`` is JSON."""
    return b'{"id":"c","choices":[{"index":0,"message":%b,"finish_reason":"stop"}]%b}' % (
        message,
        more,
    )


STOP = event(b'{"id":"c","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}')
DONE = event(b"[DONE]")
