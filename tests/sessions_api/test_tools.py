import asyncio
import json

import pytest

from agent import Agent
from agent.errors import AgentError
from tests.fakes import ChatServer, Error, Text, ToolCalls
from tests.fakes.chat_model import text_of
from tests.sessions_api.given import divide, get_user_orders, sent, shown


@pytest.mark.parametrize("way", ["run", "run_async", "stream"])
def test_the_document_s_example(tool_agent: Agent, openai_env: ChatServer, way: str) -> None:
    """The tool is called with the user's id, and its result is remembered."""
    session = tool_agent.session(system="You are a customer service assistant.")
    question = "I'm user-123, what are my recent orders?"
    if way == "run":
        session.run(question)
    elif way == "run_async":
        asyncio.run(session.run_async(question))
    else:
        list(session.stream(question))
    roles = [role for role, _ in shown(session)]
    assert roles == ["user", "assistant", "tool", "assistant"]
    call = session.messages[1].tool_calls[0]
    assert (call.name, json.loads(call.arguments)) == ("get_user_orders", {"user_id": "user-123"})
    assert "Laptop" in session.messages[2].text
    response = session.run("When will order 1 arrive?")
    assert "Laptop" in response.text
    assert [len(request.messages) for request in openai_env.requests] == [2, 4, 6]


def test_a_tool_stays_a_function() -> None:
    """Decorated functions are called as before."""
    assert "Laptop" in get_user_orders("user-123")
    assert asyncio.run(divide(6, 3)) == "2"


def test_parallel_calls_are_answered_in_order(tool_agent: Agent, openai_env: ChatServer) -> None:
    """Missing and repeated ids of the provider do not confuse the pairs."""
    calls = [("divide", f'{{"dividend": {n}, "divisor": 1}}', "same") for n in (1, 2, 3)]
    openai_env.script([ToolCalls(calls)])
    session = tool_agent.session()
    session.run("Go")
    asked, *answers = openai_env.requests[-1].messages[1:]
    ids = [call["id"] for call in asked["tool_calls"]]
    assert [answer["tool_call_id"] for answer in answers] == ids
    assert [text_of(answer) for answer in answers] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ('{"dividend": 1, "divisor": 0}', "ZeroDivisionError: "),
        ('{"dividend": 1}', "divisor"),
        ('{"dividend": ', ""),
        ("", ""),
    ],
    ids=["raises", "lacks one", "cut", "empty"],
)
def test_a_failing_call_is_told_to_the_model(
    tool_agent: Agent, openai_env: ChatServer, arguments: str, expected: str
) -> None:
    """The model sees the error and can go on."""
    openai_env.script([ToolCalls([("divide", arguments, None)]), Text("Sorry.")])
    assert tool_agent.session().run("Go").text == "Sorry."
    assert expected in sent(openai_env)[-1][1]
    assert sent(openai_env)[-1][0] == "tool"


def test_an_unknown_tool_is_told_to_the_model(tool_agent: Agent, openai_env: ChatServer) -> None:
    """A name that the model made up is an error result."""
    openai_env.script([ToolCalls([("multiply", "{}", None)]), Text("Sorry.")])
    assert tool_agent.session().run("Go").text == "Sorry."
    assert "multiply" in sent(openai_env)[-1][1]


def test_a_turn_that_fails_after_a_tool(tool_agent: Agent, openai_env: ChatServer) -> None:
    """The history is as before, and the error names the calls that had run."""
    calls = ToolCalls([("get_user_orders", '{"user_id": "user-1"}', None)])
    openai_env.script([calls, Error(400)])
    session = tool_agent.session()
    with pytest.raises(AgentError) as caught:
        session.run("Go")
    assert len(caught.value.completed_calls) == 1
    assert session.messages == []
    assert session.run("Hello").text == "I see 1 messages. You said: Hello"
