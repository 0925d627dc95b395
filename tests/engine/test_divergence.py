"""One thing is changed at a time: where a replay says so, what it says is different, and why."""

from typing import Any

import msgspec
import pytest

from agent import Agent, Message, Session, Tool
from agent.engine.scripted import ScriptedModel
from agent.eventstore.messages import ToolCallPart
from agent.replay import Change
from tests.engine.diverging import (
    ASKED,
    SYSTEM,
    UNSET,
    diverged,
    lived,
    look,
    same,
    search,
    session,
    today,
    told,
    types,
)
from tests.engine.given import agent_of
from tests.fakes import ChatServer

__all__ = ["session"]


# Words


def test_where_everything_lies(session: Session) -> None:
    """What the tests below take for granted."""
    assert [fact.type for fact in session.events()] == [
        *("session.started", "tools.declared", "turn.started", "model.requested"),
        *("model.responded", "tool.called", "tool.returned", "model.requested"),
        *("model.responded", "turn.completed", "message.added", "turn.started"),
        *("model.requested", "model.responded", "turn.completed"),
    ]


@pytest.mark.parametrize("configured", [False, True])
@pytest.mark.parametrize(
    ("edit", "version", "change"),
    [
        ({3: "Find that"}, 4, Change("/messages/0/parts/0/text", "Find it", "Find that")),
        ({7: "lost it"}, 8, Change("/messages/2/parts/0/content/0/text", "found it", "lost it")),
        ({9: "There"}, 13, Change("/messages/3/parts/0/text", "Here", "There")),
        ({11: "By machine"}, 13, Change("/messages/4/parts/0/text", "By hand", "By machine")),
        ({12: "Thank you"}, 13, Change("/messages/5/parts/0/text", "Thanks", "Thank you")),
    ],
)
def test_one_word(
    session: Session, configured: bool, edit: dict[int, str], version: int, change: Change
) -> None:
    """Of a prompt, a result, an answer or a message by hand: the next request says it."""
    found = diverged(session, today() if configured else None, edit=edit)
    assert told(found) == (version, "request", ("history",), (change,))


def test_the_last_word(session: Session) -> None:
    """Of an answer to which nothing was said any more nothing can come."""
    assert same(session, edit={14: "Farewell"})


@pytest.mark.parametrize("configured", [False, True])
@pytest.mark.parametrize(("given", "after"), [("You are short.", "You are short."), (None, None)])
def test_the_system_prompt(
    session: Session, configured: bool, given: str | None, after: str | None
) -> None:
    """Of the whole session, for its first request."""
    found = diverged(session, today() if configured else None, system=given)
    change = Change("/prompt/system", SYSTEM, after)
    assert told(found) == (4, "request", ("system prompt",), (change,))


def test_both_are_named(session: Session) -> None:
    """A request may be another one by several causes, the likeliest first."""
    found = diverged(session, system="Other", edit={3: "Find that"})
    assert (found.causes, found.cause) == (("system prompt", "history"), "system prompt")
    assert str(found).startswith("version 4: another request (causes: system prompt, history)\n")
    assert [change.pointer for change in found.changes] == [
        "/messages/0/parts/0/text",
        "/prompt/system",
    ]


@pytest.mark.parametrize("configured", [False, True])
def test_an_answer_that_calls_nothing(session: Session, configured: bool) -> None:
    """The turn would be over."""
    found = diverged(session, today() if configured else None, edit={5: "I know it"})
    assert told(found) == (6, "missing", ("history",), ())
    assert types(found) == ("tool.called", "turn.completed")


def test_an_answer_that_calls_once_more(session: Session) -> None:
    """The second call has no result in the record."""
    calls = [ToolCallPart(name, "search", '{"query":"it"}') for name in ("call_5_0", "second")]
    found = diverged(session, today(), edit={5: Message.assistant(*calls)})
    assert told(found) == (7, "extra", ("history",), ())
    assert types(found) == ("tool.returned", "tool.called")


def test_an_answer_that_calls_another_tool(session: Session) -> None:
    """The record has no result of that one."""
    call = ToolCallPart("call_5_0", "look", "{}")
    session = lived(ASKED, "Here", tools=[search, look])
    for agent in (None, today(tools=[search, look])):
        found = diverged(session, agent, edit={5: Message.assistant(call)})
        change = Change("/tool", "search", "look")
        assert told(found) == (6, "tool", ("history",), (change,))


def test_an_answer_that_calls_with_other_arguments(session: Session) -> None:
    """The next request tells the model what it is said to have asked."""
    call = ToolCallPart("call_5_0", "search", '{"query":"that"}')
    found = diverged(session, today(), edit={5: Message.assistant(call)})
    pointer = "/messages/1/parts/0/arguments"
    change = Change(pointer, '{"query":"it"}', '{"query":"that"}')
    assert told(found) == (8, "request", ("history",), (change,))


# Tools


def described(query: str) -> str:
    """Search the whole web."""
    return query


def limited(query: str, limit: int = 3) -> str:
    """Search the web."""
    return query * limit


SEARCH: dict[str, Any] = Tool(search).definition and msgspec.json.decode(
    msgspec.json.encode(Tool(search).definition)
)
LOOK: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(Tool(look).definition))


@pytest.mark.parametrize(
    ("tools", "changes"),
    [
        (
            [Tool(described, name="search")],
            [Change("/tools/0/description", "Search the web.", "Search the whole web.")],
        ),
        (
            [Tool(limited, name="search")],
            [
                Change(
                    "/tools/0/parameters/properties/limit", UNSET, {"default": 3, "type": "integer"}
                )
            ],
        ),
        ([Tool(search, name="find")], [Change("/tools/0/name", "search", "find")]),
        ([search, look], [Change("/tools/1", UNSET, LOOK)]),
        ([look, search], [Change("/tools/0", UNSET, LOOK)]),
    ],
    ids=["description", "parameters", "name", "added", "added before"],
)
def test_the_tools(session: Session, tools: list[Any], changes: list[Change]) -> None:
    """Whatever the model is told of them, where they are declared."""
    found = diverged(session, today(tools=tools))
    assert told(found) == (2, "schema", ("tool definition",), tuple(changes))
    assert types(found) == ("tools.declared", "tools.declared")


def test_a_removed_tool(session: Session) -> None:
    """The only one: nothing would be declared."""
    found = diverged(session, today(tools=[]))
    assert told(found) == (2, "schema", ("tool definition",), (Change("/tools/0", SEARCH, UNSET),))
    assert types(found) == ("tools.declared", "turn.started")


def test_a_tool_where_there_was_none() -> None:
    """The first: there would be something to declare."""
    found = diverged(lived("Hi", tools=[]), today())
    assert told(found) == (2, "schema", ("tool definition",), (Change("/tools/0", UNSET, SEARCH),))
    assert types(found) == ("turn.started", "tools.declared")


def test_one_tool_of_two() -> None:
    """Only that one is named."""
    both = lived("Hi", tools=[search, look])
    found = diverged(both, today(tools=[look]))
    assert told(found) == (2, "schema", ("tool definition",), (Change("/tools/0", SEARCH, UNSET),))


def test_the_order_of_tools() -> None:
    """To the model it is another list, and to its cache."""
    both = lived("Hi", tools=[search, look])
    found = diverged(both, today(tools=[look, search]))
    assert (found.version, found.kind, found.causes) == (2, "schema", ("tool definition",))
    assert found.changes[0] == Change("/tools/0/name", "search", "look")


def test_what_no_model_is_told() -> None:
    """How a tool is run, and what it does, is no difference."""

    def other(query: str) -> str:
        """Search the web."""
        raise AssertionError(query)

    session = lived(ASKED, "Here")
    assert same(session, today(tools=[Tool(other, name="search", idempotent=True)]))


# Settings, models, providers


@pytest.mark.parametrize(
    ("options", "pointer", "after"),
    [
        ({"temperature": 0.3}, "/settings/temperature", 0.3),
        ({"max_tokens": 5}, "/settings/max_tokens", 5),
        ({"stop": ["x"]}, "/settings/stop", ["x"]),
        ({"seed": 7}, "/settings/seed", 7),
        ({"reasoning_effort": "low"}, "/settings/reasoning_effort", "low"),
        ({"tool_choice": "required"}, "/settings/tool_choice", "required"),
        ({"extra": {"a": 1}}, "/settings/extra", {"a": 1}),
    ],
)
def test_a_setting_of_the_agent(
    session: Session, options: dict[str, Any], pointer: str, after: Any
) -> None:
    """It is told where the turn begins, and so is one that the agent no longer has."""
    found = diverged(session, today(**options))
    assert told(found) == (3, "settings", ("settings",), (Change(pointer, UNSET, after),))
    found = diverged(lived("Hi", **options), today())
    assert told(found) == (3, "settings", ("settings",), (Change(pointer, after, UNSET),))


def test_another_value_of_a_setting() -> None:
    """Both values are named."""
    found = diverged(lived("Hi", temperature=0.5), today(temperature=0.7))
    assert told(found)[3] == (Change("/settings/temperature", 0.5, 0.7),)


def test_a_setting_of_a_turn_alone() -> None:
    """It stays, whatever the agent has today; the turns that had the agent's do not."""
    agent = today("One", "Two", temperature=0.5)
    session = agent.session("s")
    session.run("1", temperature=0.1)
    session.run("2", max_tokens=9)
    found = diverged(session, today(temperature=0.7))
    change = Change("/settings/temperature", 0.5, 0.7)
    assert told(found) == (7, "settings", ("settings",), (change,))
    found = diverged(session, today(temperature=0.5, seed=1, max_tokens=10))
    assert told(found)[:3] == (3, "settings", ("settings",))
    assert found.changes == (
        Change("/settings/max_tokens", UNSET, 10),
        Change("/settings/seed", UNSET, 1),
    )
    assert same(session, today(temperature=0.5))


def test_a_setting_after_another_answer() -> None:
    """What the turn before said has nothing to do with it."""
    agent = today("One", "Two", temperature=0.5)
    session = agent.session("s")
    session.run("1", temperature=0.1)
    session.run("2")
    found = diverged(session, today(temperature=0.7), edit={5: "Uno"})
    change = Change("/settings/temperature", 0.5, 0.7)
    assert told(found) == (7, "settings", ("settings",), (change,))


def test_a_model(session: Session) -> None:
    """Another model is another request, and nothing else of it is."""
    found = diverged(session, Agent(ScriptedModel([]), "m2", tools=[search]))
    change = Change("/prompt/model", "m", "m2")
    assert told(found) == (4, "request", ("model",), (change,))
    assert found.encoders == ("scripted/1", "scripted/1")


def test_a_model_of_a_turn_alone() -> None:
    """It stays, also where that is the agent's today."""
    agent = today("One", "Two")
    session = agent.session("s")
    session.run("1", model="other")
    session.run("2")
    for model in ("m2", "other"):
        found = diverged(session, Agent(ScriptedModel([]), model, tools=[search]))
        change = Change("/prompt/model", "m", model)
        assert told(found) == (8, "request", ("model",), (change,))


def test_a_provider() -> None:
    """Its requests are others altogether; both sets of rules are named."""
    session = lived("Hi", tools=[])
    found = diverged(session, Agent("openai", "m", api_key="sk"))
    assert (found.version, found.kind, found.causes) == (3, "request", ("provider",))
    assert found.encoders == ("scripted/1", "chat_completions/1")
    assert Change("/model", UNSET, "m") in found.changes


def test_a_provider_that_is_not_here() -> None:
    """Its requests cannot be rebuilt, but they are not those of today."""

    class Mine(ScriptedModel):
        name = "mine"

    session = Agent(Mine(["Hi"]), "m").session("s")
    session.run("1")
    moved = Session.from_dict(session.to_dict(), agent_of())
    found = diverged(moved, agent_of())
    assert told(found) == (3, "request", ("provider",), ())
    assert same(moved, Agent(Mine([]), "m"))


def test_another_server_of_the_same_protocol() -> None:
    """Its dialect has a name of its own; where the bytes are the same it is no difference."""
    with ChatServer() as server:
        agent = Agent("openai", "m", base_url=server.base_url, api_key="sk")
        session = agent.session("s")
        session.run("1")
        session.run("2", max_tokens=9)
    found = diverged(session, Agent("openai", "m", api_key="sk"))
    changes = (Change("/max_tokens", 9, UNSET), Change("/max_completion_tokens", UNSET, 9))
    assert told(found) == (7, "encoding", ("library",), changes)
    assert found.encoders == ("chat_completions/1+max_tokens", "chat_completions/1")
