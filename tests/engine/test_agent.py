import json
from collections.abc import Callable
from typing import Any

import pytest

from agent import Agent, Message, Session
from agent.engine.errors import (
    ConfigurationError,
    InvalidTool,
    MissingAPIKey,
    UnknownProvider,
)
from agent.engine.scripted import ScriptedModel
from agent.engine.tools import tool
from agent.eventstore.errors import InvalidEvent, InvalidExport
from agent.eventstore.messages import ImagePart
from agent.stores import MemoryStore
from tests.engine.given import add, agent_of, kinds, shown


class Nameless(ScriptedModel):
    """A provider without a model of its own."""

    default_model = None


def test_unknown_provider():
    """An unknown provider fails when the agent is made, and the known ones are listed."""
    with pytest.raises(UnknownProvider) as raised:
        Agent(provider="opnai", model="m")

    assert (raised.value.name, "openai" in raised.value.known) == ("opnai", True)
    assert "'opnai'" in str(raised.value)
    assert "openai" in str(raised.value)


def test_missing_key_fails_at_the_first_call(chat_server: Any):
    """A provider that needs a key is asked for it when it is first called."""
    session = Agent(provider="openai", model="gpt-4o").session()
    with pytest.raises(MissingAPIKey) as raised:
        session.run("Hi")

    assert raised.value.variable == "OPENAI_API_KEY"
    assert session.messages == []


def test_model_is_needed():
    """A provider without a default needs the name of a model."""
    with pytest.raises(ConfigurationError, match="name a model of scripted"):
        Agent(Nameless([]))
    assert Agent(ScriptedModel([])).model == "scripted"


@pytest.mark.parametrize("option", ["base_url", "api_key"])
def test_options_of_a_provider_object(option: str):
    """Address and key belong to a provider that was made by hand."""
    options: Any = {option: "x"}
    with pytest.raises(ConfigurationError, match="belong to the provider object"):
        Agent(ScriptedModel([]), **options)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"temperature": "hot"}, ConfigurationError),
        ({"max_tokens": 0}, ConfigurationError),
        ({"temprature": 1}, TypeError),
        ({"extra": {"a": float("nan")}}, InvalidEvent),
        ({"tools": [add, add]}, InvalidTool),
        ({"tools": [3]}, InvalidTool),
        ({"store": "sessions.db"}, ConfigurationError),
        ({"store": {}}, ConfigurationError),
        ({"store": MemoryStore}, ConfigurationError),
        ({"tools": None}, InvalidTool),
        ({"tools": add}, InvalidTool),
        ({"tools": {"add": add}}, InvalidTool),
        ({"model": 3}, ConfigurationError),
        ({"model": ""}, ConfigurationError),
        ({"timeout": float("inf")}, ConfigurationError),
        ({"timeout": 0}, ConfigurationError),
        ({"timeout": -1.0}, ConfigurationError),
        ({"timeout": float("nan")}, ConfigurationError),
    ],
)
def test_impossible_options(options: Any, error: type[Exception]):
    """What cannot work fails when the agent is made."""
    with pytest.raises(error):
        Agent(ScriptedModel([]), **options)


@pytest.mark.parametrize("option", ["base_url", "api_key"])
@pytest.mark.parametrize("value", [3, b"x"])
def test_options_that_are_no_text(option: str, value: Any):
    """Address and key are text; the error does not repeat them."""
    options: Any = {option: value}
    with pytest.raises(ConfigurationError) as raised:
        Agent("openai", "m", **options)

    assert str(raised.value) == f"{option}= takes text, not {type(value).__name__}"


def test_a_refused_store_is_not_repeated():
    """An address with a password in it does not stand in the error."""
    address: Any = "redis://user:hunter2@host"
    with pytest.raises(ConfigurationError, match=r"such as SQLiteStore\(path\)") as raised:
        agent_of(store=address)

    assert "hunter2" not in str(raised.value)


class AsyncSave(MemoryStore):
    async def save(self, session_id: str, data: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Keep a session, later."""


class AsyncLoad(MemoryStore):
    async def load(self, session_id: str) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Load a session, later."""


@pytest.mark.parametrize(("store", "method"), [(AsyncSave, "save"), (AsyncLoad, "load")])
def test_async_stores(store: type[MemoryStore], method: str):
    """A store whose methods nobody would await is refused, and the method is named."""
    with pytest.raises(ConfigurationError, match=rf"Async\w+\.{method} is async"):
        agent_of(store=store())


@pytest.mark.parametrize("schema", [{"type": "object"}, {}, "Answer"])
def test_schemas_are_types(schema: Any):
    """A JSON Schema or a name is no shape; nothing is asked or recorded."""
    session = agent_of("b").session()
    with pytest.raises(ConfigurationError, match="schema= takes a pydantic model"):
        session.json("a", schema)

    assert session.version == 0
    assert session.run("a").text == "b"


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan"), "1"])
@pytest.mark.parametrize("later", [False, True])
def test_timeouts_of_tools(timeout: Any, later: bool):
    """A tool that would never have time is refused, async or not."""

    async def add_later(a: int) -> int:
        """Add later."""
        return a

    function: Callable[..., Any] = add_later if later else add
    with pytest.raises(InvalidTool, match=f"tool {function.__name__}: timeout must be more than 0"):
        tool(timeout=timeout)(function)


@pytest.mark.parametrize("data", ["text", '{"format":"agent-session"}', b"{}", None, [], 3])
def test_from_dict_takes_a_dictionary(data: Any):
    """Text that has not been parsed, or anything else, is refused by what it is."""
    with pytest.raises(InvalidExport, match=f"not a {type(data).__name__}") as raised:
        Session.from_dict(data, agent_of())

    assert raised.value.version == 0


def test_metadata_is_json():
    """Metadata that JSON cannot hold is refused at once."""
    with pytest.raises(InvalidEvent) as raised:
        agent_of().session(metadata={"a": {"b": object()}})

    assert raised.value.path == "$.a.b"


@pytest.mark.parametrize("metadata", ["title", 3, [("a", 1)], {"a"}])
def test_metadata_is_a_dictionary(metadata: Any):
    """Anything else is refused by its type."""
    with pytest.raises(ConfigurationError, match=f"a dict, not {type(metadata).__name__}"):
        agent_of().session(metadata=metadata)


@pytest.mark.parametrize("system", [3, b"Be brief.", ["Be brief."]])
def test_system_prompts_are_text(system: Any):
    """A system prompt of another type is refused when the session is made, not at its first use."""
    with pytest.raises(ConfigurationError, match=f"takes text, not {type(system).__name__}"):
        agent_of().session(system=system)


def test_system_prompts_are_unicode():
    """So is one that no request could carry; a subclass of text is text."""

    class Markup(str):
        __slots__ = ()

    with pytest.raises(InvalidEvent, match=r"^system: lone surrogate at 0"):
        agent_of().session(system="\ud800")
    assert agent_of().session(system=Markup("Be brief.")).system == "Be brief."


def test_sessions_without_a_store_are_independent():
    """Without a store each root session has a memory of its own, also under one id."""
    agent = agent_of("b", "d")
    one, other = agent.session("s"), agent.session("s")
    one.run("a")
    other.run("c")

    assert (shown(one), shown(other)) == (["a", "b"], ["c", "d"])


def test_settings_of_agent_and_turn():
    """A turn's settings are the agent's, but for those that it names; so is the model."""
    agent = agent_of("a", "b", temperature=0.5, seed=1)
    session = agent.session()
    session.run("x")
    session.run("x", temperature=0.25, model="other")
    requests = agent.provider.requests  # pyright: ignore[reportAttributeAccessIssue]

    asked = [
        (r.prompt.model, r.prompt.settings.temperature, r.prompt.settings.seed) for r in requests
    ]
    assert asked == [("m", 0.5, 1), ("other", 0.25, 1)]


def test_session_does_no_io(tmp_path: Any):
    """Making a session touches no file."""
    from agent.stores import SQLiteStore

    path = tmp_path / "sessions.db"
    with SQLiteStore(path) as store:
        session = agent_of(store=store).session("s")
        assert repr(session) == "<Session 's'>"
        assert not path.exists()
        assert (session.version, path.exists()) == (0, path.exists())


def test_an_agent_over_another_store():
    """What it brings to a turn is the same; the agent itself stays with its own store."""
    one, other = MemoryStore(), MemoryStore()
    agent = Agent(ScriptedModel(["Hello!"]), tools=[add], store=one)
    moved = agent.over(other)

    assert moved.session("a").run("Hi").text == "Hello!"
    assert moved.today().base.tools.names == ("add",)
    assert (one.list_sessions(), other.list_sessions()) == ([], ["a"])
    assert agent.store is one


def test_from_dict_is_independent():
    """A session from a dictionary has everything of the old one, and goes on alone."""
    session = agent_of("b", "d").session("s", system="Be brief.", metadata={"n": 1})
    session.run("a")
    copy = Session.from_dict(session.to_dict(), agent_of("y"))
    session.run("c")
    copy.run("x")

    assert (shown(session), shown(copy)) == (list("abcd"), ["a", "b", "x", "y"])
    assert (copy.session_id, copy.system, copy.metadata) == ("s", "Be brief.", {"n": 1})


def test_from_dict_under_another_id():
    """Under a new id it becomes a fork of its own."""
    session = agent_of("b").session("s")
    session.run("a")
    copy = Session.from_dict(session.to_dict(), agent_of(), session_id="t")

    assert (copy.session_id, copy.parent, shown(copy)) == ("t", "s", ["a", "b"])
    assert kinds(copy) == [*kinds(session), "session.forked"]


def test_export_of_images_that_are_not_stored_yet():
    """A session that was given a history with an image can be exported before its first turn."""
    image = ImagePart.from_bytes(b"pixels")
    session = agent_of("b").session("s", messages=[Message.user("Look:", image)])
    data = json.loads(json.dumps(session.to_dict()))
    assert session.version == 0

    again = Session.from_dict(data, agent_of("b"))
    assert again.messages == [Message.user("Look:", image)]
    (part,) = (p for p in again.messages[0].parts if isinstance(p, ImagePart))
    assert again.attachment(part) == b"pixels"
    for one in (session, again):
        one.run("a")
        assert shown(one) == ["Look:", "a", "b"]
