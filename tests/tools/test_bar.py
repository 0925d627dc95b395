import os
import pty
from collections.abc import Iterator

import pytest

from agent.tools import bar as module
from agent.tools.bar import bar
from tests.tools.given import COLOUR


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The other end of a terminal that stderr is."""
    end, other = pty.openpty()
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")
    with os.fdopen(other, "w") as stream:
        monkeypatch.setattr("sys.stderr", stream)
        yield end
    os.close(end)


def test_a_bar_shows_how_far_it_is(terminal: int, monkeypatch: pytest.MonkeyPatch):
    """With what is done, and how much of it; it goes away at the end."""
    monkeypatch.setattr(module, "_PATIENCE", 0)
    with bar("copying") as told:
        assert told
        told(1, 4)
        told(3, 4)

    shown = COLOUR.sub("", os.read(terminal, 65536).decode())
    assert "copying" in shown
    assert " 75%" in shown
    assert shown.endswith("\x1b[2K")


def test_what_is_soon_done_shows_none(terminal: int):
    """A bar that flashes by helps nobody."""
    with bar("copying") as told:
        assert told
        told(1, 1)
    os.set_blocking(terminal, False)

    with pytest.raises(BlockingIOError):
        os.read(terminal, 1)


def test_no_terminal_no_bar(capsys: pytest.CaptureFixture[str]):
    """Nobody need count then."""
    with bar("copying") as told:
        assert told is None

    assert capsys.readouterr().err == ""
