"""`agent sql`."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tools.given import COLOUR, Terminal, changed, recorded_calls, run

ENDLESS = "WITH RECURSIVE c (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT max(x) FROM c"
ODD = "SELECT 1 AS a, 'x,\"y' AS b, NULL AS a, x'00ff' AS d, 9e999 AS e"


@pytest.fixture(autouse=True)
def calls(db: Path) -> None:
    """A log to ask."""
    recorded_calls(db)


def test_rows_stand_below_their_columns():
    """Numbers are set to the right, and each row is one line."""
    done = run("sql", "SELECT key, version, 'a' || char(10) || 'b' AS x FROM sessions ORDER BY key")

    assert done.stdout.splitlines() == [
        "key   version  x",
        "lost       12  a b",
        "trip       10  a b",
    ]
    assert (done.returncode, done.stderr) == (0, "")


def test_a_table_is_drawn_on_a_terminal(open_terminal: Callable[..., Terminal]):
    """There it is as wide as the window at most."""
    terminal = open_terminal(
        "sql", "SELECT key, version FROM sessions ORDER BY 1", "--no-pager", width=40
    )

    assert terminal.leave() == 0
    assert COLOUR.sub("", terminal.written).splitlines() == [
        "╭──────┬─────────╮",
        "│ key  │ version │",
        "├──────┼─────────┤",
        "│ lost │      12 │",
        "│ trip │      10 │",
        "╰──────┴─────────╯",
    ]


def test_comma_separated_values():
    """Blobs are hexadecimal, NULL is empty, and names of columns may come twice."""
    assert run("sql", ODD, "--csv").stdout == 'a,b,a,d,e\n1,"x,""y",,00ff,inf\n'


def test_rows_as_json():
    """A document and lines have the same rows; a name that comes again has a number."""
    document = json.loads(run("sql", ODD, "--json").stdout)
    (line,) = run("sql", ODD, "--nl").stdout.splitlines()

    (row,) = document["rows"]
    assert row == {"a": 1, "b": 'x,"y', "a:1": None, "d": "00ff", "e": "inf"}
    assert json.loads(line) == {"schema": "agent.sql/1", **row}


def test_no_rows_have_columns():
    """Where nothing is found, the columns are still told."""
    empty = "SELECT key, version FROM sessions WHERE key = 'none'"

    assert run("sql", empty).stdout == "key  version\n"
    assert run("sql", empty, "--csv").stdout == "key,version\n"


def test_what_can_be_asked():
    """Without a query there are the views, the tables, and their columns."""
    rows = json.loads(run("sql", "--json").stdout)["rows"]
    columns = {row["name"]: row["columns"].split(", ") for row in rows}

    views = [row["name"] for row in rows if row["type"] == "view"]
    assert views == [
        "history",
        "messages",
        "model_calls",
        "sessions",
        "tool_calls",
        "turns",
        "usage",
    ]
    assert columns["sessions"][:3] == ["id", "key", "session_id"]
    assert "texts" in columns


def test_a_query_from_stdin():
    """`-` reads it."""
    assert run("sql", "-", "--csv", given="SELECT 1 + 1 AS two\n").stdout == "two\n2\n"


def test_costs_can_be_asked():
    """The function of the library is there, too."""
    query = "SELECT cost('openai', 'gpt-4o', 1000000, 0, 0, 0) AS dollars"

    assert run("sql", query, "--csv").stdout == "dollars\n2.5\n"


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("SELECT * FORM t", ['near "FORM": syntax error', "SELECT * FORM t", "         ^"]),
        (
            "SELECT 'x' AS x,\n  key, x x x\nFROM sessions",
            ['near "x": syntax error', "  key, x x x", "           ^"],
        ),
        ("SELECT 1, t.nope FROM turns t", ["no such column: t.nope", None, "            ^"]),
        ("SELECT 1 FROM nope", ["no such table: nope", None, "              ^"]),
        ("SELECT (1", ["incomplete input", "SELECT (1", "         ^"]),
        ("DELETE FROM texts", ["attempt to write a readonly database"]),
        ("SELECT 1; SELECT 2", ["You can only execute one statement at a time."]),
    ],
)
def test_what_is_wrong_with_a_query(query: str, told: list[str | None]):
    """The reason, the line, and the place in it, where SQLite tells."""
    done = run("sql", query)

    reason, *places = told
    lines = [f"Error: the query failed: {reason}", *(f"    {one or query}" for one in places)]
    assert (done.returncode, done.stdout, done.stderr.splitlines()) == (2, "", lines)


def test_a_limit_on_time():
    """A query that takes longer is stopped."""
    done = run("sql", ENDLESS, "--timeout", "0.1")

    words = "Error: the query failed: it took longer than 0.1 seconds\n"
    assert (done.returncode, done.stderr) == (2, words)


def test_ctrl_c_ends_a_query(open_terminal: Callable[..., Terminal]):
    """Nobody has to wait for what takes too long."""
    terminal = open_terminal("sql", ENDLESS)

    assert terminal.leave("\x03") == 130
    assert "Error" not in terminal.written
    assert "Traceback" not in terminal.written


@pytest.mark.parametrize("form", ["--table", "--csv", "--json"])
def test_cells_command_no_terminal(form: str, db: Path, open_terminal: Callable[..., Terminal]):
    """Escapes in what was said, and in names of columns, do nothing."""
    evil = "\\u001b]52;c;evil\\u0007"
    changed(db, f"UPDATE events SET payload = replace(payload, 'Sunny in', '{evil}')")
    query = "SELECT result, 1 AS \"\x1b[2J\" FROM tool_calls WHERE result LIKE '%evil%'"
    terminal = open_terminal("sql", query, form, "--no-pager")

    assert terminal.leave() == 0
    assert "evil" in terminal.written
    assert not set("\x1b\x07") & set(COLOUR.sub("", terminal.written))


def test_a_file_gets_values_as_they_are(db: Path):
    """What is no terminal is given text unchanged."""
    changed(db, "UPDATE events SET payload = replace(payload, 'Sunny in', 'a\\tb\\u001b')")
    query = "SELECT result FROM tool_calls WHERE NOT is_error"

    assert run("sql", query, "--csv").stdout == "result\na\tb\x1b Zürich.\n"
