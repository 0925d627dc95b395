from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.tools.given import Terminal

TERMINAL_VARIABLES = ("AGENT_DB", "AGENT_MODEL", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Give the command a home of its own, a plain terminal, and no patience with warnings."""
    for name in (*TERMINAL_VARIABLES, "TTY_COMPATIBLE", "TTY_INTERACTIVE", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("PYTHONIOENCODING", "utf-8")
    monkeypatch.setenv("PYTHONWARNINGS", "error")


@pytest.fixture
def db(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where `agent chat` keeps its sessions in this test."""
    path = tmp_path / "sessions.db"
    monkeypatch.setenv("AGENT_DB", str(path))
    return path


@pytest.fixture
def open_terminal() -> Iterator[Callable[..., Terminal]]:
    """Start the command in a pseudo-terminal; whatever is left of it is killed at the end."""
    with ExitStack() as stack:
        yield lambda *arguments, **options: stack.enter_context(Terminal(*arguments, **options))
