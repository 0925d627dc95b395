"""Large exports: each event costs the same, in steps and in memory, however many there are."""

import gc
import json
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from agent import Message, Session
from agent.stores import SQLiteStore
from tests.engine.given import agent_of

Data = dict[str, Any]


def exported(messages: int) -> Data:
    """The export of a session with as many messages, a hundred of them long."""
    session = agent_of().session("s", messages=[Message.user("x" * 500)] * messages)
    return session.to_dict()


def steps(function: Callable[[], object]) -> int:
    """How many calls, of Python and of C functions, a call makes."""
    count = 0

    def called(_frame: FrameType, event: str, _arg: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(called)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


@pytest.fixture
def imported(tmp_path: Path) -> Callable[[Data], object]:
    """Imports a session into a file of its own, opens it, and exports it again."""

    def import_(data: Data) -> None:
        with SQLiteStore(tmp_path / f"{data['version']}.db") as store:
            session = Session.from_dict(data, agent_of(store=store))
            assert len(session.messages) == data["version"] - 1
            assert session.to_dict() == data == store.load("s")

    return import_


def test_steps_grow_with_the_events(imported: Callable[[Data], object]):
    """Four times the events take four times the steps to import, open and export."""
    few, many = exported(500), exported(2000)
    imported(exported(100))  # what is done once only

    assert steps(lambda: imported(many)) < 4.2 * steps(lambda: imported(few))


def test_memory_grows_with_the_events(imported: Callable[[Data], object]):
    """An import takes a small multiple of the export's own size in memory."""
    data = exported(2000)
    imported(exported(100))
    gc.collect()
    tracemalloc.start()
    try:
        imported(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 10 * len(json.dumps(data))
