import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.engine.stores import SQLiteStore
from agent.eventstore.events import ModelFailed
from tests.fakes import ChatServer, Error, RawBody, Stream, Text
from tests.tools.given import (
    COLOUR,
    CONTROL_C,
    CONTROL_D,
    LISTENING,
    PATIENCE,
    Terminal,
    chat,
    event_types,
    history,
)

# Every chat speaks to the fake server and keeps its sessions in the test's own folder.
pytestmark = pytest.mark.usefixtures("db", "openai_env")

ENDLESS = Stream(Text("It begins. " + "And goes on. " * 2000), delay=0.02)
STOPPED = "stopped, and not kept in the history; /resume asks again"

EVENT_STREAM = {"content-type": "text/event-stream"}
Open = Callable[..., Terminal]


def _streamed(*deltas: dict[str, str]) -> bytes:
    """A streamed answer of these deltas."""
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    chunks = [
        json.dumps({"object": "chat.completion.chunk", "choices": [choice]}) for choice in choices
    ]
    return "".join(f"data: {chunk}\n\n" for chunk in [*chunks, "[DONE]"]).encode()


def test_an_answer_appears_while_it_is_written(openai_env: ChatServer, open_terminal: Open):
    """The first words are on the screen long before the last."""
    openai_env.script([ENDLESS])
    terminal = open_terminal("chat")

    terminal.expect("> ")
    terminal.enter("Tell me a story")
    terminal.expect("It begins.")
    assert terminal.process.poll() is None
    assert terminal.written.count("And goes on.") < 2000


def test_ctrl_c_stops_the_answer_and_the_chat_goes_on(
    openai_env: ChatServer, open_terminal: Open, db: Path
):
    """A stopped answer stays out of the history and in the log; the next turn is as usual."""
    openai_env.script([ENDLESS, Text("All right.")])
    terminal = open_terminal("chat")

    terminal.expect("> ")
    terminal.enter("Tell me a story")
    terminal.expect("It begins.")
    terminal.interrupt(STOPPED)
    terminal.expect("> ")
    terminal.enter("A short one")
    terminal.expect("All right.")
    terminal.expect("> ")

    assert terminal.leave(CONTROL_D) == 0
    assert history(db) == [("user", "A short one"), ("assistant", "All right.")]
    assert [body["content"] for body in openai_env.requests[1].messages] == ["A short one"]
    assert event_types(db)[1:] == [
        *("turn.started", "model.requested", "model.failed", "turn.abandoned"),
        *("turn.started", "model.requested", "model.responded", "turn.completed"),
    ]
    with SQLiteStore(db) as store:
        (failed,) = [
            fact.event for fact in store.log.read("main") if isinstance(fact.event, ModelFailed)
        ]
    assert failed.partial is not None
    assert failed.partial.text.startswith("It begins.")


def test_ctrl_c_may_be_held_down(openai_env: ChatServer, open_terminal: Open, db: Path):
    """However often Ctrl-C is pressed, the stopped turn is closed, and all is well."""
    openai_env.script([ENDLESS])
    terminal = open_terminal("chat")

    terminal.expect("> ")
    terminal.enter("Tell me a story")
    terminal.expect("It begins.")
    while terminal.process.poll() is None:
        terminal.press(CONTROL_C)
        time.sleep(0.005)

    assert terminal.leave() == 0
    assert STOPPED in terminal.written
    assert "Aborted" not in terminal.written
    assert event_types(db)[-2:] == ["model.failed", "turn.abandoned"]


def test_ctrl_c_stops_an_answer_that_has_not_begun(openai_env: ChatServer, open_terminal: Open):
    """While a failed call waits to be made again, Ctrl-C returns to the prompt at once."""
    openai_env.script([Error(503, headers={"retry-after": "100"})])
    terminal = open_terminal("chat")

    terminal.expect("> ")
    terminal.enter("Hello?")
    while not openai_env.requests:
        assert terminal.process.poll() is None
    terminal.interrupt(STOPPED)
    terminal.expect("> ")
    terminal.enter("My name is Alice")
    terminal.expect("You said: My name is Alice")


@pytest.mark.parametrize("key", [CONTROL_C, CONTROL_D])
def test_ctrl_c_and_ctrl_d_at_the_prompt_leave(open_terminal: Open, key: str):
    """At the prompt both keys end the chat, successfully."""
    terminal = open_terminal("chat")

    terminal.expect("> ")

    assert terminal.leave(key) == 0
    assert "Traceback" not in terminal.written


def test_a_failed_answer_leaves_the_status_alone(openai_env: ChatServer, open_terminal: Open):
    """Whoever has seen the error on the screen need not see it in the exit status."""
    openai_env.script([Error(400)])
    terminal = open_terminal("chat")

    terminal.expect("> ")
    terminal.enter("Hi")
    terminal.expect("Error: status 400")
    terminal.expect("> ")
    terminal.enter("/quit")

    assert terminal.leave() == 0


def test_a_new_terminal_shows_what_was_said_last(open_terminal: Open):
    """Opened again, the session shows its last messages and goes on."""
    chat("My name is Alice", *(f"Number {n}" for n in range(3)))
    terminal = open_terminal("chat")

    shown = terminal.expect("\n> Number 2\n")
    assert "session main" in shown
    assert "(4 earlier messages)" in shown
    assert "> Number 1\n" in shown
    assert "Number 0" not in shown
    terminal.expect("You said: Number 2\n\n> ")
    terminal.enter("What do you know about me?")
    terminal.expect("I know that your name is Alice.")


def test_long_and_dangerous_messages_are_shown_in_part(openai_env: ChatServer, open_terminal: Open):
    """A message from before is cut after a few lines, and obeyed by no terminal."""
    openai_env.script([Text("\x1b[2J" + "line\n" * 50)])
    chat("Hi")
    terminal = open_terminal("chat")

    shown = terminal.expect(" …\n")
    assert "␛[2Jline\n" in shown
    assert shown.count("line\n") < 10


def test_the_commands_work_at_the_prompt(open_terminal: Open, db: Path):
    """/help, /usage, /fork and /clear answer on the screen."""
    terminal = open_terminal("chat")

    terminal.expect("> ")
    for line, answer in [
        ("/help", "Ctrl-C during an answer stops the answer."),
        ("My name is Alice", "You said: My name is Alice"),
        ("/usage", "tokens in"),
        ("/fork twig", "now in session twig; back with: agent chat --session main"),
        ("/clear", "the history is empty"),
        ("What do you know about me?", "You have told me nothing"),
        ("/nonsense", "Error: there is no command /nonsense"),
    ]:
        terminal.enter(line)
        terminal.expect(answer)
        terminal.expect("\n> ")

    assert (len(history(db)), len(history(db, "twig"))) == (2, 2)


def test_reasoning_is_shown_apart(openai_env: ChatServer, open_terminal: Open, db: Path):
    """What a model shows of its reasoning stands above the answer, and is no part of it."""
    deltas = [{"reasoning_content": "Hmm,\x1b[2J"}, {"reasoning_content": " well."}]
    openai_env.script([RawBody(200, _streamed(*deltas, {"content": "Yes."}), EVENT_STREAM)])
    terminal = open_terminal("chat")

    terminal.expect("> ")
    terminal.enter("Hi")
    terminal.expect("Hmm,␛[2J well.\n\nYes.\n\n> ")
    assert history(db)[1] == ("assistant", "Yes.")


def test_answers_can_be_redirected_alone(openai_env: ChatServer, open_terminal: Open):
    """With stdout elsewhere, prompts and notices stay on the terminal."""
    openai_env.script([Text("the answer")])
    reading, writing = os.pipe()
    terminal = open_terminal("chat", stdout=writing)
    os.close(writing)

    terminal.expect("> ")
    terminal.enter("Hi")
    terminal.expect("\n> ")
    assert terminal.leave(CONTROL_D) == 0
    with os.fdopen(reading) as answers:
        assert answers.read() == "the answer\n"
    assert "the answer" not in terminal.written


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_colour_follows_no_color(
    monkeypatch: pytest.MonkeyPatch, open_terminal: Open, no_color: str, coloured: bool
):
    """Notices are coloured on a terminal that can, unless NO_COLOR is set."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", no_color)
    terminal = open_terminal("chat")

    shown = terminal.expect("lists the commands")
    assert bool(COLOUR.search(shown)) == coloured


def test_a_script_that_is_interrupted_ends(openai_env: ChatServer, db: Path):
    """With piped prompts SIGINT ends the command, with the shell's status for it."""
    openai_env.script([ENDLESS])
    process = subprocess.Popen(
        [*LISTENING, "chat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write(b"Tell me a story\nAnd another\n")
        process.stdin.flush()
        assert process.stdout.read(2) == b"It"
        process.send_signal(signal.SIGINT)
        process.stdout.read()

        assert process.wait(PATIENCE) == 130
        assert process.stderr.read().decode().splitlines() == [STOPPED]
    assert history(db) == []
    assert len(openai_env.requests) == 1


def test_a_chat_that_was_killed_is_taken_up(openai_env: ChatServer, open_terminal: Open, db: Path):
    """The next chat says that something was not answered, and /resume answers it."""
    openai_env.script([ENDLESS, Text("All right.")])
    killed = open_terminal("chat")
    killed.expect("> ")
    killed.enter("Tell me a story")
    killed.expect("It begins.")
    killed.process.kill()
    killed.process.wait(PATIENCE)

    terminal = open_terminal("chat")
    terminal.expect("(what was asked last was not answered; /resume answers it)")
    terminal.expect("> ")
    terminal.enter("/clear")
    terminal.expect("Error: what was asked last was not answered; /resume answers it")
    terminal.enter("/resume")
    terminal.expect("All right.")
    terminal.enter("/resume")
    terminal.expect("Error: there is nothing to resume")
    assert history(db) == [("user", "Tell me a story"), ("assistant", "All right.")]
