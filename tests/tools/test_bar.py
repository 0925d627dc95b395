import os
import pty
import re
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from agent.tools import bar as module
from agent.tools.bar import bar
from tests.tools.given import COLOUR


@contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch) -> Generator[int]:
    """Make stderr a terminal, and look at it from its other end."""
    end, other = pty.openpty()
    os.set_blocking(end, False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    with os.fdopen(other, "w") as stream, monkeypatch.context() as patched:
        patched.setattr("sys.stderr", stream)
        yield end
    os.close(end)


def test_a_bar_shows_how_far_it_is(monkeypatch: pytest.MonkeyPatch):
    """With what is done, and how much of it; it goes away at the end."""
    monkeypatch.setattr(module, "_PATIENCE", 0)
    with terminal(monkeypatch) as end:
        with bar("copying") as told:
            assert told
            told(1, 4)
            told(3, 4)
        shown = os.read(end, 65536).decode()

    assert re.search(r"copying .* 75%", COLOUR.sub("", shown))
    assert shown.endswith("\x1b[2K")


def test_what_is_soon_done_shows_none(monkeypatch: pytest.MonkeyPatch):
    """A bar that flashes by helps nobody."""
    with terminal(monkeypatch) as end:
        with bar("copying") as told:
            assert told
            told(1, 1)
        with pytest.raises(BlockingIOError):
            os.read(end, 1)


def test_no_terminal_no_bar():
    """Nobody need count then."""
    with bar("copying") as told:
        assert told is None
