import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.llama_server import LlamaServer
from tests.real.relay import Relay, relayed
from tests.real.tiny_model import write_model


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Make the model once for all processes of a test run."""
    own = tmp_path_factory.getbasetemp()
    path = (own if worker_id == "master" else own.parent) / "tiny-random.gguf"
    if not path.exists():
        unfinished = path.with_suffix(f".{worker_id}")
        write_model(unfinished)
        unfinished.replace(path)
    return path


@pytest.fixture(scope="session")
def llama(tiny_model: Path) -> Iterator[LlamaServer]:
    """Serve the model, in a process of its own, to all tests of this process."""
    if importlib.util.find_spec("xllamacpp") is None:
        missing = "xllamacpp is not installed: there is no wheel for this platform"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    with LlamaServer(tiny_model) as server:
        yield server


@pytest.fixture
def relay(llama: LlamaServer) -> Iterator[Relay]:
    """Stand between one test and the server, and keep the requests."""
    with relayed(llama.address) as relay:
        yield relay
