"""Which calls a person has to decide about, and who says so."""

from typing import Any

import pytest

from agent import Tool
from agent.engine.approvals import ProposedCall
from agent.engine.errors import (
    ConfigurationError,
    InvalidTool,
)
from agent.engine.scripted import Call
from tests.engine.given import agent_of, kinds, shown


def policy_of(answer: Any, seen: list[ProposedCall]) -> Any:
    """A policy that notes what it is asked."""

    def policy(call: ProposedCall) -> Any:
        seen.append(call)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return policy


def pay(amount: float, currency: str = "EUR") -> str:
    """Pay an amount."""
    return f"paid {amount} {currency}"


@pytest.mark.parametrize("whose", ["tool", "agent"])
@pytest.mark.parametrize(
    ("answer", "waits"),
    [(True, True), (False, False), (None, True), (0, True), (ValueError("no"), True)],
)
def test_policies(whose: str, answer: Any, waits: bool, caplog: pytest.LogCaptureFixture):
    """A policy sees the call, validated; one that raises or gives no bool leaves it to a person."""
    seen: list[ProposedCall] = []
    policy = policy_of(answer, seen)
    tool = Tool(pay, requires_approval=policy) if whose == "tool" else Tool(pay)
    options = {"requires_approval": policy} if whose == "agent" else {}
    arguments = {"amount": 7}
    agent = agent_of(Call("pay", arguments), "Done.", tools=[tool], **options)
    session = agent.session("s")
    response = session.run("Do it")

    assert (response.pending_approvals != ()) == waits
    (call,) = seen
    assert (call.session_id, call.call_id, call.tool) == ("s", "call_5_0", "pay")
    assert (call.arguments, dict(call.values)) == ('{"amount":7}', {"amount": 7, "currency": "EUR"})
    with pytest.raises(TypeError):
        call.values["amount"] = 1  # pyright: ignore[reportIndexIssue]
    warned = [line for line in caplog.records if line.getMessage() == "approval.policy_failed"]
    assert len(warned) == (not isinstance(answer, bool))
    if waits:
        session.approve(response.pending_approvals[0].call_id)
        session.resume()
    assert shown(session)[2] == "paid 7.0 EUR"
    assert len(seen) == 1


async def later(call: ProposedCall) -> bool:
    """Decide some other time."""
    return call.tool == ""


class Later:
    """Decides some other time, too."""

    async def __call__(self, call: ProposedCall) -> bool:
        """Decide."""
        return call.tool == ""


@pytest.mark.parametrize("policy", ["yes", 1, later, Later()])
def test_what_is_no_policy(policy: Any):
    """A policy is True, False or a plain function."""
    with pytest.raises(InvalidTool, match="tool pay: requires_approval takes"):
        Tool(pay, requires_approval=policy)
    with pytest.raises(ConfigurationError, match="requires_approval= takes"):
        agent_of(requires_approval=policy)


def test_a_tool_of_a_tool_asks_as_well():
    """Renaming a tool does not free it, unless told to."""
    asking = Tool(pay, requires_approval=True)
    assert Tool(asking, name="b").requires_approval is True
    assert Tool(asking, requires_approval=False).requires_approval is False


@pytest.mark.parametrize(("own", "everywhere"), [(True, False), (False, True), (True, True)])
def test_tool_and_agent(own: bool, everywhere: bool):
    """A person is asked if the tool or the agent says so, and once."""
    tools = [Tool(pay, requires_approval=own)]
    agent = agent_of(Call("pay", {"amount": 1}), tools=tools, requires_approval=everywhere)
    session = agent.session("s")
    session.run("Do it")
    assert kinds(session).count("approval.requested") == 1


@pytest.mark.parametrize("arguments", ['{"amount": "x"}', "{", '{"amount": 1, "amount": 2}'])
def test_arguments_that_do_not_fit(arguments: str):
    """No person is bothered with a call that cannot run: the model is told at once."""
    seen: list[ProposedCall] = []
    tool = Tool(pay, requires_approval=policy_of(True, seen))
    script = [[Call("pay", arguments), Call("pay", {"amount": 1})], "Done."]
    session = agent_of(*script, tools=[tool]).session("s")
    response = session.run("Do it")
    assert [one.call_id for one in response.pending_approvals] == ["call_5_1"]
    assert len(seen) == 1
    assert kinds(session)[5:] == ["tool.returned", "approval.requested"]
    session.approve("call_5_1")
    session.resume()
    first, second = session.messages[2].tool_results
    assert (first.is_error, second.is_error) == (True, False)
    plain = agent_of(*script, tools=[pay]).session("s")
    plain.run("Do it")
    assert plain.messages[2].tool_results[0] == first
