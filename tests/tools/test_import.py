import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from agent import Agent, Session
from agent.engine.scripted import ScriptedModel
from agent.engine.stores import SQLiteStore
from tests.tools.given import COMMAND, event_types, history, recorded_trip, run

BODY = {
    "model": "m",
    "temperature": 1,
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
    ],
}
HI = [("user", "Hi"), ("assistant", "Hello")]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Another log, with sessions to bring."""
    path = tmp_path / "source.db"
    recorded_trip(path)
    return path


def exported(source: Path, *arguments: str) -> str:
    """What `agent export` writes of the other log."""
    return run("export", *arguments, "--db", str(source)).stdout


def kept(path: Path, *names: str) -> list[dict[str, Any] | None]:
    """The sessions of a log, whole."""
    with SQLiteStore(path) as store:
        return [store.load(name) for name in names]


def test_lines(db: Path, source: Path):
    """All sessions of a file, with their names and forks; the log that is made is told."""
    lines = exported(source, "--all")
    done = run("import", "-", given=lines)
    again = run("import", "-", given=lines)

    assert (done.returncode, done.stdout) == (0, "sessions 2, events 14\n")
    assert done.stderr == f"made the log {db}\n"
    assert kept(db, "trip", "trip-osaka") == kept(source, "trip", "trip-osaka")
    assert (again.stdout, again.stderr) == ("sessions 0, events 0\n", "")


def test_a_session(db: Path, source: Path, tmp_path: Path):
    """A session as a dictionary; an earlier one of it gets what it misses."""
    path = tmp_path / "trip.json"
    path.write_text(exported(source, "trip", "--format", "json"))
    first = run("import", "-", given=exported(source, "trip~1", "--format", "json"))
    then = run("import", str(path))
    again = run("import", str(path))

    assert [done.stdout for done in (first, then, again)] == ["trip@5\n", "trip@9\n", "trip@9\n"]
    assert kept(db, "trip") == kept(source, "trip")


def test_a_session_under_another_name(db: Path, source: Path):
    """It is a fork, and is there once however often it is taken in."""
    data = exported(source, "trip", "--format", "json")
    both = [run("import", "-", "--session", "copy", given=data) for _ in range(2)]

    assert [done.stdout for done in both] == ["copy@10\n"] * 2
    assert event_types(db, "copy")[9:] == ["session.forked"]


@pytest.mark.parametrize("name", ["json", "jsonl"])
def test_a_session_that_went_on_otherwise(name: str, db: Path, source: Path):
    """Nothing is written, the status is 1, and the ways out are named."""
    recorded_trip(db)
    before = kept(db, "trip")
    done = run("import", "-", given=exported(source, "trip", "--format", name))

    assert (done.returncode, done.stdout, kept(db, "trip")) == (1, "", before)
    assert "--session ID takes it in beside" in done.stderr


def test_messages_become_a_session(db: Path):
    """What cannot be taken in is told; the session has a name of its own, or the one given."""
    done = run("import", "-", "--session", "talk", given=json.dumps(BODY))
    other = run("import", "-", given=json.dumps(BODY["messages"]))

    assert (done.returncode, done.stdout) == (0, "talk@3\n")
    assert done.stderr.splitlines() == [
        f"made the log {db}",
        "talk: not taken in: fields of the body: 1 (temperature)",
    ]
    assert event_types(db, "talk") == ["session.started", "message.added", "message.added"]
    assert history(db, "talk") == HI == history(db, other.stdout.partition("@")[0])
    with SQLiteStore(db) as store:
        assert Agent(ScriptedModel([]), store=store).session("talk").system == "Be brief."


@pytest.mark.parametrize("name", ["openai", "anthropic"])
def test_messages_go_on_with_a_session(name: str, db: Path, source: Path):
    """A session that begins as they do gets the rest of them; it may be a recorded one."""
    data = exported(source, "trip", "--format", "json")
    run("import", "-", given=exported(source, "trip~1", "--format", "json"))
    longer = exported(source, "trip", "--format", name)
    done = run("import", "-", "--session", "trip", given=longer)
    again = run("import", "-", "--session", "trip", given=longer)

    assert (done.returncode, done.stdout, again.stdout) == (0, "trip@7\n", "trip@7\n")
    restored = Session.from_dict(json.loads(data), Agent(ScriptedModel([])))
    assert history(db, "trip") == [(one.role, one.text) for one in restored.messages]


@pytest.mark.parametrize(
    "messages",
    [
        BODY["messages"][:2],
        [{"role": "system", "content": "Be long."}, *BODY["messages"][1:]],
        [*BODY["messages"][:1], {"role": "user", "content": "Ho"}, BODY["messages"][2]],
    ],
)
def test_other_messages_are_refused(messages: list[Any], db: Path):
    """A session that says something else, or more, stays as it is."""
    run("import", "-", "--session", "talk", given=json.dumps(BODY))
    done = run("import", "-", "--session", "talk", given=json.dumps(messages))

    assert (done.returncode, done.stdout, history(db, "talk")) == (1, "", HI)
    assert "talk says something else, or more. Nothing was imported" in done.stderr


@pytest.mark.parametrize("name", ["jsonl", "json", "openai"])
def test_a_cut_file(name: str, db: Path, source: Path):
    """Wherever it was cut, nothing of it is taken in; the status is 3."""
    text = exported(source, "trip", "--format", name)
    for end in (len(text) // 3, len(text) * 2 // 3, len(text) - 3):
        done = run("import", "-", given=text[:end])
        assert (done.returncode, done.stdout) == (3, "")
        assert "Nothing was imported" in done.stderr
    assert not db.exists() or kept(db, "trip") == [None]


@pytest.mark.parametrize(
    ("given", "arguments", "status", "words"),
    [
        ("[]", (), 3, "it holds no messages"),
        ("7", (), 2, "this is none of jsonl"),
        ("# Session `trip`\n", (), 3, "Markdown is for people"),
        ('[{"role": "tool", "tool_call_id": "a"}]', (), 3, "the result for 'a' answers no call"),
        ('[{"role": "user", "content": "a"}, 7]', (), 3, "messages[1] is no object"),
        ('{"format": "agent-session"}', (), 3, "export: "),
        ('{"format": "agent-log"}\n', ("--session", "a"), 2, "--session is for one alone"),
        (json.dumps(BODY), ("--session", ""), 2, "is empty"),
    ],
)
def test_what_cannot_be_taken_in(
    given: str, arguments: tuple[str, ...], status: int, words: str, db: Path
):
    """The reason is told, and no log is made."""
    done = run("import", "-", *arguments, given=given)

    assert (done.returncode, done.stdout, db.exists()) == (status, "", False)
    assert words in done.stderr.splitlines()[-1]


def test_a_file_that_there_is_not():
    """It is wrong usage."""
    done = run("import", "none.json")

    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        2,
        "Error: Invalid value for 'FILE': File 'none.json' does not exist.",
    )


def test_a_full_disk_loses_nothing(tmp_path: Path, source: Path):
    """A log that cannot grow stays as it was, and takes everything in later."""
    small = tmp_path / "small.db"
    run("import", "-", "--session", "talk", "--db", str(small), given=json.dumps(BODY))
    big = json.dumps([{"role": "user", "content": "x" * 4_000_000}])
    arguments = ("import", "-", "--session", "big", "--db", str(small))
    limited = ("/bin/sh", "-c", 'ulimit -f 1000; exec "$@"', "sh", *COMMAND, *arguments)
    done = subprocess.run(limited, input=big.encode(), capture_output=True, check=False)

    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"Error: ")
    assert history(small, "talk") == HI
    assert run(*arguments, given=big).stdout == "big@2\n"
