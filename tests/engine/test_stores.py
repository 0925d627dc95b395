import json
import math
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent import Message, Session
from agent.engine.errors import ConfigurationError, ServerFailed
from agent.eventstore.errors import ConflictError, CorruptLog, InvalidExport
from agent.eventstore.record import Prepared
from agent.stores import LogStore, SessionInfo, SessionStore, SQLiteStore
from tests.engine.given import agent_of, fixed_sources, kinds, shown
from tests.engine.stores import DictStore, exported, opened


def exported_twice() -> tuple[dict[str, Any], dict[str, Any]]:
    """A session from elsewhere after its first and after its second turn."""
    session = agent_of("b", "d").session("x")
    session.run("a")
    early = session.to_dict()
    session.run("c")
    return early, session.to_dict()


# The contract


def test_sessions_are_kept(store: SessionStore):
    """A session is found again under its key, with everything in it."""
    opened(store, "b", system="Be brief.", metadata={"n": 1}).run("a")
    again = opened(store, "d")

    assert (shown(again), again.system, again.metadata) == (["a", "b"], "Be brief.", {"n": 1})
    assert again.run("c").text == "d"
    assert shown(opened(store)) == list("abcd")


def test_loading_what_is_not_there(store: SessionStore):
    """A key that holds nothing loads as None and cannot be deleted."""
    assert (store.load("s"), store.delete("s"), store.list_sessions()) == (None, False, [])


def test_saved_sessions_are_loaded(store: SessionStore):
    """What is saved under a key is what is loaded from it."""
    data = exported("b")
    store.save("key", data)

    assert store.load("key") == data
    assert store.list_sessions() == ["key"]


def test_deleted_sessions_are_gone(store: SessionStore):
    """A deleted session is no longer there; its key can be used again."""
    opened(store, "b").run("a")

    assert (store.delete("s"), store.delete("s")) == (True, False)
    assert (store.load("s"), store.list_sessions()) == (None, [])
    assert shown(opened(store)) == []
    opened(store, "y").run("x")
    assert shown(opened(store)) == ["x", "y"]


def test_forks_outlive_their_parent(store: SessionStore):
    """A fork is a session of its own, whatever becomes of its parent."""
    session = opened(store, "b", "d")
    session.run("a")
    child = session.fork("child")
    session.clear()
    store.delete("s")
    child.run("c")

    assert store.list_sessions() == ["child"]
    assert shown(opened(store, key="child")) == list("abcd")


def test_data_is_json(store: SessionStore):
    """What a store is given and gives is JSON, and survives being written as such."""
    opened(store, "b").run("a")
    data = store.load("s")

    assert data == json.loads(json.dumps(data))
    assert shown(Session.from_dict(data or {}, agent_of())) == ["a", "b"]


# A store of one's own


def test_custom_store_is_saved_after_every_change():
    """Every turn, change and fork hands the whole session to the store."""
    store = DictStore()
    session = opened(store, "b", "d")
    assert store.saves == []
    session.run("a")
    session.add_message(Message.user("x"))
    session.clear()
    list(session.stream("c"))
    child = session.fork("child")

    assert store.saves == [5, 6, 7, 11, 12]
    assert store.list_sessions() == ["child", "s"]
    assert child.version == 12


def test_custom_store_keeps_failed_turns():
    """A failed turn is handed to the store as well."""
    store = DictStore()
    session = opened(store, ServerFailed("down"))
    with pytest.raises(ServerFailed):
        session.run("a")

    assert kinds(opened(store)) == kinds(session)
    assert kinds(session)[-1] == "turn.failed"


def test_custom_store_keeps_dropped_turns():
    """A dropped stream is handed to the store as well."""
    store = DictStore()
    with opened(store, "one two").stream("a") as stream:
        next(stream)

    assert kinds(opened(store))[-1] == "turn.abandoned"


def test_custom_store_with_broken_data():
    """What a store gives back is checked before it is used."""
    store = DictStore()
    opened(store, "b").run("a")
    data = json.loads(store.kept["s"])
    del data["events"][2]
    store.kept["s"] = json.dumps(data)

    with pytest.raises(InvalidExport):
        opened(store, "d").run("c")


def test_custom_store_needs_its_four_methods():
    """A store without one of the methods cannot be made."""

    class Half(SessionStore):
        def save(self, session_id: str, data: dict[str, Any]) -> None:
            pass

    with pytest.raises(TypeError, match="abstract method"):
        Half()  # pyright: ignore[reportAbstractUsage]


# Stores over a log


def test_listing(log_store: LogStore):
    """The listing tells of each session what it is, without loading it."""
    sources = fixed_sources()
    agent = agent_of("b", store=log_store, sources=sources)
    agent.session("s", metadata={"title": "Tea", "n": 1}).run("a")
    agent.session("t").add_message(Message.user("x"))
    epoch = datetime(1970, 1, 1, tzinfo=UTC)

    assert list(log_store.sessions()) == [
        SessionInfo("s", "s", 5, epoch, epoch, "Tea", {"title": "Tea", "n": 1}),
        SessionInfo("t", "t", 2, epoch, epoch, None, {}),
    ]


def test_listing_of_forks_and_copies(log_store: LogStore):
    """A fork is listed under its own id, a session saved under another key under both."""
    session = opened(log_store, "b", metadata={"title": 3})
    session.run("a")
    session.fork("child")
    log_store.save("copy", session.to_dict())

    assert [(info.key, info.session_id, info.version) for info in log_store.sessions()] == [
        ("child", "child", 6),
        ("copy", "s", 5),
        ("s", "s", 5),
    ]
    origins = [(info.parent, info.forked_at) for info in log_store.sessions()]
    assert origins == [("s", 5), (None, None), (None, None)]
    assert {info.title for info in log_store.sessions()} == {None}


def test_saving_again_changes_nothing(log_store: LogStore):
    """The same state may be saved again, a later one adds what is missing."""
    early, late = exported_twice()
    log_store.save("key", early)
    log_store.save("key", early)
    log_store.save("key", late)

    assert log_store.load("key") == late


def test_saving_never_overwrites(log_store: LogStore):
    """An earlier or a different state is a conflict."""
    early, late = exported_twice()
    log_store.save("key", late)
    for other in (early, exported("z"), exported("b", key="y")):
        with pytest.raises(ConflictError):
            log_store.save("key", other)

    assert log_store.load("key") == late


def test_senseless_sessions_are_refused(log_store: LogStore):
    """A chain that is whole but makes no sense as a session is not imported."""
    from agent.eventstore.events import SessionStarted, TurnCompleted
    from agent.eventstore.export import export_events
    from agent.eventstore.record import record

    sources = fixed_sources()
    events = [SessionStarted(session_id="x", library="0"), TurnCompleted()]
    facts = record([sources.prepare(e) for e in events], stream="x", after=None)
    data = export_events(facts, log_store.log)
    with pytest.raises(InvalidExport) as raised:
        log_store.save("key", data)

    assert (raised.value.version, log_store.list_sessions()) == (2, [])


def test_closed_store(tmp_path: Path):
    """A store may be closed twice, and its file opened again."""
    store = SQLiteStore(tmp_path / "sessions.db")
    opened(store, "b").run("a")
    store.close()
    store.close()

    with SQLiteStore(tmp_path / "sessions.db", durability="os") as again:
        assert shown(opened(again)) == ["a", "b"]


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [(b"[]", "metadata is no object"), (b'{"n":1e999}', "metadata does not decode")],
)
def test_a_listing_says_which_session_is_damaged(log_store: LogStore, metadata: bytes, reason: str):
    """Metadata that is no object, which only another program can have written, is named."""
    payload = b'{"type":"session.started","session_id":"s","metadata":%b,"library":"0"}' % metadata
    fact = Prepared("session.started", 1, 0, 1, bytes(16), payload)
    log_store.log.append("s", [fact], expected=None)

    (info,) = log_store.sessions()

    assert isinstance(info.error, CorruptLog)
    assert (info.error.stream, info.error.version) == ("s", 1)
    assert reason in str(info.error)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"durability": "memory"}, 'durability= is "fsync" or "os", not \'memory\''),
        ({"durability": None}, "durability="),
        *[
            ({"busy_timeout": seconds}, "busy_timeout must be more than 0 s and finite")
            for seconds in (-1, math.nan, math.inf, "3", None)
        ],
    ],
)
def test_impossible_options_of_a_file(tmp_path: Path, options: dict[str, Any], words: str):
    """What SQLite would take for something else, or wait for without end, is refused at once."""
    with pytest.raises(ConfigurationError, match=re.escape(words)):
        SQLiteStore(tmp_path / "s.db", **options)

    assert list(tmp_path.iterdir()) == []


def test_waiting_for_nobody(tmp_path: Path):
    """A busy_timeout of 0 does not wait for other writers, and works without them."""
    with SQLiteStore(tmp_path / "s.db", busy_timeout=0) as store:
        assert store.list_sessions() == []
