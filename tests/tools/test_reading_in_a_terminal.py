"""What the commands that read a log do in a real terminal: colours, the pager, the width."""

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.engine.agent import Agent
from agent.engine.scripted import Reply, ScriptedModel
from agent.engine.stores import SQLiteStore
from tests.tools.given import COLOUR, Terminal, recorded_trip, run

Open = Callable[..., Terminal]

LISTS = [("log", "trip"), ("sessions",), ("tree",), ("show", "trip", "--state"), ("diff", "trip~")]


@pytest.fixture(autouse=True)
def trip(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log to read, in a terminal with a pager that shows what it was given."""
    recorded_trip(db)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("PAGER", "sed s/^/paged:/")


@pytest.mark.parametrize("arguments", LISTS)
def test_lists_are_paged(arguments: tuple[str, ...], open_terminal: Open):
    """The pager is given just what a pipe would be."""
    terminal = open_terminal(*arguments, width=120)

    assert terminal.leave() == (1 if arguments[0] == "diff" else 0)
    lines = COLOUR.sub("", terminal.written).splitlines()
    assert lines == [f"paged:{line}" for line in run(*arguments).stdout.splitlines()]


@pytest.mark.parametrize("arguments", LISTS)
def test_no_pager(arguments: tuple[str, ...], open_terminal: Open):
    """`--no-pager` writes to the terminal itself."""
    terminal = open_terminal(*arguments, "--no-pager", width=120)

    assert terminal.leave() == (1 if arguments[0] == "diff" else 0)
    assert COLOUR.sub("", terminal.written) == run(*arguments).stdout


def test_nothing_is_not_paged(open_terminal: Open):
    """Where nothing differs, no pager is started."""
    terminal = open_terminal("diff", "trip", "trip")

    assert (terminal.leave(), terminal.written) == (0, "")


def test_json_is_not_paged(open_terminal: Open):
    """What is for programs comes as it is, also to a terminal."""
    terminal = open_terminal("log", "trip", "--nl")

    assert terminal.leave() == 0
    assert terminal.written == run("log", "trip", "--nl").stdout


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
@pytest.mark.parametrize("option", ["--no-pager", "--oneline"])
def test_colour_follows_no_color(
    option: str, no_color: str, coloured: bool, monkeypatch: pytest.MonkeyPatch, open_terminal: Open
):
    """There are colours on a terminal, through the pager too, unless NO_COLOR is set."""
    monkeypatch.setenv("NO_COLOR", no_color)
    terminal = open_terminal("log", "trip", option)

    assert terminal.leave() == 0
    assert bool(COLOUR.search(terminal.written)) == coloured


@pytest.mark.parametrize("width", [30, 47, 80])
def test_lines_fit_the_terminal(width: int, db: Path, open_terminal: Open):
    """A long text is cut at the window's edge, also where its characters are two columns wide."""
    with SQLiteStore(db) as store:
        model = ScriptedModel([Reply(text="東京" * 100)])
        Agent(model, store=store).session("trip").run("word " * 100)
    terminal = open_terminal("log", "trip", "--oneline", "--no-pager", width=width)

    assert terminal.leave() == 0
    lines = COLOUR.sub("", terminal.written).splitlines()
    columns = [sum(2 if character > "\u2e80" else 1 for character in line) for line in lines]
    assert max(columns) in {width, width - 1}


def test_following_is_not_paged_and_ends_with_ctrl_c(open_terminal: Open):
    """`-f` writes as it happens, and Ctrl-C is the way out."""
    terminal = open_terminal("log", "trip", "-f", "--oneline")
    terminal.expect("     9  ")
    terminal.expect("turn.completed")

    assert terminal.leave("\x03") == 130
    assert "paged:" not in terminal.written
    assert "Traceback" not in terminal.written
