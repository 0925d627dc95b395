import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.engine.view import View
from agent.testing import Call
from tests.engine.given import add, agent_of

SESSION = agent_of(*[str(number) for number in range(12)]).session("s", system="Old")
for _ in range(12):
    SESSION.run("?")


# When it began


@given(st.integers(1, SESSION.version))
def test_the_first_version_from_which_it_holds(version: int):
    """It is what one would find by looking at every version."""
    assert SESSION.bisect(lambda view: view.version >= version) == version


def test_it_is_found_in_few_steps():
    """One for each halving, and one for now."""
    seen: list[int] = []

    def many(view: View) -> bool:
        seen.append(view.version)
        return len(view.messages) >= 7

    assert SESSION.bisect(many) == 17
    assert (SESSION.version, len(seen)) == (49, 7)


def test_it_does_not_hold_now():
    """Then there is no version from which on it does."""
    assert SESSION.bisect(lambda view: view.version < 9) is None
    assert agent_of().session().bisect(lambda _: True) is None


@given(st.integers(0, 24), st.sampled_from(["messages", "usage", "system"]))
def test_what_grows_is_found_as_by_looking_everywhere(many: int, what: str):
    """For whatever stays true: so many messages, so many tokens, a system prompt."""

    def holds(view: View) -> bool:
        measures = {
            "messages": len(view.messages),
            "usage": view.usage.total.output_tokens,
            "system": 24 * (view.system == "Old"),
        }
        return measures[what] >= many

    seen = [version for version in range(1, SESSION.version + 1) if holds(SESSION.at(version))]
    assert SESSION.bisect(holds) == (seen[0] if seen else None)


def test_what_comes_and_goes():
    """A version is found at which it is true, and was not at the one before."""

    def holds(view: View) -> bool:
        return view.version % 7 in (0, 1)

    found = SESSION.bisect(lambda view: holds(view) or view.version == SESSION.version)
    assert found is not None
    assert (holds(SESSION.at(found)), holds(SESSION.at(found - 1))) == (True, False)


def test_a_predicate_that_fails():
    """Its error is the caller's."""
    with pytest.raises(ZeroDivisionError):
        SESSION.bisect(lambda view: bool(view.version / 0))


# What a view shows of its time


def test_tools_of_a_version():
    """They are those that were declared last."""
    session = agent_of("a", tools=[add]).session("s")
    session.run("Hi")
    assert [tool.name for tool in session.at(2).tools] == ["add"]
    assert session.at(1).tools == ()


def test_the_open_turn_of_a_version():
    """It tells what had been said, and which calls waited for what; None between turns."""
    session = agent_of(Call("add", {"a": 1, "b": 2}), "3", tools=[add]).session("s")
    session.run("1 + 2?")
    turn = session.at(6).turn
    assert turn is not None
    assert (turn.started, [message.text for message in turn.messages]) == (3, ["1 + 2?", ""])
    assert [(call.part.name, call.state) for call in turn.calls] == [("add", "unknown")]
    assert session.at(session.version).turn is None
