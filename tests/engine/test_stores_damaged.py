"""Files that were damaged or edited by hand: what is noticed when, and what stays of the rest."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent import Message, Session
from agent.errors import (
    AgentError,
    AttachmentMissing,
    CorruptLog,
    InvalidExport,
    StoreBusy,
    StoreDamaged,
    StoreUnusable,
    UnknownEvent,
)
from agent.eventstore.messages import FilePart
from agent.stores import SQLiteStore
from tests.engine.given import agent_of, kinds, shown

PAGE = 8192
KEYS = ["a", "b", "c", "o"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with a session of two turns, a fork of it, a fork of that, and another session."""
    path = tmp_path_factory.mktemp("whole") / "sessions.db"
    with SQLiteStore(path) as store:
        agent = agent_of(*"1357", store=store)
        session = agent.session("a")
        session.run("0")
        session.run("2")
        fork = session.fork("b")
        fork.run("4")
        fork.fork("c")
        agent.session("o", metadata={"title": "Other"}).run("6")
    return path


@pytest.fixture
def path(whole: Path, tmp_path: Path) -> Path:
    """A copy of that file, to be damaged."""
    return Path(shutil.copy(whole, tmp_path))


def edit(path: Path, *statements: str) -> None:
    """Change a file by hand, past every guard."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA ignore_check_constraints = ON")
        for (name,) in db.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'trigger'"
        ).fetchall():
            db.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            assert db.execute(statement).rowcount == 1, statement


def opened(store: SQLiteStore, key: str) -> list[str]:
    """The history of a session that was just opened."""
    return shown(agent_of(store=store).session(key))


def verified(store: SQLiteStore, key: str) -> Session:
    """Verify a session whole: import its export elsewhere."""
    data = store.load(key)
    assert data
    return Session.from_dict(data, agent_of())


# Edits by hand

OF_A = "WHERE stream = 1 AND version ="
NOTICED = {
    "an event removed": ([f"DELETE FROM events {OF_A} 3"], 4),
    "the first removed": ([f"DELETE FROM events {OF_A} 1"], 2),
    "a payload cut": ([f"UPDATE events SET payload = substr(payload, 1, 20) {OF_A} 3"], 3),
    "a payload of another kind": ([f"UPDATE events SET payload = '{{}}' {OF_A} 3"], 3),
    "a type changed": ([f"UPDATE events SET type = 'turn.failed' {OF_A} 3"], 3),
    "an event that cannot follow": (
        [
            f"UPDATE events SET version = 99 {OF_A} 3",
            f"UPDATE events SET version = 3 {OF_A} 4",
            f"UPDATE events SET version = 4 {OF_A} 99",
        ],
        3,
    ),
    "its own parent": (["UPDATE streams SET parent = 1, forked_at = 3 WHERE id = 1"], 1),
    "a fork for a parent": (["UPDATE streams SET parent = 3, forked_at = 3 WHERE id = 1"], 1),
    "no such parent": (["UPDATE streams SET parent = 77, forked_at = 3 WHERE id = 1"], 1),
    "a fork point past the end": (
        ["UPDATE streams SET parent = 4, forked_at = 77 WHERE id = 1"],
        9,
    ),
}


@pytest.mark.parametrize(("statements", "version"), NOTICED.values(), ids=NOTICED)
def test_opening_notices(path: Path, statements: list[str], version: int):
    """Opening finds what is missing, undecodable or impossible; other sessions do not suffer."""
    edit(path, *statements)

    with SQLiteStore(path) as store:
        for _ in range(2):
            with pytest.raises(CorruptLog, match="backup") as caught:
                opened(store, "a")
            assert (caught.value.stream, caught.value.version) == ("a", version)
        assert opened(store, "o") == ["6", "7"]
        assert store.list_sessions() == KEYS
        assert [info.key for info in store.sessions()] == KEYS
        assert [store.delete(key) for key in KEYS] == [True] * 4
        assert store.list_sessions() == []


UNNOTICED = {
    "a payload changed": (
        [f"""UPDATE events SET payload = replace(payload, '"0"', '"9"') {OF_A} 2"""],
        2,
    ),
    "a time changed": ([f"UPDATE events SET recorded_at = 1 {OF_A} 4"], 4),
    "a salt changed": ([f"UPDATE events SET salt = zeroblob(16) {OF_A} 4"], 4),
    "a hash changed": ([f"UPDATE events SET hash = zeroblob(32) {OF_A} 4"], 4),
    "two swapped": (
        [
            f"UPDATE events SET version = 99 {OF_A} 2",
            f"UPDATE events SET version = 2 {OF_A} 6",
            f"UPDATE events SET version = 6 {OF_A} 99",
        ],
        2,
    ),
    "one moved here": (
        [
            f"DELETE FROM events {OF_A} 9",
            "UPDATE events SET stream = 1, version = 9 WHERE stream = 4 AND version = 5",
        ],
        9,
    ),
}


@pytest.mark.parametrize(("statements", "version"), UNNOTICED.values(), ids=UNNOTICED)
def test_verifying_notices(path: Path, statements: list[str], version: int):
    """What still makes sense is found when the chain is verified, as every import does."""
    edit(path, *statements)

    with SQLiteStore(path) as store:
        assert len(opened(store, "a")) == 4
        for key in ("a", "b"):
            with pytest.raises(InvalidExport) as caught:
                verified(store, key)
            assert caught.value.version == version


def test_removed_end_is_not_noticed(path: Path):
    """A chain without its last events is whole: only a head that was kept elsewhere tells."""
    with SQLiteStore(path) as store:
        version = agent_of(store=store).session("o").version
    edit(path, f"DELETE FROM events WHERE stream = 4 AND version = {version}")

    with SQLiteStore(path) as store:
        assert verified(store, "o").version == version - 1


def test_session_that_lost_all_events(path: Path):
    """A session of which only the name is left is listed with the error, and is not made anew."""
    edit(path, "UPDATE events SET stream = 77 WHERE stream = 3 AND version = 15")

    with SQLiteStore(path) as store:
        listed = {info.key: info for info in store.sessions()}
        assert store.list_sessions() == list(listed) == KEYS
        assert (listed["c"].version, type(listed["c"].error)) == (0, CorruptLog)
        assert listed["o"].title == "Other"
        for call in (
            lambda: opened(store, "c"),
            lambda: store.load("c"),
            lambda: store.delete("c"),
        ):
            with pytest.raises(CorruptLog, match="lost its events"):
                call()


@pytest.mark.parametrize(
    ("change", "words"),
    [("type = 'session.painted'", "session.painted.*unknown type"), ("schema = 2", "newer")],
)
def test_sessions_of_later_releases(path: Path, change: str, words: str):
    """A session of a later release is listed and exported; opening names the event and version."""
    edit(path, f"UPDATE events SET {change} WHERE stream = 4 AND version = 1")

    with SQLiteStore(path) as store:
        with pytest.raises(UnknownEvent, match=words) as caught:
            opened(store, "o")
        assert caught.value.version == 1
        assert (store.load("o") or {})["version"] == 5
        errors = {info.key: type(info.error) for info in store.sessions()}
        assert errors == dict.fromkeys("abc", type(None)) | {"o": errors["o"]}
        assert opened(store, "a") == list("0123")


# Attachments


@pytest.mark.parametrize(
    "statement", ["DELETE FROM blobs", "UPDATE blobs SET data = CAST('Y' AS BLOB)"]
)
def test_lost_attachment(tmp_path: Path, statement: str):
    """An attachment that is gone or changed is missed, and is there again once it was given."""
    part = FilePart.from_bytes(b"x", "text/plain")
    path = tmp_path / "sessions.db"
    with SQLiteStore(path) as store:
        agent_of(store=store).session("s").add_message(Message.user(part))
    edit(path, statement)

    with SQLiteStore(path) as store:
        session = agent_of(store=store).session("s")
        (blob,) = session.messages[0].blobs()
        for call in (session.to_dict, lambda: store.log.get_blob(blob.digest)):
            with pytest.raises(AttachmentMissing, match="from_bytes") as caught:
                call()
            assert caught.value.digest == blob.digest
        session.add_message(Message.user(part))
        assert len(session.to_dict()["attachments"]) == 1


# Damage


def every_call(store: SQLiteStore) -> list[Callable[[], object]]:
    """Everything that one does with a store, each call apart."""
    calls: list[Callable[[], object]] = [
        store.list_sessions,
        lambda: list(store.sessions()),
        lambda: list(store.log.read_all()),
        lambda: agent_of("y", store=store).session("a").run("x"),
        lambda: agent_of("y", store=store).session("new").run("x"),
    ]
    for key in KEYS:
        calls += [
            lambda key=key: opened(store, key),
            lambda key=key: Session.from_dict(store.load(key) or {}, agent_of()),
            lambda key=key: store.delete(key),
        ]
    return calls


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_damage_is_an_error_of_ours(path: Path, whole: Path, data: st.DataObject):
    """Whichever bytes of a file are damaged, whatever fails says so in an error of this library."""
    content = bytearray(whole.read_bytes())
    place = data.draw(st.integers(0, len(content) - 65), label="place")
    damage = data.draw(st.binary(min_size=1, max_size=64), label="damage")
    content[place : place + len(damage)] = damage
    path.write_bytes(content)

    with SQLiteStore(path) as store:
        for call in every_call(store):
            with suppress(AgentError):
                call()


def test_damaged_pages_concern_their_sessions(tmp_path: Path):
    """Where a page is damaged, its sessions are listed without their data, and others are whole."""
    path = tmp_path / "sessions.db"
    with SQLiteStore(path) as store:
        for key in KEYS:
            session = agent_of(store=store).session(key)
            for _ in range(8):
                session.add_message(Message.user("x" * 4000))
    content = path.read_bytes()
    partly = 0
    for start in range(PAGE, len(content), PAGE):
        path.write_bytes(content[:start] + b"\xff" * PAGE + content[start + PAGE :])
        with SQLiteStore(path) as store:
            whole = [key for key in KEYS if _works(lambda key=key: opened(store, key))]
            if not 0 < len(whole) < len(KEYS):
                continue
            partly += 1
            assert store.list_sessions() == KEYS
            assert [info.key for info in store.sessions()] == KEYS
            for key in KEYS:
                assert _works(lambda key=key: verified(store, key)) == (key in whole)

    assert partly > 5


def _works(call: Callable[[], Any]) -> bool:
    try:
        call()
    except CorruptLog as error:
        assert "damaged here or further on" in str(error)  # noqa: PT017 - only some calls raise
        return False
    except StoreUnusable:
        return False
    return True


@pytest.mark.parametrize("size", [100, 5000, 20_000, 40_000])
def test_half_a_file_is_refused(path: Path, size: int):
    """A file that was copied only in part is refused, with what to do, and stays as it is."""
    content = path.read_bytes()[:size]
    path.write_bytes(content)

    with SQLiteStore(path) as store:
        for call in (store.list_sessions, lambda: agent_of("x", store=store).session("a").run("y")):
            with pytest.raises(StoreDamaged, match="damaged; restore a backup"):
                call()
    assert content == path.read_bytes()


# Locks


def test_session_goes_on_after_a_lock(path: Path):
    """A turn that finds the file locked may be taken again as soon as it is free."""
    with (
        SQLiteStore(path, busy_timeout=0.02) as store,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        session = agent_of("y", store=store).session("a")
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusy, match="try again"):
            session.run("x")
        assert shown(session) == list("0123")
        other.execute("ROLLBACK")

        assert session.run("x").text == "y"
        assert kinds(session)[-4:] == kinds(session)[-8:-4]
