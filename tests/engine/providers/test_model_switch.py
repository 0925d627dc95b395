"""A conversation that goes on with another provider, whose server finds nothing wrong with it."""

import pytest

from agent import Agent, Session
from tests.engine.given import agent_of, requests_of
from tests.engine.providers.protocols import PROTOCOLS, agents

__all__ = ["agents"]


@pytest.mark.parametrize("first", PROTOCOLS)
@pytest.mark.parametrize("then", PROTOCOLS)
def test_another_provider_takes_the_history(
    agents: dict[str, Agent], first: str, then: str
) -> None:
    """Calls, results and texts; and the first takes it back after that."""
    session = agents[first].session(system="Be brief.")
    assert session.run("Weather?").text == "So."
    moved = Session.from_dict(session.to_dict(), agents[then])
    assert moved.run("And now?").text
    back = Session.from_dict(moved.to_dict(), agents[first])
    assert back.run("Thanks").text
    assert all(past.proven for past in requests_of(back))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_requests_are_rebuilt_whatever_became_of_the_history(
    agents: dict[str, Agent], protocol: str
) -> None:
    """Also in a fork, and in a copy whose agent asks somebody else."""
    session = agents[protocol].session(system="Be brief.")
    session.run("Weather?", temperature=0.5)
    told = session.version
    assert session.compact(keep_last=1).summary
    session.rewind(to=told)
    session.stream("And now?").finish()
    session.clear()
    session.run("Thanks")
    for copy in (session, session.fork(), Session.from_dict(session.to_dict(), agent_of())):
        assert [past.proven for past in requests_of(copy)] == [True] * 5
