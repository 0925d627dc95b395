"""Exports that are no good, on each way into the library: nothing is written, and it says why."""

import copy
import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from agent import Session
from agent.errors import AgentError, InvalidExport, UnknownEvent
from agent.eventstore.backends.memory import MemoryLog
from agent.eventstore.conformance.facts import fixed, forked, said, started
from agent.eventstore.events import MessageAdded
from agent.eventstore.export import export_events
from agent.eventstore.messages import Blob, FilePart, ImagePart, Link, Message, ToolCallPart
from agent.eventstore.messages import ToolResultPart as Result
from agent.eventstore.record import Prepared, record
from agent.stores import MemoryStore, SessionStore
from tests.engine.given import agent_of, shown
from tests.engine.stores import DictStore, exported

Data = dict[str, Any]

GOOD = exported("b", "d")
"""A session of two turns."""

OTHER_TOOL = {"messages": [{"role": "user", "content": "Hi"}], "model": "gpt-4o", "usage": {}}


class GivingStore(DictStore):
    """A store of one's own that has something else than it was given."""

    def __init__(self, data: object) -> None:
        super().__init__()
        self.data = data

    def load(self, session_id: str) -> Any:
        """Load whatever it is."""
        return self.data


def adopt(data: object) -> SessionStore:
    """Take it with ``Session.from_dict`` into a store."""
    store = MemoryStore()
    try:
        Session.from_dict(data, agent_of(store=store))  # pyright: ignore[reportArgumentType]
    finally:
        assert store.list_sessions() == []
    return store


def save(data: object) -> SessionStore:
    """Save it in a store."""
    store = MemoryStore()
    try:
        store.save("s", data)  # pyright: ignore[reportArgumentType]
    finally:
        assert store.list_sessions() == []
    return store


def load(data: object) -> SessionStore:
    """Find it in a store of one's own, and take a turn."""
    store = GivingStore(data)
    try:
        agent_of("b", store=store).session("s").run("a")
    finally:
        assert store.kept == {}
    return store


@pytest.fixture(params=[adopt, save, load])
def take(request: pytest.FixtureRequest) -> Callable[[object], SessionStore]:
    """Each way by which an export comes in; all of them check that nothing was kept."""
    return request.param


def changed(**fields: object) -> Data:
    """The good export with other fields."""
    return {**GOOD, **fields}


def with_event(version: int, /, **fields: object) -> Data:
    """The good export with other fields in one event."""
    data = copy.deepcopy(GOOD)
    data["events"][version - 1].update(fields)
    return data


def nested(depth: int = 10_000) -> list[Any]:
    """A list in a list in a list."""
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def cycle() -> list[Any]:
    """A list that is its own item."""
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "dictionary"),
        ([GOOD], "dictionary"),
        ("", "dictionary"),
        (json.dumps(GOOD), "json.loads"),
        (b"{}", "dictionary"),
        (7, "dictionary"),
        ({}, r"session.to_dict\(\) makes"),
        (OTHER_TOOL, r"session.to_dict\(\) makes"),
        ({"format": "agent-session"}, "format_version"),
        (changed(format_version=2), "format version 2 is later.*release that wrote it"),
        (changed(format_version=10**5000), "later.*release that wrote it"),
        (changed(format_version=-1), "format_version"),
        (changed(format_version="9" * 100_000), "format_version"),
        (changed(format_version=nested()), "format_version"),
        (changed(version=10**5000), "another copy"),
        (changed(events=GOOD["events"][:-1]), "another copy"),
        (changed(events=GOOD["events"][::-1]), "version 9 follows version 0.*another copy"),
        (changed(events=[*GOOD["events"], GOOD["events"][-1]]), "version 9 follows.*another copy"),
        (changed(events=nested()), "array"),
        (changed(attachments=cycle()), "attachments"),
        (changed(library=nested()), "library"),
        (with_event(3, version=10**5000), "event 3.*int"),
        (with_event(3, recorded_at=10**5000), "event 3.*another copy"),
        (with_event(3, recorded_at=math.nan), "event 3.*int"),
        (with_event(3, payload={"type": "history.cleared"}), "event 3.*str"),
        (with_event(3, payload="[" * 10_000), "event 3.*another copy"),
        (with_event(3, type="session.painted"), "event 3.*another copy"),
        (with_event(3, more=cycle()), "event 3.*unknown field"),
    ],
)
def test_bad_exports_are_refused(take: Callable[[object], object], data: object, words: str):
    """Whatever is no whole export is refused with its place and what to do, in a short text."""
    with pytest.raises(InvalidExport, match=words) as caught:
        take(data)

    assert "Nothing was imported" in str(caught.value)
    assert len(str(caught.value)) < 400


def forged(*facts: Prepared) -> Data:
    """A correctly chained export of any events; "x" is what an attachment may hold."""
    log = MemoryLog()
    log.put_blob(b"x")
    return export_events(record([started("a"), *facts], stream="a", after=None), log)


@pytest.mark.parametrize(
    "future",
    [
        Prepared("session.painted", 1, 0, 1, bytes(16), b'{"type":"session.painted"}'),
        Prepared("message.added", 2, 0, 1, bytes(16), b'{"type":"message.added"}'),
        Prepared("message.added", 2**31, 0, 1, bytes(16), b"{}"),
    ],
    ids=["type", "schema", "huge schema"],
)
def test_events_of_later_releases_are_refused(take: Callable[[object], object], future: Prepared):
    """An event that this release cannot know is named with its version, and who can read it."""
    with pytest.raises(UnknownEvent, match="release that wrote it") as caught:
        take(forged(said("x"), future))

    assert (caught.value.type, caught.value.version) == (future.type, 3)


def test_attachment_of_another_size_is_refused(take: Callable[[object], object]):
    """An attachment that is not as long as its event says is refused, at that event."""
    blob = Blob(Blob.of(b"x").digest, 2)
    lying = Message.user(FilePart(blob, "text/plain"))

    with pytest.raises(InvalidExport, match="2 bytes") as caught:
        take(forged(fixed(MessageAdded(message=lying))))

    assert caught.value.version == 2


# What looks wrong, and is not


def test_forks_that_name_each_other_are_only_names():
    """Who a fork came from is told, never followed: names in a circle lead nowhere."""
    facts = record([started("a")], stream="a", after=None)
    for child, parent in [("a", "a"), ("b", "a"), ("a", "b")]:
        facts += record([forked(child, parent, facts[-1].head)], stream="a", after=facts[-1].head)

    session = Session.from_dict(export_events(facts, MemoryLog()), agent_of("y"))

    assert (session.session_id, session.parent) == ("a", "b")
    assert session.run("x").text == "y"


def test_deeply_nested_arguments_are_text():
    """Arguments of a call, however deep, are kept as the model wrote them, and go on."""
    deep = "[" * 10_000 + "]" * 10_000
    session = agent_of().session("s")
    session.add_message(Message.user("a"))
    session.add_message(Message.assistant(ToolCallPart("c", "add", deep)))
    session.add_message(Message.tool(Result("c", ())))

    again = Session.from_dict(json.loads(json.dumps(session.to_dict())), agent_of("y"))

    assert again.messages[1].tool_calls[0].arguments == deep
    assert again.run("x").text == "y"


def test_text_too_deep_for_json_fails_in_json():
    """JSON that is nested too deep never gets here: ``json`` itself refuses to read it."""
    text = json.dumps(GOOD)[:-1] + ', "more": ' + "[" * 10_000 + "]" * 10_000 + "}"

    with pytest.raises(RecursionError):
        json.loads(text)


def test_refused_store_can_be_mended():
    """A session goes on as soon as its store has the good data again."""
    store = GivingStore(changed(version=8))
    session = agent_of("f", store=store).session("x")
    with pytest.raises(AgentError):
        session.run("e")

    store.data = GOOD
    assert session.run("e").text == "f"
    assert shown(session) == ["a", "b", "a", "d", "e", "f"]


def test_empty_attachments_are_attachments():
    """A file without a byte is exported like any other, even before the first write."""
    part = FilePart.from_bytes(b"", "text/plain")
    session = agent_of().session("s", messages=[Message.user(part)])

    assert list(session.to_dict()["attachments"].values()) == [""]


def test_links_are_no_attachments():
    """A linked image has no bytes to export, and nothing is missed."""
    session = agent_of().session("s")
    session.add_message(Message.user(ImagePart(Link("https://example.org/a.png"))))

    assert session.to_dict()["attachments"] == {}
    assert shown(Session.from_dict(session.to_dict(), agent_of())) == [""]
