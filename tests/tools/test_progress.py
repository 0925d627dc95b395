"""The bar that shows how far a command has come."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.eventstore.backends.memory import MemoryLog
from agent.eventstore.conformance.facts import said, started
from agent.tools import progress
from agent.tools.progress import last_position
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
    """It ends full, on stderr."""
    log = MemoryLog()
    log.append("s", [started("s"), said("a"), said("b")], expected=None)
    monkeypatch.setattr(progress, "_PATIENCE", 0.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress.shown(log, "Reading") as reached:
        assert reached is not None
        for position in (1, 2, 3):
            reached(position)

    last = capsys.readouterr().err.rsplit("\r", 1)[1]
    words = re.sub(r"\x1b\[\?25.", "", last).split()
    assert (words[0], words[-1]) == ("Reading", "100%")


def test_nobody_looks_at_what_is_no_terminal():
    """Into a file or a pipe no bar is drawn."""
    with progress.shown(MemoryLog(), "Reading") as reached:
        assert reached is None


def test_what_is_done_soon_needs_no_bar(db: Path, open_terminal: Callable[..., Terminal]):
    """A short log is read without a word."""
    recorded_calls(db)
    terminal = open_terminal("sql", "SELECT 1 AS one", "--csv")

    assert (terminal.leave(), terminal.written) == (
        0,
        run("sql", "SELECT 1 AS one", "--csv").stdout,
    )
