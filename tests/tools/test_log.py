import json
import signal
import subprocess
import time
from pathlib import Path

import pytest

from agent.engine.agent import Agent
from agent.engine.scripted import Reply, ScriptedModel
from agent.engine.stores import SQLiteStore
from tests.tools.given import LISTENING, PATIENCE, recorded_trip, run


@pytest.fixture(autouse=True)
def trip(db: Path) -> None:
    """A log to read."""
    recorded_trip(db)


def _rows(*arguments: str) -> list[list[str]]:
    done = run("log", *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    return [line.split() for line in done.stdout.splitlines()]


def test_the_last_event_stands_at_the_end():
    """A session reads from its beginning to its end."""
    assert [" ".join(row) for row in _rows("trip@5", "--oneline")] == [
        "1 session.started system prompt: You are a guide.",
        "2 turn.started the user: How is Kyoto?",
        *[" ".join(row) for row in _rows("trip@3..".replace("3..", "2..3"), "--oneline")],
        "4 model.responded the model: Sunny.",
        "5 turn.completed",
    ]


def test_the_session_that_was_changed_last():
    """Without a revision, it is that one."""
    assert _rows() == _rows("trip-osaka")


@pytest.mark.parametrize(
    ("arguments", "versions"),
    [
        (("trip", "-n", "2"), [8, 9]),
        (("trip", "-n", "0"), []),
        (("trip@4..6",), [5, 6]),
        (("trip@4..8", "-n", "1"), [8]),
        (("trip~1..",), [6, 7, 8, 9]),
    ],
)
def test_a_part_of_the_events(arguments: tuple[str, ...], versions: list[int]):
    """A range, its last events, or both."""
    assert [int(row[0]) for row in _rows(*arguments)] == versions


def test_everything_that_was_said():
    """`-p` adds the contents of each event, below it."""
    assert run("log", "trip@3..4", "-p", "--oneline").stdout.splitlines() == [
        "     4  model.responded     the model: Sunny.",
        "    Sunny.",
    ]


def test_what_turns_took():
    """`--stat` adds a line at the end of each turn."""
    lines = run("log", "trip", "--stat").stdout.splitlines()
    taken = [line for line in lines if "model call" in line]

    assert taken == [
        "        1 model call in 0.0 s, tokens: 0 in, 1 out",
        "        1 model call in 0.0 s, tokens: 0 in, 3 out",
    ]


def test_half_a_turn_took_nothing_that_could_be_told():
    """Figures of a turn are told only where all of it is shown."""
    lines = run("log", "trip@3..9", "--stat").stdout.splitlines()

    assert [line for line in lines if "model call" in line] == [
        "        1 model call in 0.0 s, tokens: 0 in, 3 out"
    ]


def test_a_graph():
    """`--graph` shows where forks leave, and what a fork has inherited."""
    own = run("log", "trip@4..6", "--graph", "--oneline").stdout.splitlines()
    fork = run("log", "trip-osaka@4..7", "--graph", "--oneline").stdout.splitlines()

    assert own == [
        "*      5  turn.completed",
        "|\\ trip-osaka",
        "*      6  turn.started        the user: Where do we begin?",
    ]
    assert [line[:9] for line in fork] == ["o      5 ", "*      6 ", "*      7 "]


def test_events_as_json():
    """Each has its place, and its contents only with `-p`."""
    (fact,) = json.loads(run("log", "trip@3..4", "--json").stdout)["events"]
    (line,) = run("log", "trip@3..4", "--nl", "-p").stdout.splitlines()
    whole = json.loads(line)

    assert {"schema": "agent.log/1", **fact} == {
        key: value for key, value in whole.items() if key != "event"
    }
    assert (fact["session"], fact["version"], fact["type"]) == ("trip", 4, "model.responded")
    assert whole["event"]["message"]["parts"] == [{"type": "text", "text": "Sunny."}]


def test_following_has_no_document():
    """What never ends is no JSON document."""
    done = run("log", "trip", "-f", "--json")

    assert (done.returncode, done.stdout) == (2, "")


def test_following_a_session_that_is_written(db: Path):
    """`-f` shows what is recorded from now on, until it is interrupted."""
    process = subprocess.Popen(
        [*LISTENING, "log", "trip", "-f", "-n", "1", "--oneline"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "     9  turn.completed\n"
    with SQLiteStore(db) as store:
        Agent(ScriptedModel([Reply(text="Bye.")]), store=store).session("trip").run("Thanks")
    assert process.stdout.readline() == "    10  turn.started        the user: Thanks\n"
    for _ in range(3):
        process.stdout.readline()
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=PATIENCE)

    assert (process.returncode, rest, errors) == (130, "", "")
