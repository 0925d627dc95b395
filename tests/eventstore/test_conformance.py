from pathlib import Path

import pytest

from agent.eventstore.backends.memory import MemoryLog
from agent.eventstore.backends.sqlite import SQLiteLog
from agent.eventstore.conformance import EventLogConformance
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


def test_contract_is_numbered():
    """The tests of the contract are numbered without a gap, and each has its sentence."""
    tests = sorted(name for name in dir(EventLogConformance) if name.startswith("test_"))

    assert [f"test_{n:02}" for n in range(1, len(tests) + 1)] == [name[:7] for name in tests]
    assert [name for name in tests if not getattr(EventLogConformance, name).__doc__] == []
