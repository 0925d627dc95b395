import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.engine.agent import Agent
from agent.engine.scripted import ScriptedModel
from agent.engine.session import Session
from agent.engine.stores import SQLiteStore
from tests.tools.given import COLOUR, Terminal, run


def _opened(store: SQLiteStore, session_id: str) -> Session:
    return Agent(ScriptedModel([]), store=store).session(session_id)


def _figures(pattern: str, output: str) -> tuple[str, ...]:
    found = re.search(pattern, output)
    assert found, f"{pattern} is not in {output}"
    return found.groups()


def test_the_figures_are_those_of_the_file(tmp_path: Path):
    """Versions, sizes, counts and events on the screen are those of the stored sessions."""
    path = tmp_path / "demo.db"
    shown = run("demo", "--db", str(path)).stdout

    at, size = _figures(r"Fork: at version (\d+), for 1 event of (\d+) bytes", shown)
    back = _figures(r"session\.at\((\d+)\) has (\d+) of the (\d+) messages", shown)
    with SQLiteStore(path) as store:
        trip, fork = _opened(store, "trip"), _opened(store, "trip-osaka")
        (first, *_) = store.log.read("trip-osaka", after=int(at), until=int(at) + 1)
        text = json.dumps(trip.to_dict())
        assert (first.type, len(first.payload)) == ("session.forked", int(size))
        assert back == (at, str(len(trip.at(int(at)).messages)), str(len(trip.messages)))
        assert f"to_dict() is {len(text):,} bytes of JSON" in shown
        assert f"read back: {trip.version} events, every hash checked, the same" in shown
        assert re.findall(r"^ +(\d+)  ([a-z.]+)", shown, re.MULTILINE) == [
            (str(fact.version), fact.type) for fact in trip.events()
        ]
        for one in (trip, fork):
            last = one.messages[-1].text
            assert f'{one.session_id}: {len(one.messages)} messages, ends "{last}"' in shown
        assert trip.messages[-1] != fork.messages[-1]


def test_it_tells_the_whole_story(tmp_path: Path):
    """From a tool call and a fork to a replay, a rerun, a refused export and a real model."""
    shown = run("demo", "--db", str(tmp_path / "demo.db")).stdout

    assert 'tool: get_weather({"city":"Kyoto"}) = {"sky":"sunny"' in shown
    assert "Sunny and 24 degrees: good for a walk.  (8 pieces)" in shown
    assert "10  turn.completed   trip-osaka branches off here" in shown
    assert "replay: trip: no difference in 14 events, 3 requests" in shown
    assert "replay, as a poet: version 4: another request (cause: system prompt)" in shown
    assert 'in the fork trip-rain: "Rain: begin under a roof."' in shown
    assert "refused, event 7: the event does not match its hash" in shown
    assert 'Agent(provider="openai", model="gpt-4o")' in shown
    assert "OPENAI_API_KEY" in shown


def test_piped_it_is_plain_and_fits_a_screen(tmp_path: Path):
    """Without a terminal there are no control characters, 80 columns and less than 50 lines."""
    done = run("demo", "--db", str(tmp_path / "demo.db"))

    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.replace("\n", "").isprintable()
    assert [line for line in lines if line != line.rstrip()] == []
    assert max(len(line) for line in lines if "The log: /" not in line) <= 80
    assert len(lines) < 50


def test_by_itself_it_uses_a_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Without --db the log is a file in a fresh temporary folder, and its path is printed."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    paths = [Path(_figures(r"The log: (/.*)\n", run("demo").stdout)[0]) for _ in range(2)]

    assert paths[0] != paths[1]
    for path in paths:
        assert path.is_relative_to(tmp_path)
        with SQLiteStore(path) as store:
            assert store.list_sessions() == ["trip", "trip-osaka", "trip-rain"]


def test_a_second_run_adds_its_own_sessions(tmp_path: Path):
    """Run again on the same file, it leaves the sessions of the first run as they are."""
    path = tmp_path / "demo.db"
    first = run("demo", "--db", str(path))
    second = run("demo", "--db", str(path))

    assert (first.returncode, second.returncode) == (0, 0)
    with SQLiteStore(path) as store:
        assert store.list_sessions() == [
            "trip",
            "trip-2",
            "trip-2-osaka",
            "trip-2-rain",
            "trip-osaka",
            "trip-rain",
        ]
        assert {_opened(store, name).version for name in ("trip", "trip-2")} == {14}


def test_it_is_streamed_and_coloured_on_a_terminal(
    tmp_path: Path, open_terminal: Callable[..., Terminal], monkeypatch: pytest.MonkeyPatch
):
    """On a terminal the answers come word by word, in colour."""
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal = open_terminal("demo", "--db", str(tmp_path / "demo.db"))

    terminal.expect("Sunny ")
    assert "walk" not in terminal.written
    assert terminal.leave() == 0
    assert COLOUR.search(terminal.written)


def test_no_color_is_respected(
    tmp_path: Path, open_terminal: Callable[..., Terminal], monkeypatch: pytest.MonkeyPatch
):
    """With NO_COLOR a terminal gets plain text."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = open_terminal("demo", "--db", str(tmp_path / "demo.db"))

    assert terminal.leave() == 0
    assert "\x1b" not in terminal.written


def test_it_works_where_only_ascii_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A terminal without Unicode gets replacements, not a traceback."""
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    done = run("demo", "--db", str(tmp_path / "demo.db"))

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()


def test_a_file_that_cannot_be_opened_is_one_line(tmp_path: Path):
    """A wrong path ends in a sentence that names it, and status 2."""
    path = tmp_path / "missing" / "demo.db"
    done = run("demo", "--db", str(path))

    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"Error: cannot open {path}: its folder does not exist; make it first")
