"""One thing is changed at a time: where a replay says so, what it says is different, and why."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated, Any

import msgspec
import pytest
from pydantic import AfterValidator, BaseModel, field_validator

from agent import Agent, CompactionPolicy, Message, Session, Tool
from agent.engine.provider import Frame, MessageContext, Prompt
from agent.engine.replay import replay
from agent.engine.scripted import Call, Reply, Scripted, ScriptedModel
from agent.errors import AgentError, ConfigurationError
from agent.eventstore.events import Event, ModelResponded, TurnFailed, TurnStarted
from agent.eventstore.messages import ToolCallPart
from agent.eventstore.record import Recorded, prepare, record
from agent.eventstore.values import Usage
from agent.replay import Change, Divergence
from tests.engine.crashes import BAD, GOOD, Tea, cut
from tests.engine.given import add, agent_of
from tests.engine.lives import DOWN
from tests.fakes import ChatServer

UNSET = msgspec.UNSET

SYSTEM = "You are brief."


def search(query: str) -> str:
    """Search the web."""
    return f"found {query}"


def look(place: str) -> str:
    """Look."""
    return place


ASKED = Call("search", {"query": "it"})


def today(*script: Scripted, **options: Any) -> Agent:
    """An agent with a tool."""
    return agent_of(*script, **{"tools": [search], **options})


def lived(*script: Scripted, prompts: str = "1", **options: Any) -> Session:
    """A session with a turn for each prompt, whatever became of it."""
    session = today(*script, **options).session("s", system=SYSTEM)
    for prompt in prompts:
        with suppress(AgentError):
            session.run(prompt)
    return session


@pytest.fixture
def session() -> Session:
    """A turn with a tool, a message by hand, and a turn without; the tests below say where."""
    session = today(ASKED, "Here", "Bye").session("s", system=SYSTEM)
    session.run("Find it")
    session.add_message(Message.user("By hand"))
    session.run("Thanks")
    return session


def diverged(session: Session, agent: Agent | None = None, **options: Any) -> Divergence:
    """Where a replay parts from the record; everything before that is the same."""
    found = session.replay(agent, **options)
    assert not found
    assert found.divergence is not None
    assert found.events == found.divergence.version - 1
    return found.divergence


def told(found: Divergence) -> tuple[Any, ...]:
    """What is said of it besides the two events."""
    return (found.version, found.kind, found.causes, found.changes)


def types(found: Divergence) -> tuple[str | None, str | None]:
    """The types of the two events."""
    return (found.recorded and found.recorded.type, found.today and found.today.type)


def same(session: Session, agent: Agent | None = None, **options: Any) -> bool:
    """Whether nothing is different."""
    found = session.replay(agent, **options)
    assert found.divergence is None, found
    return bool(found)


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


# Limits


def test_fewer_steps() -> None:
    """The turn would have failed before its second."""
    found = diverged(lived(ASKED, "Here"), today(max_steps=1))
    assert told(found) == (8, "missing", ("limits",), ())
    assert isinstance(found.today, TurnFailed)
    assert found.today.error.code == "max_steps"


def test_more_steps() -> None:
    """The turn would have gone on."""
    found = diverged(lived(ASKED, "Here", max_steps=1), today())
    assert told(found) == (8, "extra", ("limits",), ())
    assert types(found) == ("turn.failed", "model.requested")


SPENT = Reply(calls=(ASKED,), usage=Usage(5, 5))


def test_fewer_tokens() -> None:
    """Those of the first step would have been too many."""
    found = diverged(lived(SPENT, "Here"), today(max_tokens_per_turn=9))
    assert told(found) == (8, "missing", ("limits",), ())
    assert isinstance(found.today, TurnFailed)
    assert found.today.error.code == "max_tokens_per_turn"


def test_more_tokens() -> None:
    """Those of the first step were too many."""
    found = diverged(lived(SPENT, "Here", max_tokens_per_turn=9), today(max_tokens_per_turn=10))
    assert told(found) == (8, "extra", ("limits",), ())
    assert types(found) == ("turn.failed", "model.requested")


def test_fewer_retries() -> None:
    """The turn would have failed by what it was tried again for."""
    found = diverged(lived(DOWN, DOWN, "Here"), today(max_retries=1))
    assert told(found) == (8, "missing", ("limits",), ())
    assert types(found) == ("model.requested", "turn.failed")


def shaped(*script: Scripted, **options: Any) -> Session:
    """A session that was asked for a tea."""
    session = agent_of(*script, **options).session("s")
    with suppress(AgentError):
        session.json("A tea", schema=Tea)
    return session


@pytest.mark.parametrize("schemas", [[], [Tea]])
def test_fewer_output_retries(schemas: list[Any]) -> None:
    """The answer that did not fit would have been the last."""
    found = diverged(shaped(BAD, GOOD), agent_of(max_output_retries=0), schemas=schemas)
    assert told(found) == (5, "missing", ("limits",), ())
    assert types(found) == ("output.rejected", "turn.failed")


def test_more_output_retries() -> None:
    """Whether it would fit is known only of a shape of today."""
    session = shaped(BAD, max_output_retries=0)
    found = diverged(session, agent_of(), schemas=[Tea])
    assert told(found) == (5, "extra", ("limits",), ())
    assert types(found) == ("turn.failed", "output.rejected")
    assert same(session, agent_of())


# Policies


def test_a_stricter_approval_policy() -> None:
    """A person would have been asked."""
    found = diverged(lived(ASKED, "Here"), today(requires_approval=True))
    assert told(found) == (6, "extra", ("approval policy",), ())
    assert types(found) == ("tool.called", "approval.requested")


def test_a_stricter_policy_for_one_of_two() -> None:
    """The other had to be approved already."""
    tools = [search, Tool(look, requires_approval=True)]
    session = lived([ASKED, Call("look", {"place": "x"})], tools=tools)
    assert session.pending_approvals
    found = diverged(session, today(tools=tools, requires_approval=True))
    assert told(found) == (6, "extra", ("approval policy",), ())
    assert types(found) == ("tool.called", "approval.requested")


def test_stricter_arguments() -> None:
    """A tool that a person decides about has its arguments validated before."""

    def refuse(query: str) -> str:
        raise ValueError(query)

    def strict(query: Annotated[str, AfterValidator(refuse)]) -> str:
        """Search the web."""
        return query

    session = lived(ASKED, requires_approval=True)
    found = diverged(session, today(tools=[Tool(strict, name="search")], requires_approval=True))
    assert told(found) == (6, "missing", ("tool definition",), ())
    assert types(found) == ("approval.requested", "tool.returned")


@pytest.mark.parametrize("decided", [False, True])
def test_a_laxer_approval_policy(decided: bool) -> None:
    """Nobody would have been asked, whatever was decided since."""
    session = lived(ASKED, "Here", requires_approval=True)
    if decided:
        session.approve("call_5_0")
        session.resume()
    assert same(session, today(requires_approval=True))
    found = diverged(session, today())
    assert told(found) == (6, "missing", ("approval policy",), ())
    assert types(found) == ("approval.requested", "tool.called")


def test_a_policy_for_some_arguments() -> None:
    """It is asked about each call as it was."""
    session = lived(ASKED, "Here")
    assert same(session, today(requires_approval=lambda call: call.values["query"] == "x"))
    asks = today(requires_approval=lambda call: call.values["query"] == "it")
    assert told(diverged(session, asks))[:3] == (6, "extra", ("approval policy",))


def test_a_window() -> None:
    """A turn says which part of the history its requests hold."""
    wide, narrow = (lived(*"abc", prompts="123", window=w, tools=[]) for w in (None, 2))
    at, kind, causes = 10, "settings", ("window",)
    excerpt = Change("/excerpt", UNSET, {"start": 2})
    assert told(diverged(wide, agent_of(window=2))) == (at, kind, causes, (excerpt,))
    excerpt = Change("/excerpt", {"start": 2}, UNSET)
    assert told(diverged(narrow, agent_of())) == (at, kind, causes, (excerpt,))


def test_a_compaction_policy() -> None:
    """The history would have been compacted before the turn for which it was long enough."""
    session = lived(*"abcd", prompts="1234", tools=[])
    found = diverged(session, agent_of(compact_at=CompactionPolicy(messages=6, keep_last=2)))
    assert told(found) == (14, "extra", ("compaction policy",), ())
    assert types(found) == ("turn.started", "turn.started")
    assert isinstance(found.today, TurnStarted)
    assert found.today.kind == "compaction"
    assert same(session, agent_of(compact_at=CompactionPolicy(messages=9, keep_last=2)))


# Structured output


class Year(BaseModel):
    """A tea."""

    name: str
    year: int = 0


class Fussy(Tea):
    """A tea."""

    @field_validator("name")
    @classmethod
    def refuse(cls, name: str) -> str:
        """Refuse."""
        raise ValueError(name)


class Rude(Tea):
    """A tea."""

    @field_validator("name", mode="before")
    @classmethod
    def refuse(cls, name: Any) -> Any:
        """Refuse."""
        if isinstance(name, str):
            return name
        raise ValueError("no")


for shape in (Year, Fussy, Rude):
    shape.__name__ = "Tea"


def test_a_schema() -> None:
    """It is told where the turn begins."""
    found = diverged(shaped(GOOD), agent_of(), schemas=[Year])
    added = {"default": 0, "title": "Year", "type": "integer"}
    change = Change("/output/schema/properties/year", UNSET, added)
    assert told(found) == (2, "schema", ("output schema",), (change,))


def test_a_validator() -> None:
    """What has fitted would be rejected."""
    found = diverged(shaped(GOOD), agent_of(), schemas=[Fussy])
    assert told(found) == (5, "extra", ("output schema",), ())
    assert types(found) == ("turn.completed", "output.rejected")


def test_other_words_of_a_validator() -> None:
    """The model would be told something else."""
    found = diverged(shaped('{"name":3}', GOOD), agent_of(), schemas=[Rude])
    assert (found.version, found.kind, found.causes) == (5, "schema", ("output schema",))
    assert found.changes[0] == Change(
        "/errors/0", "name: Input should be a valid string", "name: Value error, no"
    )


def test_a_schema_that_is_not_given() -> None:
    """Its turns are taken as they were, with their verdicts."""
    session = shaped(BAD, GOOD)
    assert same(session, agent_of())
    assert same(session, agent_of(), schemas=[int])


# What has become of the log, and of the rules


def altered(session: Session, version: int, event: Event) -> list[Recorded]:
    """The events with another one among them, chained anew as a forger would."""
    facts = list(session.events())
    fact = facts[version - 1]
    forged = prepare(event, recorded_at=fact.recorded_at, salt=fact.salt or b"")
    rest = record([forged, *facts[version:]], stream="s", after=facts[version - 2].head)
    return [*facts[: version - 1], *rest]


@pytest.mark.parametrize("configured", [False, True])
@pytest.mark.parametrize(("version", "at"), [(3, 4), (9, 13)])
def test_an_altered_log(session: Session, version: int, at: int, configured: bool) -> None:
    """The requests that were made of it are no longer those whose digests it holds."""
    event = list(session.events())[version - 1].event
    if isinstance(event, TurnStarted):
        forged: Event = msgspec.structs.replace(event, input=Message.user("Forged"))
    else:
        assert isinstance(event, ModelResponded)
        forged = msgspec.structs.replace(event, message=Message.assistant("Forged"))
    configuration = today().configuration() if configured else None
    read, provider = session._handle.log.get_blob, session._handle.provider
    facts = altered(session, version, forged)
    found = replay(facts, read, today=configuration, provider=provider).divergence
    assert found is not None
    assert told(found) == (at, "request", ("log",), ())


class Newer(ScriptedModel):
    """The same protocol by other rules."""

    encoder = "scripted/2"

    def encode_frame(self, prompt: Prompt) -> Frame:
        """Say more."""
        frame = super().encode_frame(prompt)
        return msgspec.structs.replace(frame, end=frame.end[:-1] + b',"more":true}')


def test_other_rules(session: Session) -> None:
    """The request says the same in other bytes; both rules are named."""
    found = diverged(session, Agent(Newer([]), "m", tools=[search]))
    change = Change("/more", UNSET, True)
    assert told(found) == (4, "encoding", ("library",), (change,))
    assert found.encoders == ("scripted/1", "scripted/2")


def test_other_rules_of_the_same_name(session: Session) -> None:
    """Somebody forgot to rename them; the log is proven by those of the session's own."""

    class Same(Newer):
        encoder = "scripted/1"

    found = diverged(session, Agent(Same([]), "m", tools=[search]))
    assert told(found) == (4, "encoding", ("library",), (Change("/more", UNSET, True),))


def test_rules_of_another_name(session: Session) -> None:
    """The name does not count where the bytes are the same."""

    class Renamed(ScriptedModel):
        encoder = "scripted/2"

    assert same(session, Agent(Renamed([]), "m", tools=[search]))


def test_a_protocol_that_is_no_json(session: Session) -> None:
    """Its requests are told apart, without places."""

    class Odd(Newer):
        def encode_frame(self, prompt: Prompt) -> Frame:
            """Speak something else."""
            return Frame(b"\xff", (), b"")

    found = diverged(session, Agent(Odd([]), "m", tools=[search]))
    assert told(found) == (4, "encoding", ("library",), ())


def test_what_today_refuses(session: Session) -> None:
    """An error instead of the first request is told as it is."""

    class Refusing(ScriptedModel):
        def encode_frame(self, prompt: Prompt) -> Frame:
            raise ValueError("not this")

    found = diverged(session, Agent(Refusing([]), "m", tools=[search]))
    assert told(found) == (4, "missing", (), ())
    assert (found.error, types(found)) == ("ValueError: not this", ("model.requested", None))


def test_what_today_refuses_after_the_end(session: Session) -> None:
    """Where the record ends before, nothing is different."""

    class Refusing(ScriptedModel):
        def encode_frame(self, prompt: Prompt) -> Frame:
            raise ValueError("not this")

    configuration = Agent(Refusing([]), "m", tools=[search]).configuration()
    facts, read = list(session.events())[:3], session._handle.log.get_blob
    assert replay(facts, read, today=configuration).divergence is None
    assert replay(list(session.fork(at=3).events()), read, today=configuration).divergence is None


def test_what_today_refuses_of_the_rest_of_a_turn() -> None:
    """The record of one that was taken up may end before what today would append."""

    class Refusing(ScriptedModel):
        def encode_message(self, message: Message, context: MessageContext) -> Sequence[bytes]:
            if message.text.startswith("The answer does not match"):
                raise ValueError("not this")
            return super().encode_message(message, context)

    session = agent_of(GOOD, store=cut(list(shaped(BAD, GOOD).events()), 4)).session("s")
    session.resume(schema=Tea)
    facts, read = list(session.events()), session._handle.log.get_blob
    assert [fact.type for fact in facts[3:7]] == [
        *("model.responded", "turn.resumed", "output.rejected", "model.requested")
    ]
    configuration = Agent(Refusing([]), "m").configuration([Tea])
    for version in range(7):
        assert replay(facts[:version], read, today=configuration).divergence is None
    found = replay(facts, read, today=configuration).divergence
    assert found is not None
    assert (found.version, found.error) == (7, "ValueError: not this")


@pytest.mark.parametrize("error", [ConfigurationError("not this"), ValueError("not this")])
def test_a_summary_that_cannot_be_asked_for(error: Exception) -> None:
    """Our errors do not keep a turn from being taken; others do."""

    class Refusing(ScriptedModel):
        def encode_frame(self, prompt: Prompt) -> Frame:
            if prompt.settings.tool_choice == "none":
                raise error
            return super().encode_frame(prompt)

    session = lived(*"abcd", prompts="1234", tools=[])
    policy = CompactionPolicy(messages=6, keep_last=2)
    agent = Agent(Refusing([]), "m", compact_at=policy)
    if isinstance(error, ConfigurationError):
        assert same(session, agent)
    else:
        found = diverged(session, agent)
        assert told(found) == (14, "missing", (), ())
        assert found.error == "ValueError: not this"


def test_what_another_provider_refuses() -> None:
    """A setting that it does not have, for one."""
    session = lived("Hi", tools=[], seed=7)
    found = diverged(session, Agent("anthropic", "m", api_key="sk", seed=7))
    assert told(found) == (3, "missing", ("provider",), ())
    assert found.error is not None
    assert found.error.startswith("ConfigurationError: ")


def test_what_today_refuses_in_the_middle() -> None:
    """The turn would have failed."""

    class Refusing(ScriptedModel):
        def encode_frame(self, prompt: Prompt) -> Frame:
            if prompt.settings.tool_choice is None:
                raise ValueError("not this")
            return super().encode_frame(prompt)

    session = lived(ASKED, "Here", tool_choice="required")
    found = diverged(session, Agent(Refusing([]), "m", tools=[search], tool_choice="required"))
    assert told(found) == (8, "missing", (), ())
    assert isinstance(found.today, TurnFailed)
    assert found.today.error.message == "not this"


# In words


def test_a_request_in_words(session: Session) -> None:
    """What is another, why, and where."""
    assert str(diverged(session, system="You are kind.")) == (
        "version 4: another request, by system prompt\n"
        "  model.requested\n"
        '  /prompt/system: "You are brief." -> "You are kind."'
    )


def test_rules_in_words(session: Session) -> None:
    """Those of then and those of today."""
    assert str(diverged(session, Agent(Newer([]), "m", tools=[search]))) == (
        "version 4: the same request in other bytes, by library\n"
        "  model.requested\n"
        "  encoders: scripted/1 then, scripted/2 today\n"
        "  /more: nothing -> true"
    )


def test_limits_in_words() -> None:
    """With the words of the error that would end the turn."""
    assert str(diverged(lived(ASKED, "Here"), today(max_steps=1))) == (
        "version 8: missing today, by limits\n"
        "  recorded: model.requested\n"
        "  today:    turn.failed: LimitExceeded: the model has not finished after 1 steps; raise "
        "max_steps to allow more"
    )


def test_calls_in_words() -> None:
    """By their names and tools."""
    assert str(diverged(lived(ASKED, "Here"), today(requires_approval=True))) == (
        "version 6: only today, by approval policy\n"
        "  recorded: tool.called of call_5_0, search\n"
        "  today:    approval.requested of call_5_0"
    )


def test_a_compaction_in_words() -> None:
    """It is told from other turns."""
    session = lived(*"abcd", prompts="1234", tools=[])
    agent = agent_of(compact_at=CompactionPolicy(messages=6, keep_last=2))
    assert str(diverged(session, agent)) == (
        "version 14: only today, by compaction policy\n"
        "  recorded: turn.started\n"
        "  today:    turn.started of a compaction"
    )


def test_an_error_in_words(session: Session) -> None:
    """In those of the error."""

    class Refusing(ScriptedModel):
        def encode_frame(self, prompt: Prompt) -> Frame:
            raise ValueError("not this")

    assert str(diverged(session, Agent(Refusing([]), "m", tools=[search]))) == (
        "version 4: missing today\n"
        "  recorded: model.requested\n"
        "  today:    nothing\n"
        "  error:    ValueError: not this"
    )


def test_an_altered_log_in_words(session: Session) -> None:
    """Without places, for the words of then are gone."""
    facts = altered(
        session,
        9,
        ModelResponded(
            message=Message.assistant("Forged"), finish_reason="stop", usage=Usage(), elapsed=0.0
        ),
    )
    read, provider = session._handle.log.get_blob, session._handle.provider
    assert str(replay(facts, read, today=None, provider=provider).divergence) == (
        "version 13: another request, by log\n"
        "  model.requested\n"
        "  its recorded digest is not that of the recorded words: an event before it was altered"
    )


def test_many_places_in_words() -> None:
    """The first ten, and how many more."""
    some = lived("Hi", tools=[search, look, add])
    lines = str(diverged(some, today(tools=[add, search, look]))).splitlines()
    assert lines[:3] == [
        "version 2: another schema, by tool definition",
        "  tools.declared",
        '  /tools/0/name: "search" -> "add"',
    ]
    assert (len(lines), lines[-1]) == (13, "  and 9 more")
