import pytest

from agent.eventstore.backends.memory import MemoryLog
from agent.eventstore.conformance.facts import said, started
from agent.eventstore.errors import StoreBusy
from agent.eventstore.log import Durability
from tests.eventstore.backends.access import Finalized


def test_durability():
    """A log in memory says that it ends with the process."""
    assert MemoryLog().durability is Durability.MEMORY


@pytest.mark.parametrize(
    "call",
    [
        lambda log: log.append("b", [started("b")], expected=None),
        lambda log: log.head("a"),
        lambda log: list(log.read("a")),
        lambda log: list(log.read_all()),
        lambda log: list(log.streams()),
    ],
    ids=["append", "head", "read", "read_all", "streams"],
)
def test_call_from_inside_is_refused(call):
    """A finalizer that runs inside an operation, on the same thread, does not wait for ever."""
    log = MemoryLog()
    head = log.append("a", [started("a")], expected=None)
    raised: list[BaseException] = []
    garbage = [Finalized(lambda: call(log), raised)]

    with log._exclusive():
        garbage.clear()

    assert [StoreBusy] == [type(error) for error in raised]
    assert head == log.head("a")
    assert log.head("b") is None
    log.append("a", [said("x")], expected=head)


def test_reading_is_a_snapshot():
    """What is appended or deleted during a read does not change what it gives."""
    log = MemoryLog()
    head = log.append("a", [started("a"), said("x")], expected=None)

    reading = log.read("a")
    next(reading)
    log.append("a", [said("y")], expected=head)

    assert [fact.version for fact in reading] == [2]


def test_attachment_is_a_copy():
    """Changing the buffer afterwards does not change the stored attachment."""
    log = MemoryLog()
    buffer = bytearray(b"data")

    digest = log.put_blob(memoryview(buffer))  # pyright: ignore[reportArgumentType]
    buffer[:] = b"else"

    assert log.get_blob(digest) == b"data"
