import time
from pathlib import Path

import pytest

from agent.eventstore.backends.failing import FailingLog
from agent.eventstore.backends.memory import MemoryLog
from agent.eventstore.backends.sqlite import SQLiteLog
from agent.eventstore.conformance import ConformanceFailure, EventLogConformance
from agent.eventstore.conformance.expectations import expect, refused
from agent.eventstore.log import EventLog


class TestMemoryLog(EventLogConformance):
    def open_log(self) -> EventLog:
        """Open the log."""
        return MemoryLog()


class TestSQLiteLog(EventLogConformance):
    @pytest.fixture(autouse=True)
    def file(self, tmp_path: Path):
        """Give each test a file of its own."""
        self.path = tmp_path / "log.db"

    def open_log(self) -> EventLog:
        """Open the log."""
        return SQLiteLog(self.path)

    def reopen(self, log: EventLog) -> EventLog:
        """Close the file and open it again."""
        log.close()
        return self.open_log()


class TestSQLiteLogWithoutFlush(TestSQLiteLog):
    def open_log(self) -> EventLog:
        """Open the log."""
        return SQLiteLog(self.path, durability="os")


class TestSQLiteLogInMemory(EventLogConformance):
    def open_log(self) -> EventLog:
        """Open the log."""
        return SQLiteLog(":memory:")


class TestFailingLog(EventLogConformance):
    def open_log(self) -> EventLog:
        """Open a log that does not fail."""
        return FailingLog(MemoryLog())


def test_contract_is_numbered():
    """The tests of the contract are numbered without a gap, and each has its sentence."""
    tests = sorted(name for name in dir(EventLogConformance) if name.startswith("test_"))

    assert [name[:7] for name in tests] == [f"test_{n:02}" for n in range(1, len(tests) + 1)]
    assert [name for name in tests if not getattr(EventLogConformance, name).__doc__] == []


class LossyLog(MemoryLog):
    """Takes every append for new, and loses what is read last."""

    def append(self, stream, prepared, *, expected):
        """Append wherever the stream ends."""
        return super().append(stream, prepared, expected=self.head(stream))

    def read(self, stream, *, after=0, until=None, types=None):
        """Read all but the last event."""
        return iter(list(super().read(stream, after=after, until=until, types=types))[:-1])


class LossyLogConformance(EventLogConformance):
    def open_log(self) -> EventLog:
        """Open the log."""
        return LossyLog()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("test_04_a_stale_version_conflicts", "expected ConflictError, but the answer was Head"),
        ("test_22_read_ends_with_a_version", r"after=0, until=2: expected \[1, 2\], found \[1\]"),
    ],
)
def test_broken_log_is_told_what_it_broke(name: str, words: str):
    """A log that breaks its contract fails with what was expected and what was found."""
    with pytest.raises(ConformanceFailure, match=words):
        getattr(LossyLogConformance(), name)()


class SlowlyOpened(EventLogConformance):
    def open_log(self) -> EventLog:
        """Take a while, as a database does."""
        time.sleep(0.01)
        return MemoryLog()


def test_threads_share_a_log_that_opens_slowly():
    """A log is opened once, also when threads are the first to use it."""
    SlowlyOpened().test_71_threads_append_to_their_own_streams()


def test_failure_is_short():
    """A failure shows the beginning of what is too long to show."""
    with pytest.raises(ConformanceFailure) as caught:
        expect("the text", "a" * 100_000, "b")

    assert len(str(caught.value)) < 1000


def test_refusal_passes_other_errors():
    """An error that was not expected is the log's own, not a failure of the contract."""
    with pytest.raises(ZeroDivisionError):
        refused(KeyError, lambda: 1 // 0)


def test_log_must_be_opened():
    """A suite without ``open_log`` cannot be made."""
    with pytest.raises(TypeError, match="open_log"):
        EventLogConformance()  # pyright: ignore[reportAbstractUsage]
