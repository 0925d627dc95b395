"""`agent search`, and what it has in common with other commands that ask tables."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from agent.engine.agent import Agent
from agent.engine.scripted import ScriptedModel
from agent.engine.stores import SQLiteStore
from tests.tools.given import Terminal, changed, recorded_calls, run

ASKING = [("search", "sunny"), ("stats",), ("sql", "SELECT count(*) AS texts FROM texts")]


@pytest.fixture(autouse=True)
def calls(db: Path) -> None:
    """A log to search."""
    recorded_calls(db)


def _found(*arguments: str) -> list[list[str]]:
    """Place, role and snippet of each hit."""
    done = run("search", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [line.split(maxsplit=4) for line in done.stdout.splitlines()]
    return [[row[0], *row[3:]] for row in rows]


def test_hits_have_place_role_and_snippet():
    """The newest come first, with marks around what was found."""
    assert _found("sunny") == [
        ["trip@9", "assistant", "It is [sunny]."],
        ["trip@7", "tool", "[Sunny] in Zürich."],
    ]


def test_all_words_have_to_be_there():
    """Words stand anywhere in a text, in any order; a phrase and a beginning are possible."""
    assert _found("zurich", "sunny") == [["trip@7", "tool", "[Sunny] in [Zürich]."]]
    assert _found('"is sunny"') == [["trip@9", "assistant", "It [is sunny]."]]
    assert _found("zur*", "--in", "messages") == [["trip@3", "user", "And in [Zürich]?"]]


@pytest.mark.parametrize(
    ("place", "hits"),
    [
        ("messages", [["trip@3", "user", "And in [Zürich]?"]]),
        ("tool_calls", [["trip@5", "calls", 'weather  {"city":"[Zürich]"}']]),
        ("results", [["trip@7", "tool", "Sunny in [Zürich]."]]),
    ],
)
def test_one_place_only(place: str, hits: list[list[str]]):
    """`--in` looks at messages, at what tools were called with, or at what they gave."""
    assert _found("zürich", "--in", place) == hits


def test_so_many_hits():
    """`-n` takes the newest."""
    assert [hit[0] for hit in _found("sunny", "-n", "1")] == ["trip@9"]


def test_one_session_only(db: Path):
    """`--session` has what the session has inherited, and names it as the session does."""
    with SQLiteStore(db) as store:
        agent = Agent(ScriptedModel(["Sunny here."]), store=store)
        agent.session("trip").fork("copy", at=7)
        agent.session("other").run("Hello")

    assert [hit[0] for hit in _found("sunny", "--session", "cop")] == ["copy@7"]
    assert [hit[0] for hit in _found("sunny", "--session", "other")] == ["other@4"]


def test_nothing_found():
    """The status is that of grep."""
    lines, document = run("search", "snow"), run("search", "snow", "--json")

    assert (lines.returncode, lines.stdout, lines.stderr) == (1, "", "")
    assert (document.returncode, json.loads(document.stdout)["hits"]) == (1, [])


@pytest.mark.parametrize("words", ["(", '"', "a AND", "NOT", "x:y", "^", "*", "'", "-"])
def test_words_are_no_syntax(words: str):
    """Whatever is typed is looked for."""
    done = run("search", "--", words)

    assert (done.returncode in (0, 1), done.stderr) == (True, "")


def test_raw_syntax():
    """`--fts` hands the words to SQLite, and says what it does not understand."""
    assert [hit[0] for hit in _found("sunny NOT zurich", "--fts")] == ["trip@9"]
    done = run("search", "--fts", "(")

    words = 'Error: the query failed: fts5: syntax error near ""\n'
    assert (done.returncode, done.stdout, done.stderr) == (2, "", words)


def test_hits_as_json():
    """A document and lines have the same hits."""
    document = json.loads(run("search", "sunny", "--json").stdout)
    lines = [json.loads(line) for line in run("search", "sunny", "--nl").stdout.splitlines()]

    assert lines == [{"schema": "agent.search/1", **hit} for hit in document["hits"]]
    hit = lines[1]
    del hit["recorded_at"]
    assert hit == {
        "schema": "agent.search/1",
        "session": "trip",
        "version": 7,
        "turn": 3,
        "kind": "result",
        "role": "tool",
        "tool": None,
        "snippet": "Sunny in Zürich.",
    }


def test_found_text_commands_no_terminal(db: Path):
    """Escapes in what was said are shown, and do nothing."""
    evil = "\\u001b[2J sunny\\u202e"
    changed(db, f"UPDATE events SET payload = replace(payload, 'Sunny in', '{evil}')")
    done = run("search", "sunny", "--in", "results")

    assert done.stdout.endswith("  ␛[2J [sunny]\ufffd Zürich.\n")


def test_hits_are_highlighted_on_a_terminal(
    open_terminal: Callable[..., Terminal], monkeypatch: pytest.MonkeyPatch
):
    """There a colour marks what was found."""
    monkeypatch.setenv("TERM", "xterm-256color")
    terminal = open_terminal("search", "sunny", "--no-pager", "-n", "1")

    assert terminal.leave() == 0
    assert terminal.written.endswith("It is \x1b[31m\x1b[1msunny\x1b[0m.\n")


@pytest.mark.parametrize("arguments", ASKING)
def test_what_was_recorded_meanwhile_is_there(arguments: tuple[str, ...], db: Path):
    """The tables are brought up to date before they are asked."""
    before = run(*arguments).stdout
    with SQLiteStore(db) as store:
        Agent(ScriptedModel(["Sunny again."]), store=store).session("more").run("Hello")

    assert run(*arguments).stdout != before


@pytest.mark.parametrize("arguments", ASKING)
def test_tables_that_cannot_be_written(arguments: tuple[str, ...], db: Path, tmp_path: Path):
    """What is asked is answered from tables that end with the command, and stderr says so."""
    wanted = run(*arguments, "--json").stdout
    for beside in tmp_path.glob("sessions.tables.db*"):
        beside.unlink()
    tables = db.with_suffix(".tables.db")
    tables.mkdir()
    done = run(*arguments, "--json")

    assert (done.returncode, done.stdout) == (0, wanted)
    assert done.stderr.startswith(f"cannot open {tables}: ")
    assert done.stderr.endswith("; the tables are made for this command alone\n")


def test_a_file_of_something_else_beside_the_log(db: Path):
    """A foreign file in the place of the tables is left alone."""
    tables = db.with_suffix(".tables.db")
    with closing(sqlite3.connect(tables)) as other:
        other.execute("CREATE TABLE mine (a)")
    before = tables.read_bytes()
    done = run("search", "sunny", "-n", "1")

    assert (done.returncode, len(done.stdout.splitlines())) == (0, 1)
    assert done.stderr.startswith(f"{tables} is a database of something else")
    assert tables.read_bytes() == before


@pytest.mark.parametrize("arguments", ASKING)
def test_an_empty_log(arguments: tuple[str, ...], tmp_path: Path):
    """Nothing is found in it, and nothing was taken."""
    path = tmp_path / "new.db"
    with SQLiteStore(path) as store:
        store.list_sessions()
    done = run(*arguments, "--db", str(path))

    assert (done.returncode, done.stderr) == (1 if arguments[0] == "search" else 0, "")


@pytest.mark.parametrize(("columns", "words"), [(40, 2), (100, 4)])
def test_lines_fit_the_window(columns: int, words: int, monkeypatch: pytest.MonkeyPatch):
    """In a narrow one the time gives way to the text."""
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = run("search", "sunny").stdout.splitlines()
    assert [line for line in lines if len(line) > columns] == []
    assert [len(line.partition("tool ")[0].split()) + 1 for line in lines[1:2]] == [words]
