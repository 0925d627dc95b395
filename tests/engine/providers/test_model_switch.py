"""A conversation that goes on with another provider, whose server finds nothing wrong with it."""

import pytest

from agent import Agent, Session
from tests.engine.given import agent_of, requests_of
from tests.engine.providers.protocols import PROTOCOLS, Opaque, Spoken, agents, get_weather, spoken

__all__ = ["agents", "spoken"]


@pytest.mark.parametrize("first", PROTOCOLS)
@pytest.mark.parametrize("then", PROTOCOLS)
def test_another_provider_takes_the_history(
    agents: dict[str, Agent], spoken: dict[str, Spoken], first: str, then: str
) -> None:
    """Calls, results and texts; and the first takes it back after that.

    What only the first understands goes back to it as it came, and to nobody else.
    """
    session = agents[first].session(system="Be brief.")
    assert session.run("Weather?").text == "So."
    opaque = spoken[first].opaque
    moved = Session.from_dict(session.to_dict(), agents[then])
    assert moved.run("And now?").text
    check_opaque(spoken[then].bodies[-1], opaque, goes=first == then)
    back = Session.from_dict(moved.to_dict(), agents[first])
    assert back.run("Thanks").text
    check_opaque(spoken[first].bodies[-1], opaque, goes=True)
    if first != then:
        check_opaque(spoken[first].bodies[-1], spoken[then].opaque, goes=False)
    assert all(past.proven for past in requests_of(back))


def check_opaque(body: bytes, opaque: Opaque, *, goes: bool) -> None:
    """A body has each piece once and byte for byte, or no word of it."""
    if goes:
        assert [body.count(item) for item in opaque.items] == [1] * len(opaque.items)
    else:
        assert [secret for secret in opaque.secrets if secret in body] == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_is_opaque_stays_where_it_came_from(
    agents: dict[str, Agent], spoken: dict[str, Spoken], protocol: str
) -> None:
    """No other model gets it, nor one of the same name of another provider or protocol."""
    one = spoken[protocol]
    api = spoken["chat" if protocol == "responses" else "responses"]
    session = agents[protocol].session(system="Be brief.")
    session.run("Weather?")
    data = session.to_dict()
    assert session.run("And now?", model=one.other).text
    check_opaque(one.bodies[-1], one.opaque, goes=False)
    for asked, provider in ((one, one.provider("elsewhere")), (api, api.provider(one.vendor))):
        with Agent(provider, one.model, tools=[get_weather]) as elsewhere:
            assert Session.from_dict(data, elsewhere).run("And now?").text
        check_opaque(asked.bodies[-1], one.opaque, goes=False)
    assert session.run("Thanks").text
    check_opaque(one.bodies[-1], one.opaque, goes=True)


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
