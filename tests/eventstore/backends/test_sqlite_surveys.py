from contextlib import closing
from pathlib import Path

import pytest

from agent.eventstore import erasing
from agent.eventstore.backends.sqlite import SQLiteLog
from agent.eventstore.conformance.facts import deleted, fixed, forked, said, started
from agent.eventstore.core import IDENTITY_TYPES
from agent.eventstore.log import Survey, Surveyed
from tests.eventstore.damaged import opened


@pytest.fixture
def log(tmp_path: Path) -> SQLiteLog:
    """A root, its fork, a fork of that at an inherited version, and one whose parent is gone."""
    log = SQLiteLog(tmp_path / "log.db", durability="os")
    for root in ("root", "gone"):
        log.append(root, [started(root), said("a"), said("b")], expected=None)
    for child, parent, at in (("child", "root", 3), ("nested", "child", 2), ("orphan", "gone", 2)):
        (point,) = log.read(parent, after=at - 1, until=at)
        head = log.fork(parent, child, at=at, prepared=forked(child, parent, point.head))
        log.append(child, [said("c")], expected=head)
    log.delete("gone", deleted())
    return log


def test_it_can_be_surveyed(log: SQLiteLog):
    """A listing asks whether a log can."""
    assert isinstance(log, Surveyed)


def test_identities(log: SQLiteLog):
    """They are what reading each stream gives."""
    names = [info.stream for info in log.streams()]

    assert names == ["child", "nested", "orphan", "root"]
    assert log.identities() == {name: list(log.read(name, types=IDENTITY_TYPES)) for name in names}


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ("DELETE FROM events WHERE stream = 1 AND version = 1", ["child", "nested", "orphan"]),
        (
            "DELETE FROM events WHERE type = 'session.forked' AND stream = 3",
            ["nested", "orphan", "root"],
        ),
        (
            "UPDATE streams SET parent = NULL, forked_at = NULL WHERE id = 3",
            ["nested", "orphan", "root"],
        ),
        ("UPDATE streams SET parent = NULL WHERE id = 4", ["child", "orphan", "root"]),
        ("UPDATE streams SET parent = 7 - id WHERE id IN (3, 4)", ["orphan", "root"]),
    ],
)
def test_identities_of_damaged_streams(log: SQLiteLog, change: str, left: list[str]):
    """A stream whose own beginning or whose root cannot be told is left out."""
    with closing(opened(Path(log.path))) as db:
        db.execute(change)

    assert sorted(log.identities()) == left


@pytest.mark.parametrize(
    ("stream", "until", "types"),
    [
        ("root", 3, {"session.started": 1, "message.added": 2}),
        ("child", 5, {"session.started": 1, "message.added": 3, "session.forked": 1}),
        ("child", 2, {"session.started": 1, "message.added": 1}),
        ("nested", 9, {"session.started": 1, "message.added": 2, "session.forked": 1}),
        ("none", 9, {}),
    ],
)
def test_survey(log: SQLiteLog, stream: str, until: int, types: dict[str, int]):
    """It counts the inherited events as well, up to a version."""
    assert log.survey(stream, until=until) == Survey(types, 0)


def test_survey_of_what_was_erased(log: SQLiteLog):
    """It counts them among all others."""
    plan = erasing.plan(log, "root", (2,))
    erasing.erase(log, plan, "asked", fixed)

    assert log.survey("nested", until=2) == Survey({"session.started": 1, "message.added": 1}, 1)
    assert log.survey("root", until=1).erased == 0
