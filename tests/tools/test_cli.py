import errno
import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import click
import pytest

from agent.tools.cli import COMMANDS, main
from tests.tools.given import redirected, run

HEAVY = {"asyncio", "httpx", "msgspec", "pydantic", "rich", "sqlite3", "sqlite_utils", "structlog"}


def test_help_lists_every_command():
    """`agent --help` names each command and says what it is for."""
    done = run("--help")

    listed = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if " " in line)
    assert (done.returncode, done.stderr) == (0, "")
    assert {name: listed.get(name) for name in COMMANDS} == COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_of_itself_what_the_list_says(name: str):
    """The list repeats the first sentence of each command's own help."""
    command = main.get_command(click.Context(main), name)

    assert command is not None
    assert command.get_short_help_str(limit=200) == COMMANDS[name]


def test_help_starts_fast():
    """`agent --help` imports none of the libraries that only some commands need."""
    program = (
        "import json, sys\n"
        "from agent.tools.cli import main\n"
        "main(['--help'], standalone_mode=False)\n"
        f"print(json.dumps(sorted({HEAVY!r} & set(sys.modules))))"
    )
    # A process whose coverage is measured has imported what measuring takes.
    unmeasured = {name: value for name, value in os.environ.items() if "COVERAGE" not in name}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=unmeasured,
        capture_output=True,
        text=True,
        check=True,
    )

    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_version_is_that_of_the_distribution():
    """`agent --version` says which release is installed."""
    done = run("--version")

    assert (done.returncode, done.stdout) == (0, f"agent-sessions {version('agent-sessions')}\n")


@pytest.mark.parametrize("arguments", [("dmo",), ("demo", "--bd", "x"), ("demo", "--db", "/")])
def test_wrong_usage_has_its_own_status(arguments: tuple[str, ...]):
    """A typo is answered with what was wrong, and status 2."""
    done = run(*arguments)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].startswith("Error: ")


@pytest.mark.parametrize("argument", ["demo", "--help", "--version"])
@pytest.mark.parametrize(
    ("stdout", "error"), [("</dev/null", errno.EBADF), (">/dev/full", errno.ENOSPC)]
)
def test_output_that_cannot_be_written(
    argument: str, stdout: str, error: int, monkeypatch: pytest.MonkeyPatch
):
    """A full disk behind stdout is told in one line, also when it is noticed only at a flush."""
    if stdout == ">/dev/full" and not Path("/dev/full").exists():
        pytest.skip("this system has no device that is always full")
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    done = redirected(f"1{stdout}", argument)

    told = f"Error: input or output failed: {os.strerror(error)}\n"
    assert (done.returncode, done.stderr.decode()) == (1, told)


@pytest.mark.parametrize("how", ["<&-", ">&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed(how: str):
    """Without standard streams, as services start programs, there is silence and no failure."""
    done = redirected(how, "demo")

    assert (done.returncode, done.stderr) == (0, b"")


def test_no_stream_can_tell_of_an_error(monkeypatch: pytest.MonkeyPatch):
    """Where stderr takes nothing either, the status tells."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    done = redirected("1</dev/null 2</dev/null", "demo")

    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")
