import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agent import Agent, Message
from agent.engine.scripted import ScriptedModel
from agent.engine.stores import SQLiteStore
from tests.tools.given import Terminal, changed, recorded_trip, redirected, run


@pytest.fixture(autouse=True)
def trip(db: Path) -> None:
    """A log to export."""
    recorded_trip(db)


def listed(folder: Path) -> list[str]:
    """What is in a folder."""
    return [path.name for path in folder.iterdir()]


def test_a_whole_session(db: Path):
    """As json it is what `session.to_dict()` gives, and nothing is left out."""
    done = run("export", "trip", "--format", "json")
    with SQLiteStore(db) as store:
        assert json.loads(done.stdout) == store.load("trip")
    assert (done.returncode, done.stderr) == (0, "")


def test_an_earlier_version(db: Path):
    """As json, a revision holds the events up to there."""
    data = json.loads(run("export", "trip~1", "--format", "json").stdout)

    assert (data["version"], len(data["events"])) == (5, 5)


@pytest.mark.parametrize("names", [("--all",), ("trip", "trip-osaka", "trip"), ("trip",), ()])
def test_lines(names: tuple[str, ...], db: Path, tmp_path: Path):
    """Without a format it is JSON lines, as the library writes them, each session once."""
    done = run("export", *names)
    sessions = {"--all": None, "trip": ["trip", "trip-osaka"][: len(set(names))]}
    with SQLiteStore(db) as store:
        path = tmp_path / "whole.jsonl"
        store.export(path, sessions[names[0]] if names else ["trip-osaka"])
    assert (done.returncode, done.stdout, done.stderr) == (0, path.read_text(), "")


def test_messages():
    """The visible messages of a revision, and what they leave out on stderr."""
    done = run("export", "trip~1", "--format", "openai")

    assert json.loads(done.stdout) == {
        "messages": [
            {"role": "system", "content": "You are a guide."},
            {"role": "user", "content": "How is Kyoto?"},
            {"role": "assistant", "content": "Sunny."},
        ]
    }
    assert done.stderr.splitlines() == [
        "trip@5: not in openai: events: 5",
        "trip@5: not in openai: metadata: 1 (title)",
        "trip@5: not in openai: usage of model calls: 1",
    ]


def test_a_document(db: Path):
    """As markdown it is the document of the library."""
    done = run("export", "trip", "--format", "markdown")
    with SQLiteStore(db) as store:
        session = Agent(ScriptedModel([]), store=store).session("trip")
        assert done.stdout == session.to_markdown()
    assert done.stderr.splitlines() == [
        "trip@9: not in markdown: events: 9",
        "trip@9: not in markdown: metadata: 1 (title)",
        "markdown is for people: agent import does not read it",
    ]


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".md", ".openai.json", ".anthropic.json"])
def test_a_file_is_there_once_it_is_whole(ending: str, tmp_path: Path):
    """Its name tells the format; it has what stdout would have had, and nothing is beside it."""
    path = tmp_path / "out" / f"trip{ending}"
    path.parent.mkdir()
    done = run("export", "trip", "-o", str(path))
    names = {".jsonl": "jsonl", ".json": "json", ".md": "markdown"}
    name = names.get(ending, ending.split(".")[1])

    assert (done.returncode, done.stdout) == (0, "")
    assert path.read_text() == run("export", "trip", "--format", name).stdout
    assert listed(path.parent) == [path.name]


def test_a_file_that_is_there_stays(tmp_path: Path):
    """Without `--force` nothing is replaced; with it, the file is, and a link stays one."""
    path, link = tmp_path / "trip.md", tmp_path / "link.md"
    path.write_text("mine")
    link.symlink_to(path)
    done = run("export", "trip", "-o", str(link))
    before = path.read_text()
    forced = run("export", "trip", "-o", str(link), "--force")

    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        2,
        f"Error: {link} is there already; --force replaces it",
    )
    assert (before, forced.returncode) == ("mine", 0)
    assert (link.is_symlink(), path.read_text()[:9]) == (True, "# Session")


def test_what_fails_replaces_nothing(db: Path, tmp_path: Path):
    """A session that cannot be read leaves the file as it was, and nothing beside it."""
    path = tmp_path / "out" / "trip.md"
    path.parent.mkdir()
    path.write_text("mine")
    changed(db, "UPDATE events SET payload = 'x' WHERE version = 4")
    done = run("export", "trip", "-o", str(path), "--force")

    assert (done.returncode, done.stdout) == (3, "")
    assert (path.read_text(), listed(path.parent)) == ("mine", ["trip.md"])


def test_a_full_disk_is_told():
    """What does not fit has status 1."""
    done = redirected(">/dev/full", "export", "trip", "--format", "json")

    assert (done.returncode, done.stderr.splitlines()[-1][:6]) == (1, b"Error:")


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("trip", "--all"), 2, "name revisions, or --all sessions"),
        (("--all", "--format", "json"), 2, "json holds one session, not 2"),
        (("trip@5", "--format", "jsonl"), 2, "jsonl holds sessions as they are now, not trip@5"),
        (("trip", "-o", "trip.txt"), 2, "name the --format, or let the file end with one of"),
        (("trip", "-o", "none/trip.md"), 2, "cannot write"),
        (("nobody",), 4, "there is no session 'nobody'"),
    ],
)
def test_what_cannot_be_done(arguments: tuple[str, ...], status: int, words: str):
    """The reason is told, and nothing is written."""
    done = run("export", *arguments)

    assert (done.returncode, done.stdout) == (status, "")
    assert words in done.stderr.splitlines()[-1]


def test_recorded_text_commands_no_terminal(
    db: Path, tmp_path: Path, open_terminal: Callable[..., Terminal]
):
    """On a terminal every format is harmless, and a document also in a file."""
    with SQLiteStore(db) as store:
        session = Agent(ScriptedModel([]), store=store).session("nasty")
        session.add_message(Message.user("\x1b]0;gone\x07 \u202e"))
    path = tmp_path / "nasty.md"
    run("export", "nasty", "-o", str(path))

    assert "␛]0;gone␇ \ufffd" in path.read_text()
    for name in ("jsonl", "json", "openai", "markdown"):
        terminal = open_terminal("export", "nasty", "--format", name)
        assert terminal.leave() == 0
        assert not {"\x1b", "\x07", "\u202e"} & {*terminal.written}


WRITER = """
import sys
from agent import Agent
from agent.stores import SQLiteStore
from agent.testing import ScriptedModel
session = Agent(ScriptedModel(lambda _: "Yes"), store=SQLiteStore(sys.argv[1])).session("busy")
session.run("Begin")
print("begun", flush=True)
while True:
    session.run("Go on")
"""


def test_a_log_that_is_being_written_is_exported(db: Path, tmp_path: Path):
    """Each session as it is when it is written, however it has grown since it was named."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(db)], stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout
        assert writer.stdout.readline() == b"begun\n"
        try:
            for number, named in enumerate([("--all",), ("busy",), ("@",), ("--all",)]):
                path = tmp_path / f"{number}.jsonl"
                assert run("export", *named, "-o", str(path)).returncode == 0
                assert run("verify", str(path)).returncode == 0
        finally:
            writer.kill()
