import json
import signal
import subprocess
from pathlib import Path

import pytest

from agent.engine.agent import Agent
from agent.engine.scripted import Call, ScriptedModel
from agent.engine.stores import SQLiteStore
from tests.fakes import ChatServer, Error, Stream, Text
from tests.tools.given import LISTENING, PATIENCE, chat, event_types, history, run

DESK = '''\
from agent import Agent
from agent.testing import Call, ScriptedModel

def look_up(order: str) -> str:
    """Look an order up."""
    return "lost"

def answer(request):
    last, prompt = request.messages[-1], request.prompt
    if last.role == "tool":
        return f"It is {last.text}, {prompt.system or 'friend'}."
    return Call("look_up", {"order": "8" if prompt.model == "other" else "7"})

agent = Agent(ScriptedModel(answer), tools=[look_up])
'''
APP = ("--app", "desk")
RESULT = 7


def look_up(order: str) -> str:
    """Look an order up."""
    return f"shipped as {order}"


@pytest.fixture
def order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, db: Path) -> Path:
    """A log with session `order`, whose turn begins at version 3, and the agent `desk` of today."""
    (tmp_path / "desk.py").write_text(DESK)
    monkeypatch.chdir(tmp_path)
    model = ScriptedModel([Call("look_up", {"order": "7"}), "It is shipped as 7, friend."])
    with SQLiteStore(db) as store, Agent(model, tools=[look_up], store=store) as agent:
        agent.session("order").run("Where is it?")
    return db


@pytest.fixture
def greeting(openai_env: ChatServer, db: Path) -> ChatServer:
    """A log with session `main` of one turn, and the server that was asked."""
    openai_env.script([Text("Hello!")])
    chat("Hi")
    assert history(db)[1:] == [("assistant", "Hello!")]
    return openai_env


def test_the_same_again(order: Path):
    """The recorded result is served, and the answer is the same."""
    before = event_types(order, "order")
    done = run("rerun", "order", *APP, "--session-id", "again")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "again@10",
        "the same as in order",
        "",
        "It is shipped as 7, friend.",
    ]
    assert event_types(order, "order") == before
    assert "tool.called" not in event_types(order, "again")


def test_another_system_prompt(order: Path):
    """Where the answers part, and why, is told; the prompt may come from a file."""
    Path("system.txt").write_text("madam")
    done = run("rerun", "order", *APP, "--session-id", "again", "--system", "@system.txt")

    assert done.stdout.splitlines() == [
        "again@11",
        "departs from order at version 9: another answer (cause: system prompt)",
        "  model.responded",
        '  /text: "It is shipped as 7, friend." -> "It is shipped as 7, madam."',
        "",
        "It is shipped as 7, madam.",
    ]


def test_another_result(order: Path):
    """What a tool had said can be edited, by its version."""
    done = run("rerun", "order", *APP, "--edit", f"{RESULT}=@@home", "--json")
    taken = json.loads(done.stdout)

    assert done.returncode == 0
    assert {
        name: taken[name] for name in ("schema", "parent", "answer", "departed_at", "cause")
    } == {
        "schema": "agent.rerun/1",
        "parent": "order",
        "answer": "It is @home, friend.",
        "departed_at": 9,
        "cause": "history",
    }
    assert history(order, taken["session"])[-1] == ("assistant", taken["answer"])


def test_tools_that_run(order: Path):
    """With `--tools live` the agent's own are called."""
    done = run("rerun", "order", *APP, "--tools", "live")

    assert done.returncode == 0
    assert done.stdout.splitlines()[-1] == "It is lost, friend."


def test_a_call_without_a_result(order: Path):
    """It ends the rerun; with `--tools ask` it waits for a person."""
    other = (*APP, "--model", "other", "--session-id")
    ended = run("rerun", "order", *other, "ended")
    waits = run("rerun", "order", *other, "waits", "--tools", "ask")
    listed = run("resolve", "waits", "--json")

    assert (ended.returncode, ended.stdout.splitlines()[0]) == (1, "ended@7")
    assert ended.stderr == (
        'Error: call call_6_0 asks look_up({"order":"8"}), for which no result is recorded: --app '
        "with --tools ask, or live\n"
    )
    assert waits.returncode == 5
    assert waits.stderr == (
        "a person has to allow call_6_0 (look_up); decide with: agent resolve waits\n"
    )
    assert json.loads(listed.stdout)["turn"]["waiting_for"] == "approval"


def test_a_version_takes_the_turn_that_was_under_way(order: Path):
    """It goes on from there: the call before stands as it was."""
    done = run("rerun", f"order@{RESULT}", *APP, "--session-id", "again", "--json")
    plan = json.loads(done.stdout)["plan"]

    assert (plan["at"], plan["turn"], plan["calls"]) == (RESULT, 3, [])
    assert event_types(order, "again")[: RESULT + 1] == [
        *event_types(order, "order")[:RESULT],
        "session.forked",
    ]


def test_a_dry_run(order: Path):
    """It says what would be done, and writes and asks nothing."""
    text = run("rerun", "order", *APP, "--dry-run")
    data = run("rerun", "order", *APP, "--dry-run", "--json", "--max-tokens", "20")
    plan = json.loads(data.stdout)

    assert (text.returncode, text.stderr) == (0, "")
    assert text.stdout.splitlines() == [
        "scripted takes the turn of version 3 of order, in a fork of order@1",
        'call    look_up({"order":"7"}), version 7: served',
        "others  stopped at",
        "steps   2 at most",
        "tokens  no bound",
        "cost    unknown",
    ]
    assert (plan["schema"], plan["session"]) == ("agent.plan/1", "order")
    assert plan["usage_at_most"]["output_tokens"] == 40
    with SQLiteStore(order) as store:
        assert store.list_sessions() == ["order"]


def test_the_provider_and_the_settings(greeting: ChatServer):
    """Without an agent whom the turn asked is asked again, with the settings that are given."""
    greeting.script([Text("Good morning!")])
    settings = ("--temperature", "0", "--max-tokens", "9", "--stop", "a", "--stop", "b")
    done = run("rerun", "main", *settings, "--extra", '{"user":"me"}')

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "Good morning!"
    body = greeting.requests[-1].json
    names = ("model", "temperature", "max_tokens", "stop", "user")
    assert {name: body.get(name) for name in names} == {
        "model": "gpt-4o",
        "temperature": 0.0,
        "max_tokens": 9,
        "stop": ["a", "b"],
        "user": "me",
    }


def test_a_model_that_fails(greeting: ChatServer, db: Path):
    """The fork is named, with what there is of the turn."""
    greeting.script([Error(400)])
    done = run("rerun", "main", "--session-id", "again")

    assert (done.returncode, done.stdout.splitlines()[0]) == (1, "again@6")
    assert done.stderr.startswith("Error: status 400")
    assert event_types(db, "again")[-1] == "turn.failed"


def test_ctrl_c_leaves_what_there_is(greeting: ChatServer, db: Path):
    """The fork is named, the turn in it closed."""
    greeting.script([Stream(Text("It begins."), delay=60)])
    process = subprocess.Popen(
        [*LISTENING, "rerun", "main", "--session-id", "again"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stderr is not None
        while len(greeting.requests) < 2:
            assert process.poll() is None
        process.send_signal(signal.SIGINT)

        assert process.wait(PATIENCE) == 130
        assert process.stderr.read().decode() == (
            "stopped; what there is of it is in session again\n"
        )
    assert event_types(db, "again")[-1] == "turn.abandoned"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("order",), 2),
        (("order", *APP, "--edit", "lost"), 2),
        (("order", *APP, "--edit", "7=lost", "--edit", "7=found"), 2),
        (("order", *APP, "--edit", "x=lost"), 2),
        (("order", *APP, "--edit", "9=lost"), 2),
        (("order", *APP, "--system", "@nowhere.txt"), 2),
        (("order", *APP, "--extra", "[]"), 2),
        (("order", *APP, "--extra", "{"), 2),
        (("order", *APP, "--temperature", "hot"), 2),
        (("order", "--provider", "ollama", "--model", "x", "--tools", "live"), 2),
        (("order", *APP, "--session-id", "order"), 1),
        (("order@10", *APP), 2),
        (("order@11", *APP), 4),
        (("nobody", *APP), 4),
    ],
)
def test_what_cannot_be_taken(arguments: tuple[str, ...], status: int, order: Path):
    """The reason is told, the status tells its kind, and nothing is written."""
    done = run("rerun", *arguments)

    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    with SQLiteStore(order) as store:
        assert store.list_sessions() == ["order"]
