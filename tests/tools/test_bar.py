"""The bar that shows how far a command has come."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.eventstore.backends.memory import MemoryLog
from agent.eventstore.conformance.facts import said, started
from agent.tools import bar
from agent.tools.bar import last_position
from tests.tools.given import Terminal, recorded_calls, run


@pytest.mark.parametrize("events", [0, 1, 2, 3, 4, 5, 31, 32, 33])
def test_the_last_position_of_a_log(events: int):
    """It is found without reading all of the log."""
    log = MemoryLog()
    if events:
        log.append("s", [started("s")], expected=None)
    for number in range(events - 1):
        log.append("s", [said(f"{number}")], expected=log.head("s"))

    assert last_position(log) == events


def test_a_bar_for_what_takes_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """It is drawn on stderr, and ends full."""
    log = MemoryLog()
    log.append("s", [started("s"), said("a"), said("b")], expected=None)
    monkeypatch.setattr(bar, "_PATIENCE", 0.0)
    monkeypatch.setattr(bar, "_PAUSE", 0.0)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with bar.walk(log, "reading") as reached:
        assert reached is not None
        for position in (1, 2, 3):
            reached(position)

    written = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", capsys.readouterr().err).split()
    assert (written[0], "100%" in written) == ("reading", True)


def test_nobody_looks_at_what_is_no_terminal():
    """Into a file or a pipe no bar is drawn."""
    with bar.walk(MemoryLog(), "Reading") as reached:
        assert reached is None


def test_what_is_done_soon_needs_no_bar(db: Path, open_terminal: Callable[..., Terminal]):
    """A short log is read without a word."""
    recorded_calls(db)
    terminal = open_terminal("sql", "SELECT 1 AS one", "--csv")

    assert (terminal.leave(), terminal.written) == (
        0,
        run("sql", "SELECT 1 AS one", "--csv").stdout,
    )
