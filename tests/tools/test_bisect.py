import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.engine.agent import Agent
from agent.engine.scripted import ScriptedModel
from agent.engine.stores import SQLiteStore
from tests.tools.given import COMMAND, LISTENING, PATIENCE, changed, recorded_trip, run


@pytest.fixture(autouse=True)
def trip(db: Path) -> None:
    """`trip` has 9 events: its first answer is seen from version 5 on, the second from 9 on."""
    recorded_trip(db)


def _bad_from(version: int, *skipped: int) -> str:
    skips = " ".join(f"test $AGENT_VERSION = {one} && exit 125;" for one in skipped)
    return f"{skips} exit $((AGENT_VERSION >= {version}))"


def test_the_first_version_that_shows_a_text():
    """It is the end of the turn, where its words became a part of the history."""
    done = run("bisect", "trip", "--contains", "the shrine")

    assert (done.returncode, done.stderr) == (0, "")
    first, event = done.stdout.splitlines()
    assert first == "trip@9"
    assert (event.split()[0], event.split()[-1]) == ("9", "turn.completed")


def test_what_was_found_as_data():
    """As `agent log --json` writes an event, and how many versions were looked at."""
    done = run("bisect", "trip", "--contains", "Sunny.", "--json")
    found = json.loads(done.stdout)
    (event,) = json.loads(run("log", "trip@4..5", "--json").stdout)["events"]

    assert found == {"schema": "agent.bisect/1", **event, "tries": 4}


def test_a_command_tries_versions():
    """By halves, beginning with the last; what each came to is told."""
    done = run("bisect", "trip", "--run", _bad_from(7))

    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "trip@7")
    assert done.stderr.splitlines() == [
        "trip@9: bad (1)",
        "trip@4: good (0)",
        "trip@6: good (0)",
        "trip@7: bad (1)",
    ]


def test_a_command_is_given_the_state(db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """On stdin as `agent show --state --json` writes it, with names in the environment."""
    program = tmp_path / "look.py"
    program.write_text(
        "import os, subprocess, sys\n"
        "name = os.environ['AGENT_SESSION'] + '@' + os.environ['AGENT_VERSION']\n"
        f"shown = subprocess.run([*{COMMAND!r}, 'show', name, '--state', '--json'], stdout=-1)\n"
        "print('seen')\n"
        "sys.exit(shown.stdout != sys.stdin.buffer.read() or 'Sunny' in shown.stdout.decode())\n"
    )
    monkeypatch.delenv("AGENT_DB")
    command = shlex.join([sys.executable, str(program)])
    done = run("bisect", "trip", "--db", str(db), "--run", command)

    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "trip@4")
    assert done.stderr.splitlines()[:2] == ["seen", "trip@9: bad (1)"]


def test_a_range_says_what_is_known():
    """Only the events of the range are looked at; its first version is known to be good."""
    done = run("bisect", "trip@4..8", "--run", _bad_from(5))

    assert done.stdout.splitlines()[0] == "trip@5"
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == [
        "trip@4",
        "trip@8",
        "trip@6",
        "trip@5",
    ]


def test_what_cannot_be_told_is_passed_over():
    """A neighbour is tried instead."""
    done = run("bisect", "trip", "--run", _bad_from(7, 4, 6))

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == (
        "Error: it is one of trip@6 to 7: the others cannot be told"
    )
    assert run("bisect", "trip", "--run", _bad_from(7, 4, 5)).stdout.splitlines()[0] == "trip@7"


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("trip", "--contains", "Nara"), 4, "it is not so at trip@9"),
        (("trip", "--run", "true"), 4, "it is not so at trip@9"),
        (("trip", "--run", "exit 125"), 4, "it cannot be told at trip@9"),
        (("trip@6..", "--contains", "Sunny"), 1, "it is so at trip@6 already: begin earlier"),
        (("trip", "--run", "exit 128"), 1, "trip@9: the command ended with 128"),
        (("trip", "--run", "kill -9 $$"), 1, "trip@9: the command ended with -9"),
        (("trip@0", "--run", "false"), 4, "there are no events in trip@0"),
        (("trip@9..4", "--run", "false"), 4, "there are no events in trip@9..4"),
        (("trip",), 2, "look for what? --contains TEXT, or --run COMMAND"),
        (
            ("trip", "--run", "x", "--contains", "y"),
            2,
            "look for what? --contains TEXT, or --run COMMAND",
        ),
        (
            ("nobody", "--contains", "x"),
            4,
            "there is no session 'nobody'; there are trip, trip-osaka",
        ),
    ],
)
def test_nothing_is_found(arguments: tuple[str, ...], status: int, said: str):
    """The last line says why."""
    done = run("bisect", *arguments)

    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.splitlines()[-1] == f"Error: {said}"


def test_a_command_that_is_not_there():
    """It is bad, as for git, and the mistake is hinted at."""
    done = run("bisect", "trip", "--run", "exit 127")

    assert done.stdout.splitlines()[0] == "trip@1"
    assert done.stderr.splitlines()[0] == "trip@9: bad (127): is there such a command?"


def test_what_comes_and_goes_is_found_the_first_time(db: Path):
    """Wherever the history went back is looked at, and that it did is told."""
    with SQLiteStore(db) as store:
        session = Agent(ScriptedModel(["To Nara.", "Nara again."]), store=store).session("trip")
        session.run("Where to?")
        session.undo()
        session.run("And now?")
    done = run("bisect", "trip", "--contains", "Nara")

    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "trip@13")
    assert done.stderr == "it comes and goes: it is so at trip@13, and not at 14\n"


def test_a_damaged_session(db: Path):
    """What cannot be read cannot be searched."""
    changed(db, "UPDATE events SET payload = '{' WHERE version = 3 AND stream = 1")
    done = run("bisect", "trip", "--contains", "Sunny")

    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (3, "", 1)


def test_ctrl_c_stops_it():
    """With the shell's status."""
    with subprocess.Popen(
        [*LISTENING, "bisect", "trip", "--run", "echo tried; sleep 60"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == b"tried\n"
        os.killpg(process.pid, signal.SIGINT)

        assert process.wait(PATIENCE) == 130
