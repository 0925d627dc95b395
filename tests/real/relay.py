"""A relay between a client and a server that keeps the requests, byte by byte.

It hands on what comes in either direction as it comes, and hangs up on one side when the other
does.
"""

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

POLL = 0.005
PIECE = 65536


class Relay(socketserver.ThreadingTCPServer):
    """Listens on 127.0.0.1 and a free port.

    ``bodies`` are those of all requests, in order. ``asked`` is set by the first request,
    ``dropped`` when a client hangs up.
    """

    daemon_threads = True
    request_queue_size = 64
    block_on_close = False

    def __init__(self, upstream: tuple[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream = upstream
        self.bodies: list[bytes] = []
        self.asked = threading.Event()
        self.dropped = threading.Event()

    @property
    def base_url(self) -> str:
        """The address to give to a client, `/v1` included."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A broken connection is what the relay is there for."""


class _Handler(socketserver.StreamRequestHandler):
    server: Relay  # pyright: ignore[reportIncompatibleVariableOverride] - the one that this is made for

    def handle(self) -> None:
        with socket.create_connection(self.server.upstream) as upstream:
            answers = threading.Thread(target=self._answer, args=(upstream,), daemon=True)
            answers.start()
            # How a client hangs up that has not read all, and what is left of a server that did.
            with suppress(ConnectionResetError, BrokenPipeError):
                for head, body in self._requests():
                    self.server.bodies.append(body)
                    upstream.sendall(head + body)
                    self.server.asked.set()
            self.server.dropped.set()
            with suppress(OSError):
                upstream.shutdown(socket.SHUT_RDWR)
            answers.join()

    def _requests(self) -> Iterator[tuple[bytes, bytes]]:
        while line := self.rfile.readline():
            head, length = line, 0
            while line.strip():
                line = self.rfile.readline()
                head += line
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            yield head, self.rfile.read(length)

    def _answer(self, upstream: socket.socket) -> None:
        with suppress(OSError):
            while piece := upstream.recv(PIECE):
                self.connection.sendall(piece)
            # A request that crosses the hang-up is still read: it was sent, and counts.
            self.connection.shutdown(socket.SHUT_WR)


@contextmanager
def relayed(upstream: tuple[str, int]) -> Iterator[Relay]:
    """Run a relay to a server."""
    with Relay(upstream) as relay:
        thread = threading.Thread(target=relay.serve_forever, args=(POLL,), daemon=True)
        thread.start()
        yield relay
        relay.shutdown()
        thread.join()
