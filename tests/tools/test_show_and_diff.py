import hashlib
import json
from pathlib import Path

import pytest

from agent.engine.agent import Agent
from agent.engine.scripted import Reply, ScriptedModel
from agent.engine.stores import SQLiteStore
from tests.tools.given import changed, recorded_trip, run


@pytest.fixture(autouse=True)
def trip(db: Path) -> None:
    """A log to read."""
    recorded_trip(db)


def test_an_event():
    """Its type and place, and all that it says."""
    lines = run("show", "trip@4").stdout.splitlines()

    assert [line.split()[0] for line in lines[:3]] == ["model.responded", "recorded", "hash"]
    assert lines[0] == "model.responded  trip@4"
    assert lines[3:] == ["", "    Sunny."]


def test_an_event_as_json():
    """The document is what `agent log -p` says of it."""
    document = json.loads(run("show", "trip@4", "--json").stdout)
    (line,) = run("log", "trip@3..4", "--nl", "-p").stdout.splitlines()

    assert document == {**json.loads(line), "schema": "agent.show/1"}


def test_the_stored_payload(db: Path):
    """`--raw` writes what the log holds, to the byte."""
    with SQLiteStore(db) as store:
        (fact,) = store.log.read("trip", after=3, until=4)

    assert run("show", "trip@4", "--raw").stdout.encode() == fact.payload + b"\n"


@pytest.mark.parametrize(("revision", "last"), [("trip@5", "Sunny."), ("trip", "At the shrine.")])
def test_a_state(revision: str, last: str):
    """`--state` shows the session as it was at that version."""
    document = json.loads(run("show", revision, "--state", "--json").stdout)
    text = run("show", revision, "--state").stdout

    assert document["schema"] == "agent.state/1"
    assert document["system"] == "You are a guide."
    assert document["messages"][-1]["parts"] == [{"type": "text", "text": last}]
    assert document["turn"] is None
    assert text.endswith(f"assistant\n    {last}\n")


def test_a_state_within_a_turn():
    """An open turn is shown as far as it had come."""
    document = json.loads(run("show", "trip@3", "--state", "--json").stdout)
    lines = run("show", "trip@3", "--state").stdout.splitlines()

    assert (document["messages"], document["turn"]["started"]) == ([], 2)
    assert lines[-3:] == ["open turn, begun at version 2", "user", "    How is Kyoto?"]


def test_a_request_to_the_byte(db: Path):
    """`--request` writes the body of the last request so far, and says whether it is proven."""
    done = run("show", "trip@5", "--request")
    with SQLiteStore(db) as store:
        session = Agent(ScriptedModel([]), store=store).session("trip")
        past = session.request_at(3)

    assert done.returncode == 0
    assert done.stdout.encode() == past.body + b"\n"
    digest = hashlib.sha256(past.body).hexdigest()
    assert done.stderr == f"trip@3: proven: what was sent to scripted, sha256 {digest}\n"


def test_a_request_that_is_not_proven(db: Path):
    """A history that was changed gives another request, which is said, with status 1."""
    changed(db, "UPDATE events SET payload = replace(payload, 'Kyoto', 'Osaka')")
    done = run("show", "trip@5", "--request")
    document = json.loads(run("show", "trip@5", "--request", "--json").stdout)

    assert (done.returncode, document["proven"]) == (1, False)
    assert done.stderr.startswith("trip@3: NOT proven: ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("trip@0",), "trip@0 is no event"), (("trip@1", "--request"), "no model was asked up to")],
)
def test_what_is_not_there(arguments: tuple[str, ...], words: str):
    """Nothing to show has status 4."""
    done = run("show", *arguments)

    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith(f"Error: {words}")


def test_no_difference():
    """What is the same is not shown, and the status is 0."""
    done = run("diff", "trip", "trip")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_difference():
    """Messages that only one side shows, with their places; the status is 1."""
    done = run("diff", "trip", "trip-osaka")

    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines() == [
        "--- trip@9",
        "+++ trip-osaka@10",
        "@@ the same up to version 5 @@",
        "-2: user",
        "-    Where do we begin?",
        "-3: assistant",
        "-    At the shrine.",
        "+2: user",
        "+    Osaka instead",
        "+3: assistant",
        "+    Go and see.",
    ]


def test_a_session_against_itself():
    """A range, or a revision alone, is compared within its session."""
    alone, ranged = run("diff", "trip~1"), run("diff", "trip@5..9")

    assert alone.stdout == ranged.stdout
    assert alone.stdout.splitlines()[:2] == ["--- trip@5", "+++ trip@9"]


def test_configuration_differs(db: Path):
    """System prompt and tools are compared too."""

    def get_weather(city: str) -> str:
        """Get the weather."""
        return city

    with SQLiteStore(db) as store:
        agent = Agent(ScriptedModel([Reply(text="Hm.")]), tools=[get_weather], store=store)
        agent.session("trip", system="Be short.").run("Well?")
    lines = run("diff", "trip@9", "trip").stdout.splitlines()

    assert lines[3:6] == [
        "-system: You are a guide.",
        "+system: Be short.",
        "+tool get_weather",
    ]


def test_a_difference_as_json():
    """The document says whether there is any, and how both sides are named."""
    done = run("diff", "trip~1", "trip", "--json")
    document = json.loads(done.stdout)

    assert (done.returncode, document["schema"], document["different"]) == (1, "agent.diff/1", True)
    assert (document["before"], document["after"]) == ("trip@5", "trip@9")
    assert [one["place"] for one in document["added"]] == [2, 3]
