import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.engine.stores import SQLiteStore
from agent.eventstore.events import ApprovalRejected, ToolResolved, TurnAbandoned
from agent.eventstore.messages import TextPart
from agent.eventstore.values import call_digest
from tests.tools.given import CONTROL_C, Terminal, event_types, recorded_trip, run
from tests.tools.shop import at_work, killed_at_work, opened_shop, waiting_for_a_person

DIGEST = call_digest("refund", '{"order":"7","amount":9.5}')

Open = Callable[..., Terminal]


@pytest.fixture(autouse=True)
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shop that is open."""
    opened_shop(tmp_path, monkeypatch)


def _last(db: Path) -> object:
    with SQLiteStore(db) as store:
        return [fact.event for fact in store.log.read("order")][-1]


def test_calls_of_unknown_outcome_are_listed(db: Path):
    """Each with all of its arguments; the status says that somebody has to decide."""
    killed_at_work(db)
    done = run("resolve", "order")

    first, *calls = done.stdout.splitlines()
    assert done.returncode == 5
    assert first.startswith("order@7: the turn that began at version 3 is open; process ")
    assert calls == [
        "call_5_0  look_up  started, outcome unknown",
        '    {"order":"7"}',
        "call_5_1  pay  started, outcome unknown",
        '    {"amount":9.5}',
    ]
    assert done.stderr == "find out, and decide with CALL --result TEXT, --failed WHY or --retry\n"
    assert len(event_types(db, "order")) == 7


def test_calls_that_wait_for_a_person_are_listed(db: Path):
    """Each with what an approval is bound to."""
    waiting_for_a_person(db)
    done = run("resolve", "order")

    assert (done.returncode, done.stdout.splitlines()) == (
        5,
        [
            "order@6: the turn that began at version 3 is open",
            f"call_5_0  refund  waits for a person, digest {DIGEST[:12]}",
            '    {"order":"7","amount":9.5}',
        ],
    )
    assert done.stderr == "decide with CALL --approve or CALL --reject\n"


def test_the_listing_as_data(db: Path):
    """`--json` has every field of the turn, and whole digests."""
    waiting_for_a_person(db)
    done = run("resolve", "order", "--json")

    assert (done.returncode, done.stderr) == (5, "")
    assert json.loads(done.stdout) == {
        "schema": "agent.resolve/1",
        "session": "order",
        "version": 6,
        "turn": {
            "started": 3,
            "stopped": 6,
            "owner": None,
            "owner_alive": False,
            "waiting_for": "approval",
            "ended": None,
            "calls": [
                {
                    "id": "call_5_0",
                    "tool": "refund",
                    "arguments": '{"order":"7","amount":9.5}',
                    "state": "not started",
                    "approval": "requested",
                    "digest": DIGEST,
                }
            ],
        },
    }


def test_nothing_is_open(db: Path):
    """A session whose turns are complete waits for nothing."""
    recorded_trip(db)
    done = run("resolve", "trip")

    assert (done.returncode, done.stdout, done.stderr) == (0, "trip@9: no turn is open\n", "")
    assert json.loads(run("resolve", "trip", "--json").stdout)["turn"] is None


def test_a_turn_that_only_waits_for_the_model(db: Path):
    """Nobody has to decide about it; it can be gone on with."""
    recorded_trip(db)
    run("fork", "trip@4", "open")
    done = run("resolve", "open")

    assert (done.returncode, done.stdout) == (
        0,
        "open@5: the turn that began at version 2 is open\n",
    )
    assert done.stderr == "agent resume open goes on\n"


def test_arguments_are_harmless(db: Path):
    """What a terminal would obey is shown as signs."""
    waiting_for_a_person(db, "\N{RIGHT-TO-LEFT OVERRIDE}7")
    done = run("resolve", "order")

    assert done.stdout.splitlines()[2] == '    {"order":"\N{REPLACEMENT CHARACTER}7","amount":9.5}'


@pytest.mark.parametrize(
    ("decision", "how", "text"),
    [
        (("--result", "paid 9.5"), "result", "paid 9.5"),
        (("--result", "@receipt.txt"), "result", "paid\n"),
        (("--result", "@@home"), "result", "@home"),
        (("--failed", "declined"), "failed", "declined"),
        (("--retry",), "retry", ""),
    ],
)
def test_what_became_of_a_call(decision: tuple[str, ...], how: str, text: str, db: Path):
    """The decision is recorded, and what is left is told."""
    Path("receipt.txt").write_text("paid\n")
    killed_at_work(db)
    done = run("resolve", "order", "call_5_1", *decision)

    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "still to decide: call_5_0 (look_up)\n"
    resolved = _last(db)
    assert isinstance(resolved, ToolResolved)
    content = "".join(part.text for part in resolved.content if isinstance(part, TextPart))
    assert (resolved.call_id, resolved.how, content) == ("call_5_1", how, text)


def test_the_last_decision_lets_the_turn_go_on(db: Path):
    """Once everything is decided, the next command is named."""
    waiting_for_a_person(db)
    done = run("resolve", "order", "call_5_0", "--approve", "--digest", DIGEST[:8].upper())

    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "agent resume order goes on\n"
    assert event_types(db, "order")[-1] == "approval.granted"


def test_a_call_is_refused(db: Path):
    """With the reason that the model is told."""
    waiting_for_a_person(db)
    done = run("resolve", "order", "call_5_0", "--reject", "--reason", "too late")

    assert done.returncode == 0
    assert _last(db) == ApprovalRejected(call_id="call_5_0", reason="too late")


def test_a_turn_is_closed(db: Path):
    """And there is nothing left to decide."""
    killed_at_work(db)
    done = run("resolve", "order", "--abandon", "--reason", "the customer has left")

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert _last(db) == TurnAbandoned(reason="the customer has left")
    listed = run("resolve", "order")
    assert (listed.returncode, listed.stdout.splitlines()[0]) == (
        0,
        "order@8: the turn that began at version 3 abandoned: the customer has left",
    )


def test_a_turn_that_somebody_runs(db: Path):
    """Nothing has to be decided, nor can be unless the turn is taken from its process."""
    with at_work(db) as process:
        owner = f"process {process} on {os.uname().nodename}"
        listed = run("resolve", "order")
        refused = run("resolve", "order", "call_5_0", "--retry")
        taken = run("resolve", "order", "call_5_0", "--retry", "--takeover")

    assert (listed.returncode, listed.stderr) == (0, "")
    assert listed.stdout.splitlines()[:2] == [
        f"order@6: the turn that began at version 3 is run by {owner}",
        "call_5_0  look_up  runs",
    ]
    assert (refused.returncode, refused.stdout) == (5, "")
    assert refused.stderr == (
        f"Error: {owner} is at work in session order: wait for it, or take the turn from it with "
        "--takeover\n"
    )
    assert taken.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("call_5_0",), 2),
        (("--approve",), 2),
        (("call_5_0", "--abandon"), 2),
        (("call_5_0", "--approve", "--reject"), 2),
        (("call_5_0", "--retry", "--result", ""), 2),
        (("call_5_0", "--reject", "--digest", DIGEST), 2),
        (("call_5_0", "--approve", "--reason", "why"), 2),
        (("call_5_0", "--approve"), 2),
        (("call_5_0", "--approve", "--digest", DIGEST[:7]), 2),
        (("call_5_0", "--approve", "--digest", "0" * 64), 4),
        (("call_5_0", "--retry"), 4),
        (("call_9_9", "--approve", "--digest", DIGEST), 4),
        (("call_9_9", "--reject"), 4),
    ],
)
def test_what_decides_nothing(arguments: tuple[str, ...], status: int, db: Path):
    """A decision that is none, or was not seen, is refused, and nothing is written."""
    waiting_for_a_person(db)
    done = run("resolve", "order", *arguments)

    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.splitlines()[-1].startswith("Error: ")
    assert event_types(db, "order")[-1] == "approval.requested"


def test_only_the_session_as_it_is_now(db: Path):
    """A version is refused: nothing is decided in the past."""
    waiting_for_a_person(db)
    done = run("resolve", "order@6")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "Error: order@6 is a version, and this goes on where a session is now; branch off first: "
        "agent fork order@6\n"
    )


@pytest.mark.parametrize(
    ("answer", "status", "last"),
    [("y\r", 0, "approval.granted"), ("n\r", 5, "approval.requested")],
)
def test_a_terminal_shows_and_asks(
    answer: str, status: int, last: str, open_terminal: Open, db: Path
):
    """Whoever approves on a terminal has seen the call."""
    waiting_for_a_person(db)
    terminal = open_terminal("resolve", "order", "call_5_0", "--approve")

    shown = terminal.expect("Allow this call? [y/N]: ")
    assert shown.splitlines() == [
        "call_5_0  refund  waits for a person",
        '    {"order":"7","amount":9.5}',
        "Allow this call? [y/N]: ",
    ]
    terminal.press(answer)

    assert terminal.leave() == status
    assert event_types(db, "order")[-1] == last


def test_ctrl_c_decides_nothing(open_terminal: Open, db: Path):
    """The question is left as it was."""
    waiting_for_a_person(db)
    terminal = open_terminal("resolve", "order", "call_5_0", "--approve")
    terminal.expect("[y/N]: ")

    assert terminal.leave(CONTROL_C) == 130
    assert event_types(db, "order")[-1] == "approval.requested"
