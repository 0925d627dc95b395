"""The fork of a rerun, replayed: as it was configured, and by the agent that made it."""

from typing import Any

import pytest

from agent import Agent
from agent.engine.rerun import Rerun
from agent.engine.scripted import Scripted
from tests.engine.given import add
from tests.engine.reruns import NICE, OSLO, SAME, Town, known, later

RERUNS: list[tuple[tuple[Scripted, ...], int | None, dict[str, Any]]] = [
    (SAME, None, {}),
    *[(SAME[1:] if at > 9 else SAME, at, {}) for at in range(8, 16)],
    *[(SAME[2:], at, {}) for at in range(16, 20)],
    ((), 20, {}),
    (SAME, None, {"model": "other", "seed": 7, "system": "x"}),
    (SAME[1:], 15, {"model": "other", "system": None}),
    (SAME[2:], 18, {"tools": [*Town().tools, add]}),
    (SAME, 9, {"tools": []}),
    (("So.",), None, {"edit": {18: "snow"}}),
    (("So.",), 7, {"edit": {8: "?", 6: "Ho"}}),
    (SAME, None, {"tool_results": "live"}),
    (("So.",), 11, {"tool_results": "live"}),
    ((*SAME[:1], NICE), None, {"tool_results": "ask"}),
    (('{"result":1}',), None, {"schema": int}),
    (("x", '{"result":1}'), None, {"schema": int}),
    (([OSLO, NICE],), None, {}),
]


def check(rerun: Rerun, agent: Agent, *, tools: bool = False) -> None:
    """Neither today's engine nor the agent would do anything else, if they are its ``tools``."""
    assert rerun.session.replay().divergence is None
    found = rerun.session.replay(agent, schemas=[int]).divergence
    assert found is None or (tools and found.kind == "schema")


@pytest.mark.parametrize(("script", "at", "options"), RERUNS)
def test_no_divergence(script: tuple[Scripted, ...], at: int | None, options: Any):
    """Whatever was changed, and wherever it began."""
    session = known(*script)
    rerun = session.rerun(at, **options)
    asks = options.get("tool_results") == "ask"  # which the agent of the fork alone does
    check(rerun, (rerun.session if asks else session)._agent, tools="tools" in options)


def test_gone_on_with():
    """Also after further turns, and when it is taken again."""
    session = known([OSLO, NICE], "So.", "Bye", "Hm")
    rerun = session.rerun()
    rerun.session.resume()
    rerun.session.run("Thanks")
    check(rerun, session._agent)
    check(rerun.session.rerun(), session._agent)


def test_said_otherwise_before():
    """Messages that were added by hand are there."""
    session = later("Bye")
    check(session.rerun(21, edit={13: "hail"}), session._agent)


@pytest.mark.parametrize("at", range(1, 22))
def test_forks_of_forks(at: int):
    """Also of one from right after its tools were declared, whose turn is its own."""
    session = known("So.", "So.")
    fork = session.fork("fork", at=at)
    fork.abandon()
    fork.run("And now?")
    rerun = fork.rerun()
    assert (rerun.error, rerun.departure) == (None, None)
    check(rerun, session._agent)
