import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.engine.agent import Agent
from agent.engine.scripted import ScriptedModel
from agent.engine.stores import SQLiteStore
from agent.eventstore.values import call_digest
from tests.fakes import ChatServer, Error, Stream, Text
from tests.tools.given import (
    CONTROL_D,
    LISTENING,
    PATIENCE,
    Terminal,
    event_types,
    history,
    recorded_trip,
    run,
)
from tests.tools.shop import killed_at_work, opened_shop, waiting_for_a_person

DIGEST = call_digest("refund", '{"order":"7","amount":9.5}')
APP = ("--app", "shop:agent")
ENDLESS = Stream(Text("It begins. " + "And goes on. " * 2000), delay=0.02)
GOES_ON = "stopped; agent resume main goes on\n"

Open = Callable[..., Terminal]


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shop that is open."""
    opened_shop(tmp_path, monkeypatch)


@pytest.fixture
def half_read(openai_env: ChatServer, open_terminal: Open, db: Path) -> ChatServer:
    """A chat in session `main`, killed in the middle of an answer; the server that it spoke to."""
    openai_env.script([ENDLESS])
    killed = open_terminal("chat")
    killed.expect("> ")
    killed.enter("Tell me a story")
    killed.expect("It begins.")
    killed.process.kill()
    killed.process.wait(PATIENCE)
    assert event_types(db)[-1] == "model.requested"
    return openai_env


def test_a_decided_turn_goes_on_with_its_tools(db: Path):
    """Recorded results are used, and what is safe to run again runs."""
    killed_at_work(db)
    undecided = run("resume", "order", *APP)
    run("resolve", "order", "call_5_1", "--result", "paid 9.5")
    done = run("resume", "order", *APP)

    assert (undecided.returncode, undecided.stdout) == (5, "")
    assert undecided.stderr == (
        "Error: nobody knows whether these calls have run: call_5_1 (pay); find out, and decide "
        "with: agent resolve order\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        "Done: 7: 9.50 to pay\npaid 9.5\n",
        "",
    )
    assert event_types(db, "order")[7:] == [
        *("tool.resolved", "turn.resumed", "tool.resolved", "tool.called", "tool.returned"),
        *("model.requested", "model.responded", "turn.completed"),
    ]


def test_a_turn_stops_again_for_a_person(db: Path):
    """Of two calls one is decided about: it runs, and the other is named."""
    waiting_for_a_person(db, "7 8")
    undecided = run("resume", "order", *APP)
    run("resolve", "order", "call_5_0", "--reject")
    half = run("resume", "order", *APP)

    assert (undecided.returncode, undecided.stdout) == (5, "")
    assert undecided.stderr == (
        "Error: a person has to allow these calls first: call_5_0 (refund), call_5_1 (refund); "
        "decide with: agent resolve order\n"
    )
    assert (half.returncode, half.stdout) == (5, "")
    assert half.stderr == (
        "a person has to allow call_5_1 (refund); decide with: agent resolve order\n"
    )


@pytest.mark.parametrize(
    ("who", "said"),
    [
        (
            (),
            (
                "'scripted' was asked, which is no known provider: name your agent with --app, or "
                "--provider and --model"
            ),
        ),
        (
            ("--provider", "ollama", "--model", "scripted"),
            (
                "the turn has tools (look_up, pay, refund): name the agent that has them, with "
                "--app MODULE:NAME"
            ),
        ),
        (("--provider", "ollama"), "name a model of ollama with --model"),
        (
            ("--provider", "anthropic", "--model", "scripted"),
            (
                "anthropic needs a key. Set the environment variable ANTHROPIC_API_KEY, or name a "
                "server that needs none with --base-url."
            ),
        ),
        (
            (*APP, "--model", "better"),
            "the turn asks scripted; another model takes it with agent rerun",
        ),
        (
            (*APP, "--provider", "ollama"),
            "--app has a provider of its own: leave out the others",
        ),
        (("--app", "shop:poor"), "the turn calls tools that shop:poor does not have: refund"),
    ],
)
def test_an_agent_that_cannot(who: tuple[str, ...], said: str, db: Path):
    """One line says what is missing, and nothing is written."""
    waiting_for_a_person(db)
    run("resolve", "order", "call_5_0", "--approve", "--digest", DIGEST)
    done = run("resume", "order", *who)

    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"Error: {said}\n")
    assert event_types(db, "order")[-1] == "approval.granted"


def test_a_refused_call_needs_no_tool(db: Path):
    """The model is told of the refusal, whatever tools there are."""
    waiting_for_a_person(db)
    run("resolve", "order", "call_5_0", "--reject", "--reason", "too late")
    done = run("resume", "order", "--app", "shop:poor")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == ("Done: ApprovalRejected: a person has refused this call: too late\n")


def test_a_turn_with_a_shape(db: Path):
    """Its type is code: it is resumed where that is."""
    model = ScriptedModel(['{"paid": true}'])
    with SQLiteStore(db) as store, Agent(model, store=store) as agent:
        agent.session("order").json("Paid?", schema=dict[str, bool])
        agent.session("order").fork("open", at=3)
    done = run("resume", "open", *APP)

    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert "resume it with its schema" in done.stderr
    assert event_types(db, "open")[-1] == "session.forked"


def test_there_is_no_turn(db: Path):
    """A session whose turns are complete is named as such."""
    recorded_trip(db)
    done = run("resume", "trip")

    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr == "Error: session trip has no turn to go on with\n"


def test_a_turn_without_tools_needs_no_agent(half_read: ChatServer, db: Path):
    """Whom it asked is in the log; the key is in the environment."""
    half_read.script([Text("Once upon a time.")])
    done = run("resume", "main", "--base-url", half_read.base_url)

    assert (done.returncode, done.stdout, done.stderr) == (0, "Once upon a time.\n", "")
    assert history(db) == [("user", "Tell me a story"), ("assistant", "Once upon a time.")]


def test_what_went_to_a_server_of_ones_own_stays_there(
    half_read: ChatServer, monkeypatch: pytest.MonkeyPatch
):
    """Without the address the vendor's own server is not asked instead."""
    monkeypatch.delenv("OPENAI_BASE_URL")
    before = len(half_read.requests)
    done = run("resume", "main")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: its requests were built by chat_completions/")
    assert done.stderr.endswith("asked with --base-url, or confirm --provider openai\n")
    assert len(half_read.requests) == before


def test_a_model_that_fails(half_read: ChatServer, db: Path):
    """The failure is told, and the turn can be gone on with again."""
    half_read.script([Error(400), Text("Once upon a time.")])
    failed = run("resume", "main")
    done = run("resume", "main")

    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("Error: status 400")
    assert (done.returncode, done.stdout) == (0, "Once upon a time.\n")


def test_ctrl_c_leaves_it_resumable(half_read: ChatServer, db: Path):
    """A stopped answer is told with the shell's status, and may be asked for again."""
    half_read.script([ENDLESS, Text("All right.")])
    process = subprocess.Popen(
        [*LISTENING, "resume", "main"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(2) == b"It"
        process.send_signal(signal.SIGINT)
        process.stdout.read()

        assert process.wait(PATIENCE) == 130
        assert process.stderr.read().decode() == GOES_ON
    assert event_types(db)[-2:] == ["model.failed", "turn.abandoned"]
    assert run("resume", "main").stdout == "All right.\n"


def test_an_owner_that_lives(openai_env: ChatServer, open_terminal: Open, db: Path):
    """While another process is at it nothing is done, unless the turn is taken from it."""
    openai_env.script([ENDLESS])
    terminal = open_terminal("chat")
    terminal.expect("> ")
    terminal.enter("Tell me a story")
    terminal.expect("It begins.")
    owner = terminal.process.pid
    listed = run("resolve", "main")
    refused = run("resume", "main")
    openai_env.script([Text("Mine now.")])
    taken = run("resume", "main", "--takeover")

    assert listed.returncode == 0
    assert listed.stdout.splitlines()[0].endswith(
        f"is run by process {owner} on {os.uname().nodename}"
    )
    assert (refused.returncode, refused.stdout) == (5, "")
    assert refused.stderr == (
        f"Error: process {owner} on {os.uname().nodename} is at work in session main: wait for it, "
        "or take the turn from it with --takeover\n"
    )
    assert (taken.returncode, taken.stdout) == (0, "Mine now.\n")
    terminal.interrupt("> ")
    assert terminal.leave(CONTROL_D) == 0
    assert history(db) == [("user", "Tell me a story"), ("assistant", "Mine now.")]


def test_reading_makes_no_session(db: Path):
    """A session that is not there is not begun."""
    recorded_trip(db)

    assert run("resume", "nobody").returncode == 4
    with SQLiteStore(db) as store:
        assert store.list_sessions() == ["trip", "trip-osaka"]
