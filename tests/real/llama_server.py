"""llama.cpp's server as a process of its own: it has threads of its own, and may crash.

Run as a program it serves the model that its argument names, prints its address, and ends when its
input ends. That happens with the process that started it, however that one dies.
"""

import importlib
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Self

SLOTS = 2
CONTEXT = 16384
CONNECTIONS = 32  # each takes a thread of the server for as long as it is kept alive
START_TIMEOUT = 60.0
STOP_TIMEOUT = 10.0


class LlamaServer:
    """A context manager that serves a model on 127.0.0.1 and a free port.

    The server logs to the standard error of the tests, where pytest shows it with what failed.
    """

    def __init__(self, model: Path) -> None:
        self._model = model
        self._killed = False
        self.address = ("", 0)

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(self._model)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout
        too_late = threading.Timer(START_TIMEOUT, self._process.kill)
        too_late.start()
        url = self._process.stdout.readline().strip()
        too_late.cancel()
        if not url:
            self._stop()
            raise RuntimeError("llama.cpp did not start; its log is in the captured stderr")
        host, _, port = url.removeprefix("http://").partition(":")
        self.address = (host, int(port))
        return self

    def __exit__(self, *exc_info: object) -> None:
        crashed = self._process.poll()
        self._stop()
        if crashed is not None and not self._killed:
            raise RuntimeError(f"llama.cpp had ended with {crashed}; its log is in the stderr")

    @property
    def process_id(self) -> int:
        """The server's process."""
        return self._process.pid

    def kill(self) -> None:
        """End it in the middle of whatever it does."""
        self._killed = True
        self._process.kill()
        self._process.wait()

    def _stop(self) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def serve(model: str) -> None:
    """Serve until the standard input ends."""
    xllamacpp = importlib.import_module("xllamacpp")  # which has no types
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_parallel = SLOTS
    params.n_threads_http = CONNECTIONS
    params.n_ctx = SLOTS * CONTEXT
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.use_jinja = True
    params.warmup = False
    server = xllamacpp.Server(params)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    serve(sys.argv[1])
