"""A server that sends exactly what it is told, for answers that no HTTP library would send."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self, TypeAlias

from tests.fakes.chat_server import RESET

Act: TypeAlias = Callable[["Peer"], None]


class Peer:
    """One connection, as the server sees it."""

    def __init__(self, connection: socket.socket, closing: threading.Event) -> None:
        self.connection = connection
        self.closing = closing

    def read_request(self) -> bytes:
        """Wait for a whole request."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._some()
        head, _, body = data.partition(b"\r\n\r\n")
        (length,) = (
            int(line.partition(b":")[2])
            for line in head.split(b"\r\n")
            if line.lower().startswith(b"content-length:")
        )
        while len(body) < length:
            body += self._some()
        return data

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
        self.connection.settimeout(None)


def saying(*pieces: bytes, pause: float = 0.0) -> Act:
    """Read the request, send the pieces, hang up."""
    return sending(lambda: pieces, pause=pause)


def sending(pieces: Callable[[], Iterable[bytes]], *, pause: float = 0.0) -> Act:
    """The same for pieces without end: until the client hangs up."""

    def act(peer: Peer) -> None:
        peer.read_request()
        for piece in pieces():
            peer.connection.sendall(piece)
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
    """A context manager that serves on 127.0.0.1 and a free port: ``act`` for each connection.

    ``hung_up`` is set when a client has ended a connection before the act was over.
    """

    def __init__(self, act: Act, *, tls: ssl.SSLContext | None = None) -> None:
        self._act = act
        self._tls = tls
        self.closing = threading.Event()
        self.hung_up = threading.Event()
        self.connections = 0
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.closing.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join(10)
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                if self._tls is not None:
                    connection = self._tls.wrap_socket(connection, server_side=True)
                with connection:
                    self._act(Peer(connection, self.closing))
            except OSError:
                self.hung_up.set()


# Answers, byte by byte


def answer(
    body: bytes, *, status: int = 200, content_type: str = "application/json", headers: bytes = b""
) -> bytes:
    """A whole answer with its length."""
    head = f"HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + headers + b"\r\n" + body


STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """A chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)
