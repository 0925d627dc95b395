"""Recorded sessions as tests: pytest itself is run, in a folder of its own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agent import Agent, Session
from agent.stores import SQLiteStore
from agent.testing import Call, ScriptedModel

ADD = '''
def add(a: int, b: int) -> int:
    """{description}"""
    raise AssertionError("a tool ran")
'''

TEST = """
from agent import Agent
from agent.testing import ScriptedModel
{add}
agent = Agent(ScriptedModel([]), "m", tools=[add])

def test_sum(check_recording):
    check_recording("recordings/sum.json", agent{options})
"""


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def recorded(store: SQLiteStore | None = None) -> Session:
    """A session with a tool call."""
    model = ScriptedModel([Call("add", {"a": 1, "b": 2}), "It is 3.", "Gern."])
    session = Agent(model, "m", tools=[add], store=store).session("sum", system="Add.")
    session.run("1 + 2?")
    session.run("Grüße")
    return session


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with a recording."""
    (tmp_path / "recordings").mkdir()
    write(tmp_path, recorded().to_dict())
    return tmp_path


def write(folder: Path, data: dict[str, Any]) -> Path:
    """Write the recording."""
    path = folder / "recordings" / "sum.json"
    path.write_text(json.dumps(data))
    return path


def run(folder: Path, *args: str, test: str) -> tuple[int, str]:
    """Run a test in the folder; the exit code, and what pytest says."""
    (folder / "test_sum.py").write_text(test)
    plain = ["-p", "no:randomly", "-p", "no:cacheprovider", "-q"]
    command = [sys.executable, "-m", "pytest", *plain, *args]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def a_test(description: str = "Add two numbers.", options: str = "") -> str:
    """A test in three lines, with a tool that is described so."""
    return TEST.format(add=ADD.format(description=description), options=options)


def test_nothing_has_changed(folder: Path):
    """The test passes; no model is asked and no tool run."""
    code, said = run(folder, test=a_test())
    assert code == 0, said


def test_a_change(folder: Path):
    """The test fails, and says where, why, and how to go on; the recording stays as it is."""
    before = (folder / "recordings/sum.json").read_bytes()
    code, said = run(folder, test=a_test("Add up."))
    assert code == 1
    assert "today this session would be different, sum: " in said
    assert "(cause: tool definition)" in said
    assert '/tools/0/description: "Add two numbers." -> "Add up."' in said
    assert f"recording: {folder / 'recordings/sum.json'}" in said
    assert "pytest --update-recordings" in said
    assert (folder / "recordings/sum.json").read_bytes() == before


def test_an_update(folder: Path):
    """The recording is written anew with the same answers; then the test passes, and says so."""
    path = folder / "recordings/sum.json"
    code, said = run(folder, "--update-recordings", test=a_test("Add up."))
    assert (code, f"recording written anew: {path}" in said) == (0, True), said
    written = json.loads(path.read_text())
    payloads = [event["payload"] for event in written["events"]]
    assert "Add up." in payloads[1]
    assert "It is 3." in payloads[8]
    assert "Grüße" in path.read_text()
    assert [entry.name for entry in path.parent.iterdir()] == ["sum.json"]
    before = path.read_bytes()
    assert run(folder, "--update-recordings", test=a_test("Add up."))[0] == 0
    assert path.read_bytes() == before
    assert run(folder, test=a_test("Add up."))[0] == 0


def test_an_update_in_parallel(folder: Path):
    """What the workers wrote anew is named too, once."""
    path = folder / "recordings/sum.json"
    code, said = run(folder, "--update-recordings", "-n", "1", test=a_test("Add up."))
    assert (code, said.count(f"recording written anew: {path}")) == (0, 1), said


def test_an_option_that_there_is_not(folder: Path):
    """A misspelt option fails the test, instead of being passed over."""
    code, said = run(folder, test=a_test(options=', sytem="Be brief."'))
    assert (code, "TypeError: unknown options: sytem" in said) == (1, True), said


def test_what_no_update_can_do(folder: Path):
    """Where today asks for more than was answered the test fails, and the file stays."""
    path = folder / "recordings/sum.json"
    before = path.read_bytes()
    asks = a_test().replace("tools=[add]", "tools=[add], requires_approval=True")
    code, said = run(folder, "--update-recordings", test=asks)
    assert (code, "CannotRewrite" in said) == (1, True), said
    assert path.read_bytes() == before


def test_a_full_disk(folder: Path):
    """The recording is as it was, nothing lies beside it, and the failure says so."""
    pytest.importorskip("resource")
    path = folder / "recordings/sum.json"
    before = path.read_bytes()
    (folder / "conftest.py").write_text(
        "import resource\n"
        "def pytest_runtest_call():\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
    )
    code, said = run(folder, "--update-recordings", test=a_test("Add up."))
    assert (code, "could not be written anew, and is as it was" in said) == (1, True), said
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["sum.json"]


def test_another_system_prompt(folder: Path):
    """It is given beside the agent."""
    code, said = run(folder, test=a_test(options=', system="Add up."'))
    assert (code, "(cause: system prompt)" in said) == (1, True), said


@pytest.mark.parametrize(
    ("options", "words"), [("", "it has sum"), (', session_id="other"', "it has sum")]
)
def test_a_log_whose_session_is_not_named(folder: Path, options: str, words: str):
    """The failure names the sessions that there are."""
    with SQLiteStore(folder / "recordings/sum.json") as store:
        (folder / "recordings/sum.json").unlink()
        recorded(store)
    code, said = run(folder, test=a_test(options=options))
    assert (code, words in said) == (1, True), said


def test_a_session_in_a_log(folder: Path):
    """It is named by its id. A log is never written anew."""
    (folder / "recordings/sum.json").unlink()
    with SQLiteStore(folder / "recordings/sum.json") as store:
        recorded(store)
    named = a_test(options=', session_id="sum"')
    assert run(folder, test=named)[0] == 0
    changed = a_test("Add up.", options=', session_id="sum"')
    before = (folder / "recordings/sum.json").read_bytes()
    code, said = run(folder, "--update-recordings", test=changed)
    assert (code, "only a recording in a JSON file can be written anew" in said) == (1, True), said
    assert (folder / "recordings/sum.json").read_bytes() == before


def test_no_recording(folder: Path):
    """The failure says how to record one."""
    (folder / "recordings/sum.json").unlink()
    code, said = run(folder, test=a_test())
    assert (code, "json.dump(session.to_dict(), file)" in said) == (1, True), said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no JSON", "is neither JSON of session.to_dict() nor a log"),
        ("[]", "is neither JSON of session.to_dict() nor a log"),
        ('{"a": 1}', "is no recording:"),
    ],
)
def test_files_that_are_no_recordings(folder: Path, text: str, words: str):
    """The failure says so, without a traceback."""
    (folder / "recordings/sum.json").write_text(text)
    code, said = run(folder, test=a_test())
    assert (code, words in said, "Traceback" in said, "def check" in said) == (
        1,
        True,
        False,
        False,
    )


def test_sessions_and_exports(check_recording: Any):
    """What is not in a file is checked too, and what was found is returned."""
    session = recorded()
    assert check_recording(session).requests == 3
    assert (
        check_recording(session.to_dict(), Agent(ScriptedModel([]), "m", tools=[add])).events == 14
    )


def test_the_plugin_is_light():
    """Whoever has the library installed pays nothing for it in tests that do not use it."""
    program = "import sys, agent.tools.pytest_plugin; print('agent.engine.agent' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout == "False\n"
