from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agent import Agent, Message, Session
from agent.engine.errors import UnknownProvider
from agent.engine.handover import Seen, as_messages
from agent.engine.scripted import Call, ScriptedModel
from agent.engine.stores import MemoryStore, SQLiteStore
from agent.eventstore.errors import UnknownStream
from agent.eventstore.messages import (
    FilePart,
    ImagePart,
    Link,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from agent.projections import session as projection
from agent.projections.fold import rebuild
from agent.projections.session import SessionState
from agent.providers import Loss, read_messages
from tests.engine.given import add, agent_of
from tests.engine.lives import LIVES, Life
from tests.projections.given import COMPLETED, STARTED, begun, recorded, requested, responded
from tests.tools.given import changed

FORMATS = ("openai", "anthropic", "gemini", "ollama", "openai-responses", "deepseek")
PIXEL = b"\x89PNG"


def brought(body: dict[str, object], name: str, model: str = "") -> Session:
    """A session that begins with what a body holds."""
    transcript = read_messages(body, name, model=model)
    agent = Agent(ScriptedModel([]))
    return agent.session(system=transcript.system, messages=list(transcript.messages))


@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.__name__)
@pytest.mark.parametrize("name", ["openai", "anthropic"])
def test_what_was_taken_can_be_brought_and_taken_again(life: Callable[[], Life], name: str):
    """Whatever a session has lived through, at every version, its list comes back the same."""
    session = life().session
    for version in range(1, session.version + 1):
        taken = session.to_messages(name, version)
        if taken["messages"]:
            assert brought(taken, name).to_messages(name) == taken


@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.__name__)
def test_every_life_can_be_told(life: Callable[[], Life]):
    """Each version has a document with its hash, and all visible messages in every format."""
    session = life().session
    facts = list(session.events())
    for fact in facts:
        text = session.to_markdown(fact.version)
        shown = session.at(fact.version)
        said = len(shown.messages) + len(shown.turn.messages if shown.turn else ())
        assert f"- hash: `{fact.hash.hex()}`" in text.split("\n")
        assert sum(line.startswith("## ") for line in text.split("\n")) == (
            said + 1 + (shown.system is not None)
        )
    for name in FORMATS:
        assert session.left_out(name)[0] == Loss("events", len(facts))


parts = st.lists(st.builds(TextPart, st.text(min_size=1, max_size=9)), min_size=1, max_size=2)
texts = st.text(max_size=20)


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    """Histories with calls that are answered."""
    messages: list[Message] = []
    for place in range(draw(st.integers(1, 4))):
        messages.append(Message.user(draw(texts)))
        names = draw(st.lists(st.sampled_from(["f", "g"]), max_size=2))
        calls = [ToolCallPart(f"c{place}_{at}", name, "{}") for at, name in enumerate(names)]
        if calls:
            messages.append(Message.assistant(*draw(parts), *calls))
            results = [ToolResultPart(call.call_id, tuple(draw(parts))) for call in calls]
            messages.append(Message.tool(*results))
        messages.append(Message.assistant(draw(texts)))
    return messages


@given(conversations(), st.none() | st.text(min_size=1, max_size=9))
def test_any_list_of_openai_comes_back_the_same(messages: list[Message], system: str | None):
    """From messages of OpenAI to a session and back is the same list, and nothing is left out."""
    taken = Agent(ScriptedModel([])).session(system=system, messages=messages).to_messages("openai")
    back = brought(taken, "openai")

    assert back.to_messages("openai") == taken
    assert {loss.kind for loss in back.left_out("openai")} == {"events"}


def test_what_only_its_model_understands_goes_along_for_it():
    """The body names it; what another model said of itself is left out, and told."""
    thought = {"role": "assistant", "content": "Yes.", "reasoning_content": "Hm."}
    body = {"model": "deepseek-v4-pro", "messages": [{"role": "user", "content": "So?"}, thought]}
    session = brought(body, "deepseek")

    assert session.to_messages("deepseek") == body
    assert session.to_messages("openai")["messages"][1] == {"role": "assistant", "content": "Yes."}
    assert session.left_out("openai") == (
        Loss("events", 3),
        Loss("what only its provider understands", 1, ("deepseek deepseek-v4-pro",)),
        Loss("reasoning", 1),
    )


def test_what_only_a_model_understands_inside_of_a_result():
    """It goes along as well."""
    found = {"type": "tool_reference", "tool_name": "f"}
    call = {"type": "tool_use", "id": "a", "name": "search", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "a", "content": [found]}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "Find"}]},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    session = brought({"model": "m", "messages": messages}, "anthropic")

    assert session.to_messages("anthropic") == {"model": "m", "messages": messages}


@pytest.mark.parametrize(("name", "model"), [("openai", "b"), ("anthropic", "c"), ("xai", None)])
def test_the_model_that_was_asked_last(name: str, model: str | None):
    """A body names that of its provider, and none where none was asked."""
    asked = (("openai", "a"), ("openai", "b"), ("anthropic", "c"))
    requests = [replace(requested(), provider=who, model=which) for who, which in asked]
    turns = [(begun(), request, responded("Hi"), COMPLETED) for request in requests]
    facts = recorded(STARTED, *(event for turn in turns for event in turn))
    seen = Seen(rebuild(projection.evolve, facts, SessionState()), facts, str.encode)

    assert as_messages(seen, name).content.get("model") == model


def test_what_a_session_loses_as_messages():
    """The log, tools, usage, marks of errors, what is not visible, and the open turn."""
    agent = agent_of(Call("add", "{"), "Done", Call("add", {"a": 1, "b": 2}), tools=[add])
    session = agent.session("s", metadata={"title": "A"})
    session.run("Before")
    session.add_message(Message.user("By hand"))
    with session.stream("Now") as stream:
        for event in stream:
            if event.type == "tool_call":
                break
        losses = session.fork(at=session.version).left_out("openai")

    assert losses == (
        Loss("events", 16),
        Loss("tool definitions", 1, ("add",)),
        Loss("metadata", 1, ("title",)),
        Loss("messages of the open turn", 2),
        Loss("usage of model calls", 3),
        Loss("invalid arguments", 1),
        Loss("marks of errors", 1),
    )


def test_what_was_undone_is_not_in_it():
    """A document and a list show what the session shows, and say how much it does not."""
    session = agent_of("One", "Two").session("s")
    session.run("1")
    session.run("secret")
    session.undo()

    assert "secret" not in session.to_markdown()
    assert [item["content"] for item in session.to_messages("openai")["messages"]] == ["1", "One"]
    assert session.left_out("markdown") == (
        Loss("events", 10),
        Loss("messages that are not visible", 2),
    )


def test_attachments_that_a_format_does_not_take_are_named():
    """The other parts of the message stay what they are."""
    table = FilePart.from_bytes(b"a,b", "application/vnd.ms-excel", "table.xls")
    agent = Agent(ScriptedModel([]))
    session = agent.session(messages=[Message.user(table, ImagePart.from_bytes(PIXEL))])
    linked = agent.session(
        messages=[Message.user(FilePart(Link("https://x/y.pdf"), "application/pdf"))]
    )

    content = session.to_messages("anthropic")["messages"][0]["content"]
    assert content[0] == {"type": "text", "text": "[file: table.xls]"}
    assert content[1]["type"] == "image"
    assert session.left_out("anthropic")[1:] == (Loss("attachments", 1),)
    assert linked.to_messages("openai")["messages"][0]["content"] == "[file: https://x/y.pdf]"


def test_what_was_erased_is_not_in_it():
    """The place of an erased message stays, and it is told how many events were erased."""
    store = MemoryStore()
    session = agent_of("Yes", store=store).session("s")
    session.run("secret")
    store.erase("s", [2], reason="asked to")
    session = agent_of(store=store).session("s")

    assert "secret" not in session.to_markdown()
    said = [item["content"] for item in session.to_messages("openai")["messages"]]
    assert said == ["[erased]", "Yes"]
    assert session.left_out("openai")[1] == Loss("erased events", 1)


def test_attachments_that_are_gone_are_named(tmp_path: Path):
    """A log that lost the bytes of an image still gives its words."""
    path = tmp_path / "s.db"
    with SQLiteStore(path) as store:
        session = agent_of("A cat", store=store).session("s")
        session.run([TextPart("What? "), ImagePart.from_bytes(PIXEL)])
    changed(path, "DELETE FROM blobs")
    with SQLiteStore(path) as store:
        session = agent_of(store=store).session("s")

        content = session.to_messages("openai")["messages"][0]["content"]
        assert content == "What? [image: image/png]"
        assert session.left_out("openai")[2:] == (Loss("attachments", 1),)
        assert session.to_markdown().count("- image: `image/png`, 4 bytes") == 1


@pytest.mark.parametrize("call", [Session.to_markdown, lambda s, at: s.left_out("openai", at)])
def test_a_version_that_there_is_not(call: Callable[[Session, int], object]):
    """It is refused, as everywhere."""
    session = agent_of("One").session("s")
    session.run("1")

    with pytest.raises(UnknownStream, match="has versions 1 to 5, not 6"):
        call(session, 6)


def test_a_format_that_there_is_not():
    """The known ones are listed."""
    with pytest.raises(UnknownProvider, match="known: anthropic"):
        agent_of().session("s").to_messages("opnai")


def test_a_session_that_is_not_yet_in_the_log():
    """It is told as it will be."""
    session = agent_of().session("new", system="Be brief.", messages=[Message.user("Hi")])

    assert session.version == 0
    assert session.to_markdown().split("\n\n")[2:6] == [
        "## System prompt",
        "> Be brief.",
        "## 1. User",
        "> Hi",
    ]
    assert session.to_messages("openai")["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
    ]
