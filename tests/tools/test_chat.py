import os
import subprocess
from pathlib import Path

import pytest

from agent import Agent
from agent.stores import SQLiteStore
from agent.testing import Call, ScriptedModel
from tests.fakes import ChatServer, Error, Refusal, Stream, Text
from tests.tools.given import COMMAND, PATIENCE, chat, event_types, history, redirected, run

# Every chat speaks to the fake server and keeps its sessions in the test's own folder.
pytestmark = pytest.mark.usefixtures("db", "openai_env")

FINAL = {"x-should-retry": "false"}
NO_MODEL = {
    "error": {"message": "The model `gpt-9` does not exist", "code": "model_not_found"},
}
OVERHEATED = {"error": {"message": "overheated", "type": "server_error"}}


def test_each_line_is_a_prompt_and_answers_go_to_stdout(openai_env: ChatServer):
    """Piped lines are asked in turn, empty ones skipped; stdout holds the answers and no more."""
    openai_env.script([Text("one"), Text("two\n")])
    done = chat("first", "", "second")

    assert (done.returncode, done.stdout, done.stderr) == (0, "one\ntwo\n", "")
    assert [body["stream"] for body in openai_env.bodies] == [True, True]


def test_the_same_session_goes_on_in_a_new_process(db: Path):
    """What was said in one process is known in the next."""
    chat("My name is Alice")
    done = chat("What do you know about me?")

    assert done.stdout == "Based on our conversation, I know that your name is Alice.\n"
    assert [role for role, _ in history(db)] == ["user", "assistant"] * 2


def test_a_session_that_another_process_is_using(db: Path):
    """While another process answers in a session, a prompt is refused and not lost in between."""
    with SQLiteStore(db) as store:
        agent = Agent(ScriptedModel(["one two"]), "m", store=store)
        with agent.session("main").stream("Hi") as stream:
            next(stream)
            done = chat("Hello?")

    assert done.returncode == 1
    assert f"process {os.getpid()} on " in done.stderr
    assert "is at work in this session; wait for it" in done.stderr


def test_a_session_whose_tools_wait_for_a_person(db: Path):
    """A turn that waits elsewhere for a person is neither resumed nor an error of the chat's."""

    def pay() -> str:
        return "paid"

    with SQLiteStore(db) as store:
        model = ScriptedModel([[Call("pay"), Call("pay")]])
        agent = Agent(model, "m", tools=[pay], store=store, requires_approval=True)
        session = agent.session("main")
        session.run("Pay twice")
        waits = chat("/resume")
        session.reject(session.pending_approvals[0].call_id)
        goes_on = chat("/resume")

    assert waits.stderr == (
        "Error: a person has to allow these tools first: pay, pay; or say something else\n"
    )
    assert (waits.returncode, goes_on.returncode) == (1, 0)
    assert goes_on.stderr == "(a person has to allow these tools first: pay)\n"


def test_sessions_are_kept_apart():
    """Another --session knows nothing of the first."""
    chat("My name is Alice")
    done = chat("What do you know about me?", options=("--session", "other"))

    assert "Alice" not in done.stdout


def test_model_and_system_prompt_are_sent(openai_env: ChatServer):
    """--model and --system reach the server, and the system prompt stays with the session."""
    chat("Hi", options=("--model", "small", "--system", "Be brief."))
    chat("Hi")

    assert [body["model"] for body in openai_env.bodies] == ["small", "gpt-4o"]
    for request in openai_env.requests:
        assert request.messages[0] == {"role": "system", "content": "Be brief."}


def test_base_url_may_be_an_option(openai_env: ChatServer, monkeypatch: pytest.MonkeyPatch):
    """--base-url names a server, where the environment names none."""
    monkeypatch.delenv("OPENAI_BASE_URL")
    done = chat("Hi", options=("--base-url", openai_env.base_url))

    assert (done.returncode, len(openai_env.requests)) == (0, 1)


def test_the_default_file_is_in_the_users_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Without --db and AGENT_DB the sessions lie below the home folder, for the user alone."""
    monkeypatch.delenv("AGENT_DB")
    done = chat("Hi")

    (path,) = tmp_path.rglob("sessions.db")
    assert done.returncode == 0
    assert path.is_relative_to(tmp_path / "home")
    assert path.parent.stat().st_mode & 0o077 == 0
    assert len(history(path)) == 2


def test_a_home_that_cannot_be_written_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """Where the default folder cannot be made, the error names it and --db."""
    monkeypatch.delenv("AGENT_DB")
    (tmp_path / "home").touch()
    done = chat("Hi")

    (line,) = done.stderr.splitlines()
    assert done.returncode == 1
    assert line.startswith(f"Error: cannot make the folder {tmp_path / 'home'}")
    assert line.endswith("name a file with --db")


def test_a_missing_key_is_told_at_once(monkeypatch: pytest.MonkeyPatch, db: Path):
    """Without a key or another server the command says what to set, and asks nothing."""
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("OPENAI_BASE_URL")
    done = chat("Hi")

    words = " ".join(done.stderr.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert "Set the environment variable OPENAI_API_KEY" in words
    assert "--base-url" in words
    assert not db.exists()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (Error(404, NO_MODEL), ("The model `gpt-9` does not exist", "--model")),
        (Error(401, headers=FINAL), ("status 401", "OPENAI_API_KEY")),
        (Error(500, headers=FINAL), ("status 500",)),
    ],
)
def test_an_error_is_one_line_and_the_chat_goes_on(
    openai_env: ChatServer, db: Path, error: Error, words: tuple[str, ...]
):
    """A failed answer is told in one line, leaves no trace in the history, and costs status 1."""
    openai_env.script([error, Text("fine")])
    done = chat("first", "second")

    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (1, "fine\n")
    assert line.startswith("Error: ")
    assert [word for word in words if word not in line] == []
    assert history(db) == [("user", "second"), ("assistant", "fine")]


def test_an_unreachable_server_is_told_as_such():
    """Where nobody listens, the error speaks of the server and of --base-url."""
    done = chat("Hi", options=("--base-url", "http://127.0.0.1:9/v1"))

    (line,) = done.stderr.splitlines()
    assert done.returncode == 1
    assert line.startswith("Error: openai could not be reached")
    assert "--base-url" in line


def test_an_answer_that_breaks_off_ends_its_line(openai_env: ChatServer, db: Path):
    """After a broken answer the error stands alone, and the next answer begins a new line."""
    openai_env.script([Stream(Text("abcdefghijklmnop"), error=OVERHEATED), Text("fine")])
    done = chat("first", "second")

    partial, fine = done.stdout.splitlines()
    assert "abcdefghijklmnop".startswith(partial)
    assert (fine, done.returncode) == ("fine", 1)
    assert "overheated" in done.stderr
    assert history(db) == [("user", "second"), ("assistant", "fine")]


def test_what_a_terminal_obeys_is_neutralised(openai_env: ChatServer, db: Path):
    """Escape sequences of a model or a server are shown, while the log keeps the exact text."""
    text = "\x1b[2J\x1b]0;owned\x07 ok\r\n"
    openai_env.script([Text(text), Error(400, {"error": {"message": "\x1b[2Jbad"}})])
    done = chat("first", "second")

    assert done.stdout == "␛[2J␛]0;owned␇ ok\n"
    assert "\x1b" not in done.stderr
    assert "␛[2Jbad" in done.stderr
    assert history(db)[1] == ("assistant", text)


def test_a_refusal_is_an_answer(openai_env: ChatServer):
    """The words with which a model declines are shown."""
    openai_env.script([Refusal("I cannot help with that.")])
    done = chat("Hi")

    assert (done.returncode, done.stdout) == (0, "I cannot help with that.\n")


@pytest.mark.parametrize(
    ("answer", "notice"),
    [
        (Text("cut", finish_reason="length"), "(cut at the model's token limit)\n"),
        (Text("cut", finish_reason="content_filter"), "(cut by the provider's content filter)\n"),
        (Text(""), "(an empty answer)\n"),
    ],
)
def test_an_answer_that_is_not_whole_says_so(openai_env: ChatServer, answer: Text, notice: str):
    """A cut or empty answer is followed by the reason."""
    openai_env.script([answer])

    assert chat("Hi").stderr == notice


def test_clear_empties_the_history_and_keeps_the_log(db: Path):
    """After /clear the model knows nothing; the events are still there."""
    done = chat("My name is Alice", "/clear", "What do you know about me?")

    assert "Alice" not in done.stdout.splitlines()[-1]
    assert [role for role, _ in history(db)] == ["user", "assistant"]
    assert event_types(db).count("turn.completed") == 2


def test_undo_takes_the_last_turn_back(db: Path):
    """After /undo the last turn is as if it had not been; with none left it says so."""
    done = chat("My name is Alice", "/undo", "What do you know about me?", "/undo", "/undo")

    assert "Alice" not in done.stdout.splitlines()[-1]
    assert history(db) == []
    assert done.stderr.startswith("undone; 0 messages are left\n")
    assert "has 0 of 1 turns to undo" in done.stderr
    assert done.returncode == 1


def test_compact_lets_a_summary_stand(openai_env: ChatServer, db: Path):
    """After /compact a summary stands for all but the last messages."""
    openai_env.script([Text("one"), Text("two"), Text("three"), Text("the summary")])
    done = chat("a", "b", "c", "/compact")

    assert (done.returncode, done.stdout) == (0, "one\ntwo\nthree\n")
    assert done.stderr == "6 messages before, 5 now\n"
    assert [text for _, text in history(db)][1:] == ["b", "two", "c", "three"]
    assert history(db)[0][1].endswith("the summary")


def test_fork_goes_on_in_the_branch(db: Path):
    """After /fork what is said enters the branch; the parent stays as it was."""
    done = chat("My name is Alice", "/fork my plan", "What do you know about me?")

    assert "your name is Alice" in done.stdout
    assert (len(history(db)), len(history(db, "my plan"))) == (2, 4)
    assert "now in session my plan; back with: agent chat --session main" in done.stderr


def test_fork_names_the_branch_itself(db: Path):
    """/fork without an ID makes one up and tells it."""
    done = chat("Hi", "/fork")

    name = done.stderr.split("now in session ")[1].split(";")[0]
    assert history(db, name) == history(db)


def test_fork_never_takes_over_a_session(db: Path):
    """/fork with the ID of a session that exists is refused, and the chat stays where it was."""
    chat("Hi", options=("--session", "other"))
    done = chat("Hello", "/fork other", "Here?")

    assert done.returncode == 1
    assert "there already is a session other" in done.stderr
    assert (len(history(db)), len(history(db, "other"))) == (4, 2)


def test_usage_counts_what_was_spent(openai_env: ChatServer):
    """/usage tells the tokens of the session, and apart those from before a fork."""
    done = chat("/usage", "Hi", "/usage", "/fork x", "/usage")

    none, spent, own, inherited = [line for line in done.stderr.splitlines() if "token" in line]
    assert none == "this session: 0 tokens in, 0 out"
    assert own == none
    assert spent != none
    assert inherited == spent.replace("this session", "before the fork")


def test_quit_leaves_the_rest_unasked(openai_env: ChatServer):
    """/quit ends the chat."""
    done = chat("first", "/quit", "second")

    assert (done.returncode, len(openai_env.requests)) == (0, 1)


def test_help_lists_the_commands():
    """/help names every command."""
    done = chat("/help")

    listed = {line.split()[0] for line in done.stderr.splitlines() if line.startswith("/")}
    assert listed == {"/clear", "/undo", "/compact", "/fork", "/resume", "/usage", "/quit"}


def test_a_mistyped_command_is_not_sent(openai_env: ChatServer):
    """An unknown command is refused, while a path at the beginning of a prompt is no command."""
    done = chat("/claer", "/etc/hosts: what is it?")

    assert done.returncode == 1
    assert done.stderr == "Error: there is no command /claer; /help lists them\n"
    assert [one.messages[-1]["content"] for one in openai_env.requests] == [
        "/etc/hosts: what is it?"
    ]


def test_input_that_is_not_utf8_is_refused(openai_env: ChatServer):
    """Bytes that are no text are told as such, and the next line is asked."""
    openai_env.script([Text("fine")])
    done = run("chat", given=b"bad \xff\ngood\n")

    assert (done.returncode, done.stdout) == (1, "fine\n")
    assert "bytes that are not UTF-8" in done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--provider", "nobody"), "unknown provider 'nobody'"),
        (("--session", " "), "this one is empty"),
    ],
)
def test_wrong_options_are_wrong_usage(options: tuple[str, ...], words: str):
    """What no server needs to be asked about ends with status 2."""
    done = chat("Hi", options=options)

    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


def test_a_file_of_something_else_is_left_alone(tmp_path: Path):
    """A --db that is no log is refused in one line and not changed."""
    path = tmp_path / "notes.txt"
    path.write_text("not a database, and longer than the header of one " * 10)
    before = path.read_bytes()
    done = chat("Hi", options=("--db", str(path)))

    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert path.read_bytes() == before


def test_a_reader_that_leaves_ends_the_chat_quietly(openai_env: ChatServer, db: Path):
    """When nobody reads the answers any more, the turn is given up without a traceback."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*COMMAND, "chat"],
        input=b"Hi\n",
        stdout=writing,
        stderr=subprocess.PIPE,
        timeout=PATIENCE,
        check=False,
    )
    os.close(writing)

    assert (done.returncode, done.stderr) == (141, b"")
    assert event_types(db)[-1] == "turn.abandoned"


def test_an_answer_that_cannot_be_written(db: Path):
    """Where stdout takes no more, the turn is given up, in one line."""
    done = redirected("1</dev/null", "chat", given=b"Hi\n")

    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert event_types(db)[-1] == "turn.abandoned"


def test_nothing_to_read():
    """A closed stdin has no prompts."""
    done = redirected("<&-", "chat")

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
