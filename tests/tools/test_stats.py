"""`agent stats`."""

import json
from pathlib import Path
from typing import Any

import pytest

from agent.engine.agent import Agent
from agent.engine.scripted import ScriptedModel
from agent.engine.stores import SQLiteStore
from tests.tools.given import changed, recorded_calls, run

TIMES = {"p50", "p95"}


@pytest.fixture(autouse=True)
def calls(db: Path) -> None:
    """A log with a turn that worked, and one that failed after it was tried again."""
    recorded_calls(db)


def _groups(*arguments: str) -> list[dict[str, Any]]:
    done = run("stats", *arguments, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(done.stdout)
    assert document["schema"] == "agent.stats/1"
    return document["groups"]


def _untimed(group: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in group.items() if name not in TIMES}


def test_what_all_sessions_took():
    """Turns, calls, failures, retries, tokens, tools, and how many calls have no price."""
    (total,) = _groups()

    assert _untimed(total) == {
        "name": None,
        "turns": 2,
        "failed_turns": 1,
        "model_calls": 5,
        "failures": 2,
        "retries": 1,
        "input_tokens": 2000,
        "output_tokens": 400,
        "cached_tokens": 800,
        "reasoning_tokens": 100,
        "cost": None,
        "unpriced": 3,
        "tool_calls": 2,
        "tool_errors": 1,
    }
    assert 0 <= total["p50"] <= total["p95"] < 10


def test_a_summary_for_people():
    """Figures of one kind stand in one line."""
    lines = run("stats").stdout.splitlines()

    assert lines[:-1] == [
        "turns        2, 1 failed",
        "model calls  5, 2 failed, 1 retried",
        "tokens       2,000 in (800 cached), 400 out (100 reasoning)",
        "cost         3 calls have no price",
        "tool calls   2, 1 failed",
    ]
    assert lines[-1].startswith("tool times   half within 0.")


def test_one_session_without_what_it_inherited(db: Path):
    """What forks share is counted once, where it happened."""
    with SQLiteStore(db) as store:
        agent = Agent(ScriptedModel(["Yes."]), store=store)
        agent.session("trip").fork("copy").run("Really?")

    assert [group["model_calls"] for group in _groups("copy")] == [1]
    assert [group["model_calls"] for group in _groups("trip")] == [2]
    assert [group["model_calls"] for group in _groups()] == [6]


def test_one_row_for_each_model():
    """Its name has the provider in front of the model."""
    (model,) = _groups("--by", "model")

    assert model == {
        "name": "scripted scripted",
        "model_calls": 5,
        "failures": 2,
        "retries": 1,
        "input_tokens": 2000,
        "output_tokens": 400,
        "cached_tokens": 800,
        "reasoning_tokens": 100,
        "cost": None,
        "unpriced": 3,
    }


def test_costs_where_prices_are_known(db: Path):
    """Dollars of today, and how many calls are not in them."""
    changed(
        db,
        'UPDATE events SET payload = replace(replace(payload, \'"provider":"scripted"\', '
        '\'"provider":"openai"\'), \'"model":"scripted"\', \'"model":"gpt-4o"\') '
        "WHERE stream = 1",
    )
    known, unknown = _groups("--by", "model")

    assert (known["name"], known["unpriced"], unknown["unpriced"]) == ("openai gpt-4o", 0, 1)
    # 1,200 tokens of input at $2.50 a million, 800 cached ones at $1.25, 400 of output at $10.
    assert known["cost"] == pytest.approx(0.008)
    assert "\ncost         $0.0080, 1 calls have no price\n" in run("stats").stdout


def test_one_row_for_each_session():
    """As text, the columns have names and stand below each other."""
    head, lost, trip = run("stats", "--by", "session").stdout.splitlines()

    assert head.split()[:7] == ["session", "turns", "failed", "turns", "calls", "failed", "retries"]
    assert lost.split()[:6] == ["lost", "1", "1", "3", "2", "1"]
    assert trip.split()[:6] == ["trip", "1", "0", "2", "0", "0"]


def test_one_row_for_each_tool():
    """Half of its calls took no longer than `p50`."""
    (tool,) = _groups("--by", "tool")

    assert _untimed(tool) == {"name": "weather", "tool_calls": 2, "tool_errors": 1}
    assert 0 <= tool["p50"] <= tool["p95"] < 10


def test_percentiles_are_those_of_the_times(db: Path):
    """Half of the calls, and 95 of 100, took no longer."""
    changed(
        db,
        "UPDATE events SET payload = json_set(payload, '$.elapsed', 1.0 * stream) "
        "WHERE type = 'tool.returned'",
    )
    (tool,) = _groups("--by", "tool")

    assert (tool["p50"], tool["p95"]) == (1.0, 2.0)


@pytest.mark.parametrize(
    ("option", "time", "turns"),
    [
        ("--since", "2026-11-26", 2),
        ("--since", "2026-11-26T12:00:01", 0),
        ("--since", "2026-12", 0),
        ("--until", "2026", 2),
        ("--until", "2026-11-26", 2),
        ("--until", "2026-11-26T12:00", 2),
        ("--until", "2026-11-26T11:59:59", 0),
        ("--until", "2026-11-25", 0),
    ],
)
def test_a_span_of_time(option: str, time: str, turns: int, db: Path):
    """A time that is named in part is a span, which `--until` includes."""
    noon = 1795694400 * 10**9
    changed(db, f"UPDATE events SET recorded_at = {noon}")
    (total,) = _groups(option, time)

    assert total["turns"] == turns


def test_a_time_that_is_none():
    """What is no time is wrong usage."""
    done = run("stats", "--since", "yesterday")

    assert (done.returncode, done.stdout) == (2, "")
    assert "write it as 2026-11-26 or 2026-11-26T09:30, in UTC" in done.stderr


def test_a_deleted_session_counts_for_what_its_forks_need(db: Path):
    """What was deleted is no longer counted, and what is left has the old name."""
    with SQLiteStore(db) as store:
        Agent(ScriptedModel([]), store=store).session("trip").fork("copy", at=5)
        store.delete("trip")
        store.delete("lost")

    assert [(group["name"], group["model_calls"]) for group in _groups("--by", "session")] == [
        ("trip (deleted)", 1)
    ]
