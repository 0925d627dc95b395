import logging
import subprocess
import sys

import pytest

from agent import tool
from agent.engine.errors import ServerFailed
from agent.engine.scripted import Call, Reply
from tests.engine.given import add, agent_of

PROGRAM = """
from agent import Agent
from agent.engine.errors import ServerFailed
from agent.testing import Reply, ScriptedModel
session = Agent(ScriptedModel(["Hello", ServerFailed("down"), "one two"]), "m").session()
session.run("Hi")
try:
    session.run("Hi")
except ServerFailed:
    pass
with session.stream("Hi") as stream:
    next(stream)
"""


def fields(record: logging.LogRecord) -> dict[str, object]:
    """What was bound to a line."""
    plain = vars(logging.makeLogRecord({}))
    return {name: value for name, value in vars(record).items() if name not in plain}


def test_silent_by_default():
    """A program that configures nothing sees nothing, on neither stream."""
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )

    assert (run.stdout, run.stderr) == ("", "")


def test_structlog_is_loaded_only_for_a_listener():
    """Without a listener the logging library is not even imported."""
    program = PROGRAM + "\nimport sys\nprint('structlog' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert run.stdout == "False\n"


def test_nothing_on_stdout(capsys: pytest.CaptureFixture[str]):
    """A listener of its own hears everything; nothing is printed."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = logging.getLogger("agent")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        agent_of("Hello").session("s").run("Hi")
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)

    assert lines == [
        *("session.started", "turn.started", "model.requested"),
        *("model.responded", "turn.completed"),
    ]
    assert capsys.readouterr() == ("", "")


def test_bound_fields(caplog: pytest.LogCaptureFixture):
    """Each line has session, version and turn."""
    caplog.set_level(logging.INFO, "agent")
    session = agent_of("Hello", Call("add", {"a": 1, "b": 2}), "Done", tools=[add]).session("s")
    session.run("Hi")
    session.run("Hi")

    found = [
        (r.getMessage(), fields(r)["session_id"], fields(r)["version"]) for r in caplog.records
    ]
    assert found == [(fact.type, "s", fact.version) for fact in session.events()]
    assert {r.levelno for r in caplog.records} == {logging.INFO}
    first, second = [f.version for f in session.events() if f.type == "turn.started"]
    later = session.version - second + 1
    assert [fields(r)["turn"] for r in caplog.records] == [
        *[first] * (second - 1),
        *[second] * later,
    ]


def test_failures_are_warnings(caplog: pytest.LogCaptureFixture):
    """A failed call and a failed turn are warnings."""
    caplog.set_level(logging.INFO, "agent")
    with pytest.raises(ServerFailed):
        agent_of(ServerFailed("down", status=500)).session("s").run("Hi")
    loud = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]

    assert loud == ["model.failed", "turn.failed"]


def test_no_content_and_no_secret(caplog: pytest.LogCaptureFixture):
    """No line holds what was said, a tool's arguments or result, metadata, or a key."""
    secret = "hunter2"

    @tool
    def whisper(text: str) -> str:
        """Whisper."""
        return text + secret

    caplog.set_level(logging.DEBUG, "agent")
    script = [Call("whisper", {"text": secret}), Reply(text=secret)]
    agent = agent_of(*script, tools=[whisper])
    agent.session("s", system=secret, metadata={"key": secret}).run(secret)

    assert len(caplog.records) == 10
    assert not [r for r in caplog.records if secret in str(vars(r))]


def test_figures_of_a_call(caplog: pytest.LogCaptureFixture):
    """The line of an answer has its figures."""
    caplog.set_level(logging.INFO, "agent")
    agent_of("Hello world").session("s").run("Hi")
    (line,) = [fields(r) for r in caplog.records if r.getMessage() == "model.responded"]

    assert {k: line[k] for k in ("finish_reason", "input_tokens", "output_tokens")} == {
        "finish_reason": "stop",
        "input_tokens": 0,
        "output_tokens": 2,
    }
