import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from agent.engine.providers.vendors import VENDORS
from tests.engine.rebuilding import rebuilding
from tests.engine.replaying import replaying
from tests.fakes.chat_server import ChatServer

settings.register_profile("quick", max_examples=25, derandomize=True, deadline=None)
settings.register_profile("thorough", max_examples=1000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

VARIABLES = {
    name
    for vendor in VENDORS.values()
    for name in (vendor.key_variable, vendor.url_variable, *vendor.more_key_variables)
}
FOREIGN = ("OPENAI_", "ANTHROPIC_", "GEMINI_", "GOOGLE_", *VARIABLES)


def pytest_configure(config: pytest.Config) -> None:
    """Declare what tests can say of themselves."""
    config.addinivalue_line(
        "markers", "unreplayed: its log is forged, or what it was recorded with is gone"
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """Hold what every test has recorded against what can be rebuilt of it, and replay it."""
    if item.get_closest_marker("unreplayed") is not None:
        return (yield)
    with pytest.MonkeyPatch.context() as patch, rebuilding(patch), replaying(patch):
        return (yield)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hide the caller's keys, proxies and Python's buffers, and come back to the same directory."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    for name in list(os.environ):
        if name.startswith(FOREIGN) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    before = Path.cwd()
    yield
    os.chdir(before)


@pytest.fixture
def chat_server() -> Iterator[ChatServer]:
    """Serve the fake of OpenAI's API for one test."""
    with ChatServer() as server:
        yield server


@pytest.fixture
def openai_env(chat_server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> ChatServer:
    """Point the usual environment variables to the fake server, and return it."""
    monkeypatch.setenv("OPENAI_BASE_URL", chat_server.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    return chat_server
